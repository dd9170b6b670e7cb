use agentx_resource::ErrorKind;
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};

use super::Failure;

/// A whole response, of whichever status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<std::time::Duration>,
    pub(crate) is_json: bool,
    pub(crate) body: Bytes,
}

/// What Cloudflare wraps around every result.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<T> {
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Told>,
    result: Option<T>,
}

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

impl<T: DeserializeOwned> Envelope<T> {
    /// Reads a response of success; a `Failure` with unknown effect for what is none.
    pub(crate) fn read(answer: &Answer) -> Result<T, Failure> {
        let corrupt = |problem: String| Failure::new(ErrorKind::Corrupt, problem).unknown();
        if !answer.is_json {
            return Err(corrupt(format!("the answer is no JSON (status {})", answer.status)));
        }
        let envelope: Self = serde_json::from_slice(&answer.body)
            .map_err(|error| corrupt(format!("the answer is not as it should be: {error}")))?;
        match envelope.result {
            Some(result) if envelope.success => Ok(result),
            _ => Err(corrupt("the answer is of success, and has no result".to_owned())),
        }
    }
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The errors of an envelope, each with its code; none where this is no envelope of failure.
    pub(crate) fn errors(&self) -> Option<Vec<(i64, String)>> {
        let envelope: Envelope<serde_json::Value> =
            self.is_json.then(|| serde_json::from_slice(&self.body).ok()).flatten()?;
        let errors = envelope.errors.into_iter().map(|told| (told.code, told.message));
        Some(errors.collect()).filter(|errors: &Vec<_>| !envelope.success && !errors.is_empty())
    }

    /// What a response that is no success means wherever it comes from.
    pub(crate) fn failure(&self) -> Failure {
        let said = match self.errors() {
            Some(errors) => {
                let each = errors.iter().map(|(code, message)| format!("{message} (code {code})"));
                each.collect::<Vec<_>>().join("; ")
            }
            None => String::new(),
        };
        let message = if said.is_empty() {
            format!("status {}", self.status)
        } else {
            format!("{said} (status {})", self.status)
        };
        let failure = |kind| Failure::new(kind, message.clone());
        match self.status {
            400 | 405 | 422 => failure(ErrorKind::InvalidInput),
            401 => failure(ErrorKind::Unauthenticated),
            403 => failure(ErrorKind::PermissionDenied),
            404 | 410 => failure(ErrorKind::NotFound),
            413 | 414 => failure(ErrorKind::LimitExceeded),
            429 => failure(ErrorKind::Busy).passing(self.retry_after),
            408 => failure(ErrorKind::TimedOut).unknown().passing(self.retry_after),
            500.. => failure(ErrorKind::Unavailable).unknown().passing(self.retry_after),
            _ => failure(ErrorKind::Internal).unknown(),
        }
    }
}
