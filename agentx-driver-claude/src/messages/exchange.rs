//! One request and the head of its response.

use std::{pin::pin, sync::Arc, time::Duration};

use agentx_core::{Error, ErrorKind, Result, Retry};
use agentx_resource::{ApiSupply, Secret};
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{self, Either},
};

use super::{
    ApiVersion, Auth, HttpRequest, HttpResponse, RateLimits, ResponseInfo,
    endpoint::{self, Endpoint},
    error::{self, failure},
    model::Client,
    timers::Timer,
};

/// The most that is read of a response that is no answer, and of a count.
const BODY_LIMIT: usize = 64 << 10;

/// How long the body of a response that is no answer may take: the status alone decides what comes next.
const BODY_WAIT: Duration = Duration::from_secs(5);

/// A response of success whose body is still to come.
pub(super) struct Opened {
    pub response: HttpResponse,
    pub request_id: Option<String>,
    pub key: Secret,
    /// The timer that the answer goes on with.
    pub timer: Timer,
}

/// Sends the request with the key of this moment, and once more where that is refused and another has taken its place.
pub(super) async fn send(client: &Arc<Client>, endpoint: Endpoint, body: Bytes) -> Result<Opened> {
    let supply = client.supply.provide().await?;
    let refused = match send_with(client, &supply, endpoint, body.clone()).await {
        Err(error) if error.kind() == ErrorKind::Unauthenticated => error,
        result => return result,
    };
    let Some(on_refused) = &client.on_refused else { return Err(refused) };
    on_refused(supply.clone()).await;
    match client.supply.provide().await {
        Ok(now) if now != supply => send_with(client, &now, endpoint, body).await,
        _ => Err(refused),
    }
}

async fn send_with(
    client: &Arc<Client>,
    supply: &ApiSupply,
    endpoint: Endpoint,
    body: Bytes,
) -> Result<Opened> {
    let url = endpoint::url(supply.base_url.as_deref(), endpoint)?;
    let settings = &client.settings;
    let accept = match endpoint {
        Endpoint::Messages => "text/event-stream",
        Endpoint::CountTokens => "application/json",
    };
    let mut request = HttpRequest::new(url, body)
        .with_header("content-type", "application/json")
        .with_header("accept", accept)
        .with_header("user-agent", concat!("agentx/", env!("CARGO_PKG_VERSION")))
        .with_header("anthropic-version", ApiVersion::as_str(settings.version));
    if !settings.betas.is_empty() {
        request = request.with_header("anthropic-beta", settings.betas.join(","));
    }
    let request = match settings.auth {
        Auth::ApiKey => request.with_header("x-api-key", supply.key.clone()),
        Auth::Bearer => request.with_header("authorization", format!("Bearer {}", supply.key.expose())),
    };
    let mut timer = client.idle.start();
    let mut sent = client.transport.send(request);
    let response = loop {
        let response = match future::select(&mut sent, &mut timer.time).await {
            Either::Left((response, _)) => Some(response?),
            Either::Right(_) => None,
        };
        match response {
            Some(response) => break response,
            None if timer.restart() => return Err(silent(client)),
            None => {}
        }
    };
    drop(sent);
    let request_id = response.header("request-id").map(|id| error::shown(id, &supply.key));
    let headers = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    client.responded(ResponseInfo {
        status: response.status,
        request_id: request_id.clone(),
        rate_limits: RateLimits::from_headers(headers),
    });
    if !(200..300).contains(&response.status) {
        return Err(refused(client, response, &supply.key).await);
    }
    Ok(Opened { response, request_id, key: supply.key.clone(), timer })
}

/// A body of bounded length, or what came of it in bounded time.
pub(super) async fn body(client: &Arc<Client>, response: &mut HttpResponse) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(chunk)) = response.body.next().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= BODY_LIMIT {
                bytes.truncate(BODY_LIMIT);
                break;
            }
        }
    };
    future::select(pin!(read), client.clock.sleep(BODY_WAIT)).await;
    bytes
}

async fn refused(client: &Arc<Client>, mut response: HttpResponse, key: &Secret) -> Error {
    // What is missing of the body is missing of the message; the status says enough.
    let bytes = body(client, &mut response).await;
    error::of_response(response.status, |name| response.header(name), &bytes, client.clock.now(), key)
}

/// A proxy's login page is no answer, and says so here.
pub(super) fn check_content_type(response: &HttpResponse, expected: &str) -> Result<()> {
    let Some(found) = response.header("content-type") else { return Ok(()) };
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let shown: String = essence.chars().take(100).collect();
    Err(failure(ErrorKind::Corrupt, format!("the answer is {shown:?} and not {expected}")))
}

pub(super) fn silent(client: &Client) -> Error {
    let seconds = client.settings.idle_timeout.as_secs_f64();
    failure(ErrorKind::TimedOut, format!("the API said nothing for {seconds} s"))
        .with_retry(Retry::After(None))
}
