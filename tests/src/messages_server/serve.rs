use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinSet, yield_now},
};

use super::{
    Fault, RecordedRequest, State, convert, encode,
    http::{Connection, Request},
    lock,
    validate::{Refusal, check_images, validate},
};

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream; charset=utf-8");

/// What a response says of the limits of its account.
const LIMITS: [(&str, &str); 3] = [
    ("anthropic-ratelimit-requests-limit", "50"),
    ("anthropic-ratelimit-requests-remaining", "49"),
    ("anthropic-ratelimit-requests-reset", "2026-11-22T07:00:30Z"),
];

/// Whether the connection serves another request.
enum Next {
    Request,
    Close,
}

/// Serves until it is aborted; with it end all connections.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.send_modify(|count| *count += 1);
        let state = state.clone();
        connections.spawn(async move {
            // What a client does to its connection is no concern of the server's.
            let _ = connection(stream, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: tokio::net::TcpStream, state: &State) -> io::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(request) = connection.request().await? {
        if let Next::Close = serve(&mut connection, request, state).await? {
            break;
        }
    }
    Ok(())
}

async fn serve(connection: &mut Connection, request: Request, state: &State) -> io::Result<Next> {
    let Request { method, path, headers, body } = request;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let route = path.split('?').next().unwrap_or_default().to_owned();
    match (method.as_str(), route.as_str()) {
        ("HEAD", "/") => connection.respond(200, &[], b"").await?,
        ("POST", "/v1/messages/count_tokens") => {
            let request = RecordedRequest { method, path, headers, body };
            lock(&state.counts).push(request.clone());
            let fault = lock(&state.count_faults).pop_front();
            if let Some(next) = fail_early(connection, "req_count", fault.as_ref(), state).await? {
                return Ok(next);
            }
            let count = request.body.to_string().split_whitespace().count();
            connection.respond(200, &[JSON], json!({"input_tokens": count}).to_string().as_bytes()).await?;
        }
        ("POST", "/v1/messages") => {
            let request = RecordedRequest { method, path, headers, body };
            return messages(connection, request, state).await;
        }
        _ => refuse(connection, "req_0", (404, "not_found_error", "Not found".to_owned()), &[]).await?,
    }
    Ok(Next::Request)
}

async fn messages(connection: &mut Connection, request: RecordedRequest, state: &State) -> io::Result<Next> {
    let number = {
        let mut requests = lock(&state.requests);
        requests.push(request.clone());
        requests.len()
    };
    let id = format!("req_{number}");
    let fault = lock(&state.faults).pop_front();
    if let Some(next) = fail_early(connection, &id, fault.as_ref(), state).await? {
        return Ok(next);
    }
    let mut checked = validate(&request);
    if state.checks_images.load(Ordering::Relaxed) {
        checked = checked.and_then(|()| check_images(&request.body));
    }
    let events = match checked {
        Ok(()) => state.model.reply(&convert::request(&request.body)).map_err(|error| {
            // A script that has no answer is a mistake of the test, which trying again would only hide.
            (400, "invalid_request_error", format!("the script has no answer: {error}"))
        }),
        Err(refusal) => Err(refusal),
    };
    let events = match events {
        Ok(events) => events,
        Err(refusal) => {
            refuse(connection, &id, refusal, &[]).await?;
            return Ok(Next::Request);
        }
    };
    let message_id = format!("msg_{number}");
    if request.body["stream"] != true {
        let message = encode::message(&message_id, &events).to_string();
        connection.respond(200, &[JSON, ("request-id", &id)], message.as_bytes()).await?;
        return Ok(Next::Request);
    }
    let headers: Vec<_> = [EVENTS, ("request-id", &id)].into_iter().chain(LIMITS).collect();
    connection.begin(200, &headers).await?;
    stream(connection, encode::answer(&message_id, &events), fault, state).await
}

/// The faults that come instead of an answer.
async fn fail_early(
    connection: &mut Connection,
    id: &str,
    fault: Option<&Fault>,
    state: &State,
) -> io::Result<Option<Next>> {
    let rate_limit = (429, "rate_limit_error", "This request would exceed your rate limit.".to_owned());
    match fault {
        Some(Fault::RateLimited { retry_after }) => {
            let seconds = retry_after.map(|wait| wait.as_secs_f64().to_string());
            let header = seconds.as_deref().map(|seconds| ("retry-after", seconds));
            refuse(connection, id, rate_limit, header.as_slice()).await?;
        }
        Some(Fault::SpendLimit) => {
            let error = json!({"type": rate_limit.1, "message": "You have reached your spend limit.",
                               "details": {"error_code": "enforced_spend_limit_reached"}});
            let body = json!({"type": "error", "error": error, "request_id": id}).to_string();
            connection.respond(429, &[JSON], body.as_bytes()).await?;
        }
        Some(Fault::Overloaded) => {
            refuse(connection, id, (529, "overloaded_error", "Overloaded".to_owned()), &[]).await?;
        }
        Some(Fault::ApiError) => {
            refuse(connection, id, (500, "api_error", "Internal server error".to_owned()), &[]).await?;
        }
        Some(Fault::Response { status, headers, body }) => {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            connection.respond(*status, &headers, body.as_bytes()).await?;
        }
        Some(Fault::WrongContentType) => {
            let page = b"<html>Please log in.</html>";
            connection.respond(200, &[("content-type", "text/html; charset=utf-8")], page).await?;
        }
        Some(Fault::ResetBefore) => return Ok(Some(Next::Close)),
        Some(Fault::Stall { events: 0 }) => {
            stall(connection, state).await;
            return Ok(Some(Next::Close));
        }
        _ => return Ok(None),
    }
    Ok(Some(Next::Request))
}

async fn refuse(
    connection: &mut Connection,
    id: &str,
    (status, kind, message): Refusal,
    headers: &[(&str, &str)],
) -> io::Result<()> {
    let body =
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id}).to_string();
    let headers: Vec<_> = [JSON, ("request-id", id)].into_iter().chain(headers.iter().copied()).collect();
    connection.respond(status, &headers, body.as_bytes()).await
}

