//! D1, by both of its ways: the local server's own REST API, and an account's API as `workers/d1.mjs` plays it. What SQL
//! does is workerd's own in both. The address, the envelope, the status and the codes of the second are this project's
//! reading of Cloudflare's documentation, and prove nothing about the service.
#![cfg(test)]

mod batch;
mod faults;
mod repositories;
mod values;

use std::sync::Arc;

use agentx::SystemClock;
use agentx_core::Result;
use agentx_provider_cloudflare::{ApiToken, CloudflareApi, D1Executor};
use agentx_sql::{Executor, Rows, Statement};
use agentx_tests_cloudflare::{Place, TOKEN};

/// A way to a database.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The local server's own API.
    Explorer,
    /// An account's API, played.
    Account,
}

const WAYS: [Way; 2] = [Way::Explorer, Way::Account];

fn api(way: Way, place: &Place) -> CloudflareApi {
    let base = match way {
        Way::Explorer => place.explorer_api(),
        Way::Account => format!("{}/accounts/0123456789abcdef0123456789abcdef", place.rest_api()),
    };
    CloudflareApi::at(base, ApiToken::value(TOKEN), Arc::new(SystemClock)).unwrap()
}

/// A database of its own.
fn database(way: Way) -> D1Executor {
    let place = Place::take();
    D1Executor::new(api(way, &place), place.database()).unwrap()
}

async fn run(database: &D1Executor, sql: &'static str) -> Result<Rows> {
    Ok(database.execute(vec![Statement::new(sql)]).await?.remove(0))
}
