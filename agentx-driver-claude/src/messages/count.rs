//! The count of a request's tokens.

use std::sync::Arc;

use agentx_core::{ErrorKind, ModelRequest, Result, Retry};
use bytes::Bytes;
use serde::Deserialize;

use super::{
    ApiFailure,
    endpoint::Endpoint,
    error::{self, failure},
    exchange,
    model::Client,
    request::{self, Purpose},
    retry,
};

#[derive(Deserialize)]
struct Count {
    input_tokens: u64,
}

pub(super) async fn count(client: &Arc<Client>, request: &ModelRequest) -> Result<u64> {
    let mut failures = 0;
    loop {
        let body = request::body(request, &client.settings, &client.refused(), Purpose::Count)?;
        let error = match ask(client, body).await {
            Ok(count) => return Ok(count),
            Err(error) => error,
        };
        let mut refused = (*client.refused()).clone();
        let learnt = ApiFailure::of(&error)
            .map(|failed| request::learn(request, &client.settings, &mut refused, failed))
            .unwrap_or_default();
        if !learnt.is_empty() {
            client.refuse(refused);
            continue;
        }
        failures += 1;
        match retry::wait(error.retry(), failures, client.settings.retries) {
            Some(wait) => client.clock.sleep(wait).await,
            None if failures > 1 && error.retry() != Retry::Never => {
                return Err(error.with_retry(Retry::Exhausted));
            }
            None => return Err(error),
        }
    }
}

async fn ask(client: &Arc<Client>, body: Bytes) -> Result<u64> {
    let mut opened = exchange::send(client, Endpoint::CountTokens, body).await?;
    let bytes = exchange::body(client, &mut opened.response).await;
    let count = serde_json::from_slice::<Count>(&bytes).map_err(|_| {
        let error = failure(ErrorKind::Corrupt, "the answer is no count of tokens");
        error::within(error, opened.request_id.as_deref())
    })?;
    Ok(count.input_tokens)
}
