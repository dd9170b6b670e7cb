//! KV as an environment, on workerd's KV, by the local server's own REST API.
#![cfg(test)]

mod settings;
mod supply;

use std::sync::Arc;

use agentx::SystemClock;
use agentx_provider_cloudflare::{ApiToken, CloudflareApi, KvEnv};
use agentx_tests_cloudflare::{Place, TOKEN};

/// The namespace of a place, its API at `base`.
fn namespace(place: &Place, base: String) -> KvEnv {
    let api = CloudflareApi::at(base, ApiToken::value(TOKEN), Arc::new(SystemClock)).unwrap();
    KvEnv::new(api.with_retries(1), place.namespace()).unwrap()
}
