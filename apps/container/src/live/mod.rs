//! `/agentx/v1`: what `ContainerProcess` and `ContainerFileSystem` ask for.

mod commands;
mod files;

use std::sync::Arc;

use agentx::resource::{Error, ErrorKind};
use agentx_provider_cloudflare::container_wire::{Hello, INSTANCE, PREFIX};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing,
};

pub(crate) use self::commands::Commands;
use crate::{
    reply::{Json, Refusal},
    server::Resources,
};

pub(crate) fn router(instance: &str, resources: &Resources, commands: Arc<Commands>) -> Router {
    let hello = Hello::new(instance, &resources.process.capabilities(), resources.files.capabilities());
    let hello_route =
        routing::get(|State(hello): State<Arc<Hello>>| async move { Json(Hello::clone(&hello)) });
    let routes = Router::new()
        .route("/hello", hello_route.with_state(Arc::new(hello)))
        .nest("/commands", commands::router(commands))
        .nest("/files", files::router(Arc::clone(&resources.files)))
        .layer(middleware::from_fn_with_state(Arc::<str>::from(instance), same_instance));
    Router::new().nest(PREFIX, routes)
}

/// Refuses whoever means another instance: what he knows of files and commands holds for that one.
async fn same_instance(State(instance): State<Arc<str>>, request: Request, next: Next) -> Response {
    match request.headers().get(INSTANCE) {
        Some(meant) if meant.as_bytes() != instance.as_bytes() => {
            let error = Error::new(ErrorKind::Lost, "connect")
                .with_message("the container that is meant is gone; this is another one in its place");
            Refusal::from(error).into_response()
        }
        _ => next.run(request).await,
    }
}
