//! Interrupts, and an API that goes wrong.

use agentx::EventData;
use agentx_core::{Error, ErrorKind, Reply};
use agentx_tests::messages_server::Fault;
use agentx_tests_claude_code::engine::{Setup, World, ended, lines, said};
use futures::StreamExt;

use super::engines;

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_stream_that_stands_still() {
    for engine in engines("a_stream_that_stands_still") {
        let world = World::new(engine, Setup::default(), |_| Ok(Reply::text("one two three")));
        // The start, a ping, the block's start, and the first word.
        world.server.inject(Fault::Stall { events: 4 });
        let (_runtime, agent) = world.agent().await;
        let mut events = agent.send("Count.").await.unwrap();
        while let Some(event) = events.next().await {
            if matches!(event.data, EventData::TextDelta { .. }) {
                agent.interrupt().await;
            }
        }
        assert_eq!(ended(&events.finish().await), "interrupted", "{engine:?}");
        world.server.abandoned(1).await;
        assert_eq!(ended(&agent.ask("Go on.").await), "completed", "{engine:?}");
        let history = lines(&agent.history().await.unwrap());
        let expected = ["user: Count.", "assistant: one ", "user: Go on.", "assistant: one two three"];
        assert_eq!(history, expected, "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_request_that_is_refused() {
    for engine in engines("a_request_that_is_refused") {
        let world = World::new(engine, Setup::default(), |request| match said(request).as_str() {
            "Fail." => Err(Error::new(ErrorKind::InvalidInput, "answer").with_message("as asked")),
            _ => Ok(Reply::text("Fine.")),
        });
        let (_runtime, agent) = world.agent().await;
        let failed = agent.ask("Fail.").await;
        assert_eq!(ended(&failed), "failed: invalid input, Never", "{engine:?}");
        let words = failed.unwrap_err().to_string();
        assert!(words.contains("as asked"), "{engine:?} has its reason: {words}");
        assert_eq!(ended(&agent.ask("And now?").await), "completed", "{engine:?}");
        let history = lines(&agent.history().await.unwrap());
        assert_eq!(history, ["user: Fail.", "user: And now?", "assistant: Fine."], "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn an_overload_is_waited_out() {
    for engine in engines("an_overload_is_waited_out") {
        let world = World::new(engine, Setup::default(), |_| Ok(Reply::text("Fine.")));
        world.server.inject(Fault::Overloaded);
        world.server.inject(Fault::Overloaded);
        let (_runtime, agent) = world.agent().await;
        let report = agent.ask("Hello.").await.unwrap();
        assert_eq!((report.text.trim(), report.spent.steps), ("Fine.", 1), "{engine:?}");
        assert_eq!(
            lines(&agent.history().await.unwrap()),
            ["user: Hello.", "assistant: Fine."],
            "{engine:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn an_error_within_the_answer() {
    for engine in engines("an_error_within_the_answer") {
        let world = World::new(engine, Setup::default(), |_| Ok(Reply::text("one two three")));
        world.server.inject(Fault::ErrorEvent { events: 4, kind: "overloaded_error".into() });
        let (_runtime, agent) = world.agent().await;
        let mut events = agent.send("Count.").await.unwrap();
        let (mut restarts, mut text) = (0, String::new());
        while let Some(event) = events.next().await {
            match &event.data {
                EventData::MessageRestarted { .. } => {
                    restarts += 1;
                    assert_eq!(text, "one ", "{engine:?}");
                    text.clear();
                }
                EventData::TextDelta { text: piece } => text.push_str(piece),
                _ => {}
            }
        }
        let report = events.finish().await.unwrap();
        assert_eq!(
            (restarts, text.trim(), report.text.trim()),
            (1, "one two three", "one two three"),
            "{engine:?}"
        );
        assert_eq!(report.spent.steps, 1, "{engine:?}");
        let history = lines(&agent.history().await.unwrap());
        assert_eq!(history, ["user: Count.", "assistant: one two three"], "{engine:?}");
    }
}
