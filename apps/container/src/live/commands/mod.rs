//! Commands that run here for callers elsewhere.

mod entry;
mod events;
mod log;
mod registry;
mod stdin;

use std::sync::Arc;

use agentx::resource::{Error, ErrorKind};
use agentx_provider_cloudflare::container_wire::{COMMAND_BYTES, Command, Control, STDIN_BYTES};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde::Deserialize;

pub(crate) use self::registry::Commands;
use self::{registry::Attached, stdin::Handed};
use crate::reply::{Refusal, parse};

pub(super) fn router(commands: Arc<Commands>) -> Router {
    Router::new()
        .route("/{id}", post(start).delete(end).layer(DefaultBodyLimit::max(COMMAND_BYTES)))
        .route("/{id}/events", get(events))
        .route("/{id}/stdin", post(write).layer(DefaultBodyLimit::max(STDIN_BYTES)))
        .route("/{id}/control", post(control).layer(DefaultBodyLimit::max(4096)))
        .with_state(commands)
}

/// The number of the last event that the caller has.
#[derive(Deserialize)]
struct After {
    after: u64,
}

/// Starts a command, or finds the one that was started by this id before, and tells its events.
async fn start(
    State(commands): State<Arc<Commands>>,
    Path(id): Path<String>,
    Query(After { after }): Query<After>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = parse::<Command>("spawn", &body)?.into_request()?;
    drop(body);
    let attached = commands.start(&id, request, after).await?;
    Ok(stream(attached, &commands))
}

async fn events(
    State(commands): State<Arc<Commands>>,
    Path(id): Path<String>,
    Query(After { after }): Query<After>,
) -> Result<Response, Refusal> {
    let attached = commands.attach(&id, after)?;
    Ok(stream(attached, &commands))
}

fn stream(attached: Attached, commands: &Commands) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Neither kept nor changed on the way: a compressed stream is a held back one.
        (header::CACHE_CONTROL, "no-store, no-transform"),
    ];
    (headers, Body::from_stream(events::stream(attached, commands.limits()))).into_response()
}

#[derive(Deserialize)]
struct Piece {
    piece: u64,
}

/// Hands input over. 202 where the command has not read it yet: to be asked again.
async fn write(
    State(commands): State<Arc<Commands>>,
    Path(id): Path<String>,
    Query(Piece { piece }): Query<Piece>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let entry = commands.find("write_stdin", &id)?;
    Ok(match stdin::write(&entry, piece, body, commands.limits().stdin).await? {
        Handed::Over => StatusCode::NO_CONTENT,
        Handed::NotYet => StatusCode::ACCEPTED,
    })
}

async fn control(
    State(commands): State<Arc<Commands>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let control = parse("control", &body)?;
    let child = commands.find("control", &id)?.child("control")?;
    match control {
        Control::CloseStdin => child.close_stdin().await?,
        Control::Signal(number) => {
            let signal = Control::known_signal(number).ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, "signal")
                    .with_message(format!("signal {number} is not known"))
            })?;
            child.signal(signal).await?;
        }
        Control::Resize(size) => child.resize(size.into()).await?,
        Control::Kill => child.kill().await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a command, and answers when nothing of it is alive.
async fn end(State(commands): State<Arc<Commands>>, Path(id): Path<String>) -> StatusCode {
    commands.end(&id).await;
    StatusCode::NO_CONTENT
}
