use std::{fmt, sync::Arc};

use agentx_resource::{Env, ErrorKind, Result, Secret};

use super::fail;

/// An API token: a value, or the name of a setting that is read for each request, so that the token can rotate.
///
/// A token that the API refuses is read once more, and where it has changed by then, the request is made with the new
/// one. White space around a token is dropped.
#[derive(Clone)]
pub struct ApiToken(Source);

#[derive(Clone)]
enum Source {
    Value(Secret),
    Env(Arc<dyn Env>, String),
}

impl ApiToken {
    /// This token.
    pub fn value(token: impl Into<Secret>) -> Self {
        Self(Source::Value(token.into()))
    }

    /// The token that `env` has under `name`, such as `CLOUDFLARE_API_TOKEN`.
    pub fn from_env(env: Arc<dyn Env>, name: impl Into<String>) -> Self {
        Self(Source::Env(env, name.into()))
    }

    /// The token as it is now.
    pub(super) async fn get(&self) -> Result<Secret> {
        let (found, name) = match &self.0 {
            Source::Value(token) => (Some(token.clone()), "token"),
            Source::Env(env, name) => (env.get(name).await?.map(Secret::new), name.as_str()),
        };
        let refused =
            |problem| fail(ErrorKind::Unauthenticated, "read token").with_path(name).with_message(problem);
        let found = found.ok_or_else(|| refused("the setting is not set"))?;
        let token = found.expose().trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("a token is visible ASCII, and not empty"));
        }
        Ok(Secret::from(token))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Value(_) => f.write_str("Value([redacted])"),
            Source::Env(_, name) => f.debug_tuple("Env").field(name).finish(),
        }
    }
}