/// The events of an answer, with the faults that come within one.
async fn stream(
    connection: &mut Connection,
    events: Vec<String>,
    fault: Option<Fault>,
    state: &State,
) -> io::Result<Next> {
    let whole = events.concat();
    let first = |count: usize| events.iter().take(count).map(String::as_str).collect::<String>();
    match fault {
        Some(Fault::ResetAfter { events }) => {
            connection.chunk(first(events).as_bytes()).await?;
            return Ok(Next::Close);
        }
        Some(Fault::Stall { events }) => {
            connection.chunk(first(events).as_bytes()).await?;
            stall(connection, state).await;
            return Ok(Next::Close);
        }
        Some(Fault::Pings { events }) => {
            connection.chunk(first(events).as_bytes()).await?;
            state.stalled.send_modify(|count| *count += 1);
            let ping = encode::event(&json!({"type": "ping"}));
            // It ends with the error of a connection that the client has closed.
            while connection.chunk(ping.as_bytes()).await.is_ok() {
                yield_now().await;
            }
            state.abandoned.send_modify(|count| *count += 1);
            return Ok(Next::Close);
        }
        Some(Fault::ErrorEvent { events, kind }) => {
            connection.chunk(first(events).as_bytes()).await?;
            let error = json!({"type": "error", "error": {"type": kind, "message": "It broke off."}});
            connection.chunk(encode::event(&error).as_bytes()).await?;
        }
        Some(Fault::Truncate { bytes }) => {
            connection.chunk(whole.as_bytes().get(..bytes).unwrap_or(whole.as_bytes())).await?;
        }
        Some(Fault::ByteByByte) => {
            for byte in whole.as_bytes().chunks(1) {
                connection.chunk(byte).await?;
                yield_now().await;
            }
        }
        _ => {
            for event in &events {
                connection.chunk(event.as_bytes()).await?;
            }
        }
    }
    connection.end().await?;
    Ok(Next::Request)
}

async fn stall(connection: &mut Connection, state: &State) {
    state.stalled.send_modify(|count| *count += 1);
    connection.hung_up().await;
    state.abandoned.send_modify(|count| *count += 1);
}
