//! Processes that are started ahead, kept between turns, and replaced when they die.

use std::process::Command;

use agentx_core::{Driver, ModelRequest, Reply, ScriptedModel};
use agentx_driver_claude::code::ClaudeCode;
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{Place, Version};

use super::{Pids, is_gone, text, then, told, turn};

/// Counts what the model has said before.
fn server() -> MessagesServer {
    MessagesServer::start(ScriptedModel::new("m", |request: &ModelRequest| {
        let before = request.messages.iter().filter(|message| message.role() == "assistant").count();
        Ok(Reply::text(format!("after {before}")))
    }))
}

fn driver(place: &Place, version: Version, server: &MessagesServer, keep: usize) -> (ClaudeCode, Pids) {
    let pids = Pids::default();
    let driver = place.driver(place.settings(version).with_keep(keep), server);
    (pids.watch(driver), pids)
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_process_is_started_ahead_kept_and_replaced_when_it_dies() {
    for version in Version::ALL {
        let (place, server) = (Place::new(), server());
        let (driver, pids) = driver(&place, version, &server, 4);
        let first = turn(&["a"]);
        driver.warm(&first).await.unwrap();
        assert_eq!((pids.count(), server.requests().len()), (1, 0), "{version:?}");

        let (said, _) = told(driver.start(first.clone())).await;
        assert_eq!((text(&said).as_str(), pids.count(), driver.idle()), ("after 0", 1, 1), "{version:?}");
        let second = then(first, said, "b");
        let (said, _) = told(driver.start(second.clone())).await;
        assert_eq!((text(&said).as_str(), pids.count()), ("after 1", 1), "{version:?}");

        let pid = pids.all()[0];
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        is_gone(pid).await;
        let third = then(second, said, "c");
        let (said, end) = told(driver.start(third)).await;
        assert_eq!((text(&said).as_str(), pids.count()), ("after 2", 2), "{version:?}: {end:?}");

        driver.close(std::time::Duration::from_secs(5)).await.unwrap();
        assert_eq!(driver.idle(), 0);
        pids.are_gone().await;
        // What it was told is not left behind.
        let files = Command::new("grep").args(["-rl", "after 1"]).arg(place.home()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&files.stdout), "", "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_process_is_of_one_conversation_and_only_so_many_are_kept() {
    let (place, server) = (Place::new(), server());
    let (driver, pids) = driver(&place, Version::Pinned, &server, 1);
    let (said, _) = told(driver.start(turn(&["a"]))).await;
    let others = turn(&["x", "y", "z"]);
    let (other, _) = told(driver.start(others)).await;
    assert_eq!((text(&other).as_str(), pids.count(), driver.idle()), ("after 1", 2, 1));
    // The first process made room for the second.
    let (said, _) = told(driver.start(then(turn(&["a"]), said, "b"))).await;
    assert_eq!((text(&said).as_str(), pids.count(), driver.idle()), ("after 1", 3, 1));
    // A system prompt is a process's own.
    let (_, _) = told(driver.start(turn(&["a"]).with_system("Be brief."))).await;
    assert_eq!((pids.count(), driver.idle()), (4, 1));
    drop(driver);
    pids.are_gone().await;
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_kept_process_is_told_of_another_model() {
    for version in Version::ALL {
        let (place, server) = (Place::new(), server());
        let (driver, pids) = driver(&place, version, &server, 4);
        let mut first = turn(&["a"]);
        first.settings = first.settings.with_model("claude-opus-4-6");
        let (said, _) = told(driver.start(first.clone())).await;
        let mut second = then(first, said, "b");
        second.settings = second.settings.with_model("claude-haiku-4-5");
        let (_, end) = told(driver.start(second)).await;
        assert_eq!(end.outcome.as_str(), "completed", "{version:?}: {end:?}");
        let requests = server.requests();
        let models: Vec<_> = [requests.first(), requests.last()]
            .map(|request| request.unwrap().body["model"].clone())
            .to_vec();
        assert_eq!(
            (models, pids.count()),
            (vec!["claude-opus-4-6".into(), "claude-haiku-4-5".into()], 1),
            "{version:?}"
        );
    }
}
