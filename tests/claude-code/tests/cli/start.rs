//! A CLI that can't be started says why, in its own words.

use agentx_core::{Driver, ErrorKind, Outcome, Reply, ScriptedModel};
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{KEY, Place, Version};

use super::{told, turn};

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_start_that_fails_is_told_in_the_clis_words() {
    let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("Hi."))));
    for version in Version::ALL {
        let place = Place::new();
        let settings = place.settings(version).with_program_args([format!("--no-such-flag={KEY}")]);
        let driver = place.driver(settings, &server);
        let (said, end) = told(driver.start(turn(&["Hello."]))).await;
        let Outcome::Failed(error) = end.outcome else { panic!("{version:?}: {end:?}") };
        assert_eq!((said.len(), error.kind()), (0, ErrorKind::Truncated), "{version:?}: {error}");
        let words = error.to_string();
        assert!(words.contains("unknown option") && words.contains("exit code 1"), "{version:?}: {words}");
        assert!(words.contains("--no-such-flag=[redacted]"), "{version:?}: {words}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_program_is_named_or_looked_up_and_a_missing_one_is_told() {
    let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("Hi."))));
    let place = Place::new();
    for program in ["/no/such/claude", "no-such-claude"] {
        let driver = place.driver(place.settings(Version::Pinned).with_program(program), &server);
        for error in [driver.warm(&turn(&[])).await.unwrap_err(), driver.version().await.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(error.path(), Some(program));
        }
    }
    // By its name, on the PATH that the process gives its commands.
    let path = place.work().join("bin");
    std::fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(Version::Pinned.program(), path.join("claude")).unwrap();
    let settings = place
        .settings(Version::Pinned)
        .with_program("claude")
        .with_env("PATH", format!("{}:/usr/bin:/bin", path.display()));
    let driver = place.driver(settings, &server);
    driver.warm(&turn(&[])).await.unwrap();
    assert_eq!(driver.idle(), 1);
}
