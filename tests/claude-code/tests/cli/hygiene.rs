//! Nothing is left running: after an interrupt, a dropped turn, a deadline, or the end of the host by force.

use std::{
    io::{BufRead, BufReader},
    pin::pin,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use agentx_core::{Budget, Driver, DriverEvent, ModelEvent, Reply, ScriptedModel, TurnEnd};
use agentx_driver_claude::code::ClaudeCode;
use agentx_resource::memory::ManualClock;
use agentx_tests::messages_server::{Fault, MessagesServer};
use agentx_tests_claude_code::{Place, Version};
use futures::{
    StreamExt,
    future::{self, Either},
};

use super::{Pids, is_gone, turn};

/// A driver whose next turn stands still after its first word.
fn stalled(place: &Place, version: Version) -> (ClaudeCode, Pids, MessagesServer) {
    let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("one two"))));
    server.inject(Fault::Stall { events: 4 });
    let pids = Pids::default();
    let driver = pids.watch(place.driver(place.settings(version), &server));
    (driver, pids, server)
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_dropped_turn_leaves_nothing() {
    for version in Version::ALL {
        let place = Place::new();
        let (driver, pids, server) = stalled(&place, version);
        let mut stream = driver.start(turn(&["Count."]));
        while let Some(event) = stream.next().await {
            if matches!(&event, DriverEvent::Model(ModelEvent::Block { index: 0, .. })) {
                break;
            }
        }
        drop(stream);
        server.abandoned(1).await;
        assert_eq!((pids.count(), driver.idle()), (1, 0));
        pids.are_gone().await;
    }
}

/// Runs a turn on a clock of its own, on which time passes only once the model has said something.
async fn standing_still(driver: &ClaudeCode, budget: Budget) -> TurnEnd {
    let clock = ManualClock::default();
    let mut turn = turn(&["Count."]).with_budget(budget);
    turn.clock = Arc::new(clock.clone());
    let mut stream = driver.start(turn);
    let mut said = false;
    loop {
        let time = async {
            if !said {
                future::pending::<()>().await;
            }
            loop {
                clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        let Either::Left((event, _)) = future::select(stream.next(), pin!(time)).await;
        match event {
            Some(DriverEvent::Model(ModelEvent::Block { .. })) => said = true,
            Some(DriverEvent::End(end)) => return end,
            Some(_) => {}
            None => panic!("no end"),
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_turn_whose_time_is_over_leaves_nothing() {
    let place = Place::new();
    let (driver, pids, server) = stalled(&place, Version::Pinned);
    let end = standing_still(&driver, Budget::default().with_duration(Duration::from_mins(1))).await;
    assert_eq!(end.outcome.as_str(), "budget", "{end:?}");
    server.abandoned(1).await;
    assert_eq!((pids.count(), driver.idle()), (1, 0));
    pids.are_gone().await;
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_standstill_of_the_cli_is_bounded() {
    let place = Place::new();
    let (driver, pids, server) = stalled(&place, Version::Pinned);
    let end = standing_still(&driver, Budget::default()).await;
    assert!(end.outcome.to_string().contains("said nothing for 900s"), "{end:?}");
    server.abandoned(1).await;
    pids.are_gone().await;
}

/// Not a test by itself: the host that the next one kills.
#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn host() {
    if std::env::var_os("AGENTX_HOST").is_none() {
        return;
    }
    let place = Place::new();
    let (driver, pids, _server) = stalled(&place, Version::Pinned);
    let mut stream = driver.start(turn(&["Count."]));
    while let Some(event) = stream.next().await {
        if matches!(&event, DriverEvent::Model(ModelEvent::Block { index: 0, .. })) {
            println!("\nCLI {} {}", pids.all()[0], place.home().display());
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_host_that_is_killed_leaves_nothing() {
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hygiene::host", "--ignored", "--nocapture"])
        .env("AGENTX_HOST", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = told.find_map(|line| line.strip_prefix("CLI ").map(str::to_owned));
    host.kill().unwrap();
    host.wait().unwrap();
    let Some(told) = told else { panic!("the host told of no CLI") };
    let (pid, home) = told.split_once(' ').unwrap();
    is_gone(pid.parse().unwrap()).await;
    // The host's own directory is what a kill leaves.
    std::fs::remove_dir_all(std::path::Path::new(home).parent().unwrap()).unwrap();
}
