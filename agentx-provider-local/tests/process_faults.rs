//! Faults of processes that only commands with process ids can show: each is caught by its case.
#![cfg(test)]

use std::sync::Arc;

use agentx_conformance::{
    faulty::{FaultyProcess, ProcessFault},
    process::CASES,
};
use agentx_provider_local::LocalProcess;
use agentx_resource::Process;

async fn is_caught(fault: ProcessFault) {
    let dir = tempfile::tempdir().unwrap();
    let sound: Arc<dyn Process> = Arc::new(LocalProcess::new(dir.path()).unwrap());
    let case = CASES.iter().find(|case| case.id() == fault.caught_by()).unwrap();
    case.attempt(Arc::clone(&sound)).await.unwrap();
    let faulty = Arc::new(FaultyProcess::new(sound, fault));
    case.attempt(faulty).await.expect_err("the fault is not caught");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_goes_on_after_a_kill() {
    is_caught(ProcessFault::LeavesOnKill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_goes_on_after_a_drop() {
    is_caught(ProcessFault::LeavesOnDrop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_is_told_as_success() {
    is_caught(ProcessFault::SignalAsSuccess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_what_has_ended_that_is_an_error() {
    is_caught(ProcessFault::RefusesLateSignals).await;
}
