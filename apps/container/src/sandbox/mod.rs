//! `/api`: what the clients of `@cloudflare/sandbox` ask for.
use crate::server::Resources;
use axum::Router;
use std::sync::Arc;

pub(crate) fn router(_resources: Arc<Resources>) -> Router {
    Router::new()
}
