//! Which CLI runs: as the server sees it, and as the driver tells it.

use std::{env, fs::OpenOptions, io::Write};

use agentx_core::{Driver, Reply, ScriptedModel};
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{Place, Version, drift};
use futures::StreamExt;

use super::turn;

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn the_server_sees_two_versions() {
    let mut seen = Vec::new();
    for version in Version::ALL {
        let server = MessagesServer::start(ScriptedModel::replies([Reply::text("Hi.")]));
        let place = Place::new();
        let driver = place.driver(place.settings(version), &server);
        let told = driver.version().await.unwrap();
        let events: Vec<_> = driver.start(turn(&["Hello."])).collect().await;
        assert!(!events.is_empty());
        let request = server.requests().pop().unwrap();
        let agent = request.header("user-agent").unwrap().to_owned();
        assert!(agent.starts_with(&format!("claude-cli/{told} ")), "{told}: {agent}");
        assert!(!request.body.to_string().contains("sk-ant"));
        seen.push(agent);
    }
    assert_ne!(seen[0], seen[1], "the two versions are one");
    if let Ok(file) = env::var("AGENTX_CLAUDE_CODE_SEEN") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{}", seen.join("\n")).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn the_driver_has_seen_all_that_they_say() {
    for version in Version::ALL {
        let drift = drift::look(&version.program()).await.unwrap();
        assert_eq!(drift.unknown().collect::<Vec<_>>(), [""; 0], "{version:?}");
        assert!(drift.seen().count() > 100, "{version:?}");
    }
}
