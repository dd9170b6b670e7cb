//! Commands that live long: the suite for the background over programs in memory, and broken processes that it
//! catches. What needs real commands stands in agentx-provider-local/tests/process_session.rs.
#![cfg(test)]

use std::sync::Arc;

use agentx_conformance::{
    Case, Fresh, Profile, TokioClock,
    faulty::{FaultyLive, LiveFault},
    process::{self, background, toolbox},
};
use agentx_resource::Process;

agentx_conformance::process_background_suite!(
    memory_background,
    || async { Fresh::process(toolbox(Arc::new(TokioClock))) },
    Profile::new().deviates("background-drop-ends", NO_IDS)
);

const NO_IDS: &str = "a Rust function has no process id";

/// Cases that only commands with process ids and signals can fail.
const REAL: [&str; 2] = ["background-drop-ends", "background-signal"];

// Time stands still unless all wait for it, so that a command that hangs is given up at once.
#[tokio::test(start_paused = true)]
async fn broken_processes_are_caught_in_the_background() {
    for fault in LiveFault::ALL {
        let Some(id) = fault.caught_in_background().filter(|id| !REAL.contains(id)) else { continue };
        let case = background::CASES.iter().find(|case| case.id() == id).unwrap();
        let sound = Arc::new(toolbox(Arc::new(TokioClock)));
        let outcome = case.attempt(Arc::new(FaultyLive::new(sound, *fault))).await;
        assert!(outcome.is_err(), "{fault:?} passes {id}");
    }
}

#[test]
fn each_fault_names_cases_that_there_are() {
    let named = |cases: &[Case<dyn Process>], id: &str| cases.iter().any(|case| case.id() == id);
    for fault in LiveFault::ALL {
        let (session, background) = (fault.caught_in_session(), fault.caught_in_background());
        assert!(session.is_some() || background.is_some(), "{fault:?}");
        assert!(session.is_none_or(|id| named(process::session::CASES, id)), "{fault:?}");
        assert!(background.is_none_or(|id| named(background::CASES, id)), "{fault:?}");
    }
}
