//! Answers in the protocol of `/agentx/v1`.

use agentx::resource::{Error, ErrorKind};
use agentx_provider_cloudflare::container_wire::Fault;
use axum::{
    body::Body,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

/// An error as an answer.
#[derive(Debug)]
pub(crate) struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let fault = Fault::from(&self.0);
        let status = StatusCode::from_u16(fault.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(fault)).into_response()
    }
}

/// A JSON answer.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response(),
            // Nothing that is told here has keys that are no text, the one thing that can fail.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// A body that must be JSON of this form. What it is instead is not repeated: it may hold a secret.
pub(crate) fn parse<T: DeserializeOwned>(operation: &'static str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| {
        let message =
            format!("the body is not what it must be, at line {} column {}", source.line(), source.column());
        Error::new(ErrorKind::InvalidInput, operation).with_message(message)
    })
}
