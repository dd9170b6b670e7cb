//! What is served over HTTP.

mod body;
mod messages;
mod openapi;
mod rest;
mod table;
mod tenants;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{
        ConnectInfo, DefaultBodyLimit, Request, State, WebSocketUpgrade,
        ws::rejection::WebSocketUpgradeRejection,
    },
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use self::table::Table;
use crate::{
    Owner,
    auth::{self, Credentials},
    failure::{Code, Failure},
    quota::RateState,
    server::Shared,
    socket::{self, Places},
};

/// What each connection keeps to read into, in bytes: the library's own choice is 128 KiB, for each idle client.
const READ_BUFFER: usize = 4096;

/// How much of what leaves together is gathered before it is written, in bytes.
const WRITE_BUFFER: usize = 16 << 10;

/// What a proxy adds.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let [open, watched, api, tenants] = tables();
    let api = api.router.fallback(missing).method_not_allowed_fallback(not_allowed);
    Router::new()
        .merge(open.router)
        .merge(watched.router.layer(middleware::from_fn_with_state(shared.clone(), observed)))
        .nest("/api", api.layer(middleware::from_fn_with_state(shared.clone(), authenticated)))
        .nest("/v1", tenants.router.layer(middleware::from_fn_with_state(shared.clone(), administered)))
        .fallback(missing)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(shared.limits.request))
        .layer(middleware::from_fn_with_state(shared.clone(), admitted))
        .with_state(shared)
}

/// All routes: those for everybody, for whoever looks after the server, for owners, and for administrators.
fn tables() -> [Table; 4] {
    let open = Table::below("").get("/ws", connect).get("/health", health).get("/openapi.json", described);
    let watched = Table::below("").get("/ready", ready).get("/metrics", metrics);
    let api = Table::below("/api")
        .post("/containers", rest::create_container)
        .get("/containers", rest::list_containers)
        .get("/containers/{id}", rest::get_container)
        .delete("/containers/{id}", rest::delete_container)
        .post("/containers/{id}/images", rest::create_image)
        .get("/containers/{id}/images", rest::list_images)
        .get("/images/{id}", rest::get_image)
        .patch("/images/{id}", rest::update_image)
        .delete("/images/{id}", rest::delete_image)
        .get("/images/{id}/messages", rest::image_messages)
        .post("/images/{id}/agents", rest::run_image)
        .get("/agents/{id}", rest::get_agent)
        .delete("/agents/{id}", rest::destroy_agent)
        .post("/agents/{id}/messages", messages::send)
        .get("/agents/{id}/events", messages::listen)
        .post("/agents/{id}/interrupt", rest::interrupt)
        .get("/agents/{id}/approvals", rest::list_approvals)
        .post("/agents/{id}/approvals/{approval}", rest::answer_approval);
    [open, watched, api, tenants::table()]
}

/// All methods and paths that are served.
#[cfg(test)]
fn listed() -> Vec<(&'static str, String)> {
    tables().into_iter().flat_map(|table| table.listed).collect()
}

/// The document of all this.
async fn described(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(openapi::document(&shared.version))
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
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade
        .map_err(|rejection| Failure::new(Code::InvalidRequest, format!("no WebSocket: {rejection}")))?;
    let credentials = Credentials::of_headers(&headers);
    let said = credentials.token.is_some();
    let caller = shared.caller(credentials).await?;
    // A browser can't send headers: it says who it is in its first frame. Wrong ones are refused at once.
    if caller.is_none() && said {
        return Err(Failure::new(Code::Unauthorized, "these credentials are not known"));
    }
    let places = Places::new(&shared, caller.as_ref()).await?;
    let limit = shared.limits.request;
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    let upgrade = upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER);
    Ok(upgrade.on_upgrade(move |socket| socket::serve(socket, shared, caller, places)))
}

/// Refuses pages, and names of the server, that are not allowed.
async fn admitted(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// Lets those pass who look after the server: on this machine, or with an administrator's key. Who comes through a proxy
/// is not of this machine, nor is a page of somebody else's, whose name points here.
async fn observed(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let is_forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
    let is_near = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
    if is_near && !is_forwarded && auth::names_this_machine(request.headers()) {
        return next.run(request).await;
    }
    administered(State(shared), request, next).await
}

/// Lets those pass who manage tenants.
async fn administered(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shared.administers(&Credentials::of_headers(request.headers())).await {
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
