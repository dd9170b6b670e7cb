//! What is served over HTTP.

mod body;
mod messages;
mod rest;
mod tenants;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{
    Owner,
    auth::Credentials,
    failure::{Code, Failure},
    quota::RateState,
    server::Shared,
    socket::{self, Places},
};

/// What each connection keeps to read into, in bytes: the library's own choice is 128 KiB, for each idle client.
const READ_BUFFER: usize = 4096;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/containers", post(rest::create_container).get(rest::list_containers))
        .route("/containers/{id}", get(rest::get_container).delete(rest::delete_container))
        .route("/containers/{id}/images", post(rest::create_image).get(rest::list_images))
        .route("/images/{id}", get(rest::get_image).patch(rest::update_image).delete(rest::delete_image))
        .route("/images/{id}/messages", get(rest::image_messages))
        .route("/images/{id}/agents", post(rest::run_image))
        .route("/agents/{id}", get(rest::get_agent).delete(rest::destroy_agent))
        .route("/agents/{id}/messages", post(messages::send))
        .route("/agents/{id}/events", get(messages::listen))
        .route("/agents/{id}/interrupt", post(rest::interrupt))
        .route("/agents/{id}/approvals", get(rest::list_approvals))
        .route("/agents/{id}/approvals/{approval}", post(rest::answer_approval))
        .fallback(missing)
        .method_not_allowed_fallback(not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), authenticated));
    Router::new()
        .route("/ws", get(connect))
        .nest("/api", api)
        .nest("/v1", tenants::routes(&shared))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(shared.limits.request))
        .layer(middleware::from_fn_with_state(shared.clone(), admitted))
        .with_state(shared)
}

/// Whether the process serves.
async fn health(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({"status": "ok", "version": shared.version}))
}

/// Whether it can do its work: the store answers.
async fn ready(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Failure> {
    let probe = Owner::local().container("ready")?;
    match shared.service.repositories.containers.find_container(&probe).await {
        Ok(_) => Ok(Json(json!({"status": "ready", "agents": shared.service.running.len()}))),
        Err(_) => Err(Failure::new(Code::Unavailable, "the store does not answer")),
    }
}

/// What is counted, as Prometheus reads it.
async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Failure> {
    let text = shared.metrics.encode(shared.service.running.len());
    let text = text.map_err(|_| Failure::new(Code::Failed, "the metrics can't be written"))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(axum::http::header::CONTENT_TYPE, kind)], text).into_response())
}

async fn missing() -> Failure {
    Failure::new(Code::NotFound, "there is no such resource")
}

async fn not_allowed() -> Failure {
    Failure::new(Code::NotAllowed, "this resource has no such method")
}

async fn connect(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let credentials = Credentials::of_headers(&headers);
    let said = credentials.token.is_some();
    let caller = shared.caller(credentials).await?;
    // A browser can't send headers: it says who it is in its first frame. Wrong ones are refused at once.
    if caller.is_none() && said {
        return Err(Failure::new(Code::Unauthorized, "these credentials are not known"));
    }
    let places = Places::new(&shared, caller.as_ref()).await?;
    let limit = shared.limits.request;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit).read_buffer_size(READ_BUFFER);
    Ok(upgrade.on_upgrade(move |socket| socket::serve(socket, shared, caller, places)))
}

/// Refuses pages, and names of the server, that are not allowed.
async fn admitted(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Finds out whose a request is.
async fn authenticated(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    match shared.caller(Credentials::of_headers(request.headers())).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller.owner.clone());
            let account = shared.service.accounts.of(&caller.owner);
            request.extensions_mut().insert(caller);
            let mut response = next.run(request).await;
            if let Some(rate) = account.rate() {
                tell_rate(response.headers_mut(), rate);
            }
            response
        }
        Ok(None) => Failure::new(Code::Unauthorized, "who asks is not known").into_response(),
        Err(failure) => failure.into_response(),
    }
}

/// What is left of an owner's requests, as the IETF's draft of these headers (httpapi-ratelimit-headers) has it.
fn tell_rate(headers: &mut HeaderMap, rate: RateState) {
    let RateState { limit, remaining, reset } = rate;
    let texts = [
        ("ratelimit-policy", format!(r#""requests";q={limit};w={}"#, RateState::WINDOW)),
        ("ratelimit", format!(r#""requests";r={remaining};t={}"#, reset.as_secs_f64().ceil())),
    ];
    for (name, text) in texts {
        if let Ok(value) = text.parse() {
            headers.insert(name, value);
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = json!({"error": {"code": self.code.name(), "message": self.message}});
        let mut response = (self.code.status(), Json(error)).into_response();
        if let Some(after) = self.after {
            let seconds = axum::http::HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, seconds);
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            let bearer = axum::http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}
