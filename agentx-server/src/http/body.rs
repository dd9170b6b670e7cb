//! What a request brings along.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use tokio::time;

use crate::{
    failure::{Code, Failure},
    service::Object,
    wire,
};

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// The members of a JSON object; none where there is no body.
pub(super) struct Body(pub(super) Object);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let is_json = is_json(request.headers());
        let Ok(body) = time::timeout(PATIENCE, Bytes::from_request(request, state)).await else {
            return Err(Failure::new(Code::TooSlow, "the body did not come in time"));
        };
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Failure::new(Code::TooLarge, "the body is too large"),
            _ => Failure::new(Code::InvalidRequest, "the body can't be read"),
        })?;
        if body.is_empty() {
            return Ok(Self(Object::new()));
        }
        if !is_json {
            return Err(Failure::new(Code::MediaType, "a body is application/json"));
        }
        wire::check_values(&body)?;
        let members = serde_json::from_slice(&body);
        Ok(Self(members.map_err(|error| Failure::params(format!("the body is no JSON object: {error}")))?))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
