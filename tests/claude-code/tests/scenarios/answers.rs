//! Text, truncation, refusal, budget: what a turn's end says.

use agentx_core::{Budget, Reply, StopReason, tool_fn};
use agentx_tests_claude_code::engine::{Setup, World, ended, lines, said, tool};
use serde_json::{Value, json};
use std::sync::Arc;

use super::engines;

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn text_over_two_turns() {
    for engine in engines("text_over_two_turns") {
        let world = World::new(engine, Setup::default(), |request| {
            Ok(Reply::text(format!("You said {:?}.", said(request))))
        });
        let (_runtime, agent) = world.agent().await;
        let mut reports = Vec::new();
        // What begins like a command of the CLI's, or names a file, is text like any other.
        for text in ["hello", "/cost", "look at @/etc/hostname"] {
            reports.push(agent.ask(text).await);
        }
        let history = agent.history().await.unwrap();
        let texts: Vec<_> =
            history.iter().map(|message| message.body.text().trim().replace(' ', "")).collect();
        assert_eq!(
            texts,
            [
                "hello",
                "Yousaid\"hello\".",
                "/cost",
                "Yousaid\"/cost\".",
                "lookat@/etc/hostname",
                "Yousaid\"lookat@/etc/hostname\"."
            ],
            "{engine:?}"
        );
        for report in reports {
            let report = report.unwrap();
            assert_eq!((report.outcome.as_str(), report.spent.steps), ("completed", 1), "{engine:?}");
            assert!(
                report.usage.output_tokens > 0 && report.usage.input_tokens > 0,
                "{engine:?}: {report:?}"
            );
            assert!(
                report.spent.cost.as_micros() > 0 || report.spent.unpriced_calls > 0,
                "{engine:?}: {report:?}"
            );
        }
        let spoken = world.server.requests().iter().filter(|request| request.body["stream"] == true).count();
        assert!([0, 3].contains(&spoken), "{engine:?} asked {spoken} times");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn what_is_cut_off_or_refused_ends_the_turn_and_is_told_so() {
    let scenario = "what_is_cut_off_or_refused_ends_the_turn_and_is_told_so";
    for engine in engines(scenario) {
        for (reason, outcome) in [
            (StopReason::MaxTokens, "truncated"),
            (StopReason::ContextWindowExceeded, "truncated"),
            (StopReason::Refusal, "refused"),
            (StopReason::StopSequence, "completed"),
        ] {
            let stop = reason.clone();
            let world = World::new(engine, Setup::default(), move |request| {
                let half = Reply::text("Half an");
                Ok(if said(request) == "go on" { Reply::text("Fine.") } else { half.stop(stop.clone()) })
            });
            let (_runtime, agent) = world.agent().await;
            let first = agent.ask("tell").await;
            assert_eq!(ended(&first), outcome, "{engine:?} {reason:?}");
            assert_eq!(ended(&agent.ask("go on").await), "completed", "{engine:?} {reason:?}");
            let history = lines(&agent.history().await.unwrap());
            let expected = ["user: tell", "assistant: Half an", "user: go on", "assistant: Fine."];
            assert_eq!(history, expected, "{engine:?} {reason:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_budget_ends_the_turn_before_the_call_that_would_go_beyond_it() {
    let scenario = "a_budget_ends_the_turn_before_the_call_that_would_go_beyond_it";
    for engine in engines(scenario) {
        for (budget, end, requests) in [
            (Budget::default().with_steps(1), "budget of model calls", 1),
            (Budget::default().with_tool_calls(0), "budget of tool calls", 1),
            (Budget::default().with_output_tokens(1), "budget of output tokens", 1),
        ] {
            let count = tool_fn("count", "Counts.", json!({"type": "object"}), async |_: Value| Ok("42"));
            let setup = Setup { tools: vec![Arc::new(count)], budget, ..Setup::default() };
            let world = World::new(engine, setup, |request| {
                Ok(match request.answer("count") {
                    None => Reply::text("I count.").call("count", tool(request, "count"), json!({"of": 1})),
                    Some(_) => Reply::text("Done."),
                })
            });
            let (_runtime, agent) = world.agent().await;
            let report = agent.ask("How many?").await;
            assert_eq!(ended(&report), end, "{engine:?}");
            let history = agent.history().await.unwrap();
            assert_eq!(history.len(), 3, "each call has its result: {engine:?} {history:?}");
            let asked = world.server.requests().len();
            assert!(asked == requests || asked == 0, "{engine:?} {end} asked {asked} times");
        }
    }
}
