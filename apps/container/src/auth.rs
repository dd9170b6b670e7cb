//! Who is served.

use std::sync::Arc;

use agentx::resource::{Error, ErrorKind, Secret};
use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use crate::reply::Refusal;

/// Passes on who knows the token. Each comparison takes the same time, whatever was guessed; only a wrong length is told
/// sooner.
pub(crate) async fn check(
    State(token): State<Arc<Option<Secret>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = &*token else { return next.run(request).await };
    let given = request.headers().get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    if given.ct_eq(token.expose().as_bytes()).into() {
        return next.run(request).await;
    }
    let error =
        Error::new(ErrorKind::Unauthenticated, "connect").with_message("the token is missing or wrong");
    Refusal::from(error).into_response()
}
