//! The kit against client and server, over TCP.
#![cfg(test)]

mod support;

use std::sync::Arc;

use agentx_conformance::{Fresh, pair::Pair};
use support::Served;

agentx_conformance::process_suite!(process, || async {
    let served = Served::start().await;
    Fresh::process(served.container().await.process()).with_check(served.check()).with_guard(served)
});

agentx_conformance::file_system_suite!(files, || async {
    let served = Served::start().await;
    Fresh::file_system(served.container().await.files()).with_check(served.check()).with_guard(served)
});

agentx_conformance::pair_suite!(pair, || async {
    let served = Served::start().await;
    let container = served.container().await;
    let pair: Fresh<Pair> = Fresh::pair(Arc::new(container.files()), Arc::new(container.process()));
    pair.with_check(served.check()).with_guard(served)
});
