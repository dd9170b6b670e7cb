//! Who asks.

mod any;
mod api_key;
mod identity;
#[cfg(feature = "jwt")]
pub mod jwt;
mod origin;

use std::{collections::BTreeMap, fmt, sync::Arc};

use agentx_core::Result;
use async_trait::async_trait;
use axum::http::HeaderMap;

pub use self::{
    any::AnyOf,
    api_key::{ApiKeys, KeyHash, generate_key},
    identity::{Identity, Scope},
};
pub(crate) use self::{
    api_key::random_hex,
    origin::{is_allowed, names_this_machine},
};

/// Finds out who asks, from what a request brings along.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Whom these credentials stand for; none where they stand for nobody. It is asked again and again while a connection
    /// is open, so that what is revoked ends what it opened.
    ///
    /// # Errors
    /// Whatever keeps it from finding out. The request is refused then, too; what is open stays so.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>>;
}

#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        (**self).authenticate(credentials).await
    }
}

/// What a request brings along to say who sends it. `Debug` shows none of it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Credentials {
    /// The token of an `Authorization: Bearer …` header, or of an `x-api-key` header.
    pub token: Option<String>,
}

impl Credentials {
    /// A token.
    pub fn bearer(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()) }
    }

    /// From the headers of a request.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self::of(text("authorization"), text("x-api-key"))
    }

    /// From the headers that a browser can't set, and sends in its first frame instead. Their names are lowercase.
    pub(crate) fn of_frame(headers: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| headers.get(name).map(String::as_str);
        Self::of(text("authorization"), text("x-api-key"))
    }

    fn of(authorization: Option<&str>, api_key: Option<&str>) -> Self {
        let bearer = authorization.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        Self { token: bearer.or(api_key).filter(|token| !token.is_empty()).map(str::to_owned) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("token", &self.token.as_ref().map(|_| "…")).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_either_header_and_never_shown() {
        let token = |authorization, key| Credentials::of(authorization, key).token;
        assert_eq!(token(Some("Bearer abc"), None).as_deref(), Some("abc"));
        assert_eq!(token(Some("bearer  abc "), None).as_deref(), Some("abc"));
        assert_eq!(token(None, Some("abc")).as_deref(), Some("abc"));
        assert_eq!(token(Some("Basic abc"), None), None);
        assert_eq!(token(Some("Bearer "), None), None);
        assert!(!format!("{:?}", Credentials::bearer("hush")).contains("hush"));
    }
}
