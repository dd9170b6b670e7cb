//! The kit through the Worker and the `Container` class. Each case has a container of its own.

use std::sync::Arc;

use agentx_conformance::{Case, Failure, Fresh, Profile, pair, process};
use agentx_resource::Process;

use crate::engine::Engine;

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn pairs() -> Result<(), Failure> {
    let fresh = || async {
        let engine = Engine::start().await;
        let container = engine.connected().await;
        Fresh::pair(Arc::new(container.files()), Arc::new(container.process())).with_guard(engine)
    };
    Case::run_all(pair::CASES, fresh, &Profile::new())
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn processes() -> Result<(), Failure> {
    let fresh = || async {
        let engine = Engine::start().await;
        let fresh: Fresh<dyn Process> = Fresh::process(engine.connected().await.process());
        fresh.with_guard(engine)
    };
    Case::run_all(process::CASES, fresh, &Profile::new())
}
