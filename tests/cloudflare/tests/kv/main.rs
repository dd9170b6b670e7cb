//! KV as an environment, on workerd's KV, by the local server's own REST API.
#![cfg(test)]

mod settings;
mod supply;

use std::sync::Arc;

use agentx::SystemClock;
use agentx_provider_cloudflare::{ApiToken, CloudflareApi, KvEnv};
use agentx_tests_cloudflare::{Place, TOKEN};

/// The API at `base`, which tries twice.
fn api(base: String) -> CloudflareApi {
    CloudflareApi::at(base, ApiToken::value(TOKEN), Arc::new(SystemClock)).unwrap().with_retries(1)
}

/// The namespace of a place, its API at `base`.
fn namespace(place: &Place, base: String) -> KvEnv {
    KvEnv::new(api(base), place.namespace()).unwrap()
}
