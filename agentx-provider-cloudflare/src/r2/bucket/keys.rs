use std::{fmt, sync::Arc};

use agentx_resource::{LLMProvider, Secret};
use async_trait::async_trait;
use object_store::{CredentialProvider, aws::AwsCredential};

/// The keys of R2's S3 API, as the dashboard and the API for tokens give them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct R2Keys {
    /// The access key's id.
    pub id: Secret,
    /// The secret access key.
    pub secret: Secret,
    /// The session's token, where the keys are temporary.
    pub session: Option<Secret>,
}

impl R2Keys {
    /// Keys that stay.
    pub fn new(id: impl Into<Secret>, secret: impl Into<Secret>) -> Self {
        Self { id: id.into(), secret: secret.into(), session: None }
    }

    /// Keys of a session.
    pub fn with_session(mut self, token: impl Into<Secret>) -> Self {
        self.session = Some(token.into());
        self
    }
}

/// Keys as the S3 client wants them.
pub(super) struct Supplied(pub(super) Arc<dyn LLMProvider<R2Keys>>);

#[async_trait]
impl CredentialProvider for Supplied {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let keys = self
            .0
            .provide()
            .await
            .map_err(|error| object_store::Error::Generic { store: "R2", source: Box::new(error) })?;
        Ok(Arc::new(AwsCredential {
            key_id: keys.id.expose().to_owned(),
            secret_key: keys.secret.expose().to_owned(),
            token: keys.session.map(|token| token.expose().to_owned()),
        }))
    }
}

/// Names the provider alone.
impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supplied").field(&self.0.name()).finish()
    }
}
