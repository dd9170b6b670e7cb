//! What a request brings along.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, MatchedPath, Request},
    http::{HeaderMap, StatusCode, header},
};
use tokio::time;

use super::openapi;
use crate::{
    failure::{Code, Failure},
    service::Object,
    wire,
};

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// How much of a member's name an error repeats, in characters.
const SHOWN: usize = 64;

/// The members of a JSON object, of those that the document tells of; none where there is no body.
pub(super) struct Body(pub(super) Object);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let is_json = is_json(request.headers());
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
        let known = openapi::members(request.method(), path);
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
        let members: Object = serde_json::from_slice(&body)
            .map_err(|error| Failure::params(format!("the body is no JSON object: {error}")))?;
        let unknown =
            |known: &BTreeSet<String>| members.keys().find(|member| !known.contains(*member)).cloned();
        match known.and_then(|known| Some((known, unknown(known)?))) {
            None => Ok(Self(members)),
            Some((known, unknown)) => {
                let unknown: String = unknown.chars().take(SHOWN).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let known = known.join(", ");
                Err(Failure::params(format!("the body may not have the member {unknown:?}, only: {known}")))
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
