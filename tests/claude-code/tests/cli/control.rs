//! The control protocol by itself.

use std::sync::Arc;

use agentx_core::{ErrorKind, Reply, ScriptedModel, ToolSet, tool_fn};
use agentx_driver_claude::code::{Cli, CliRequest, Frame, TurnResult};
use agentx_tests::messages_server::{Fault, MessagesServer};
use agentx_tests_claude_code::{Place, Version};
use serde_json::{Value, json};

use super::turn;

async fn until<T>(cli: &mut Cli, wanted: impl Fn(&Frame) -> Option<T>) -> T {
    loop {
        let Some(frame) = cli.next_frame().await.unwrap() else { panic!("the end came first") };
        if let Some(found) = wanted(&frame) {
            return found;
        }
    }
}

fn result(frame: &Frame) -> Option<TurnResult> {
    match frame {
        Frame::Result(result) => Some((**result).clone()),
        _ => None,
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_turn_is_interrupted_in_band_and_the_process_goes_on() {
    for version in Version::ALL {
        let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("one two"))));
        server.inject(Fault::Stall { events: 4 });
        let place = Place::new();
        let driver = place.driver(place.settings(version), &server);
        let mut cli = driver.connect(&turn(&[])).await.unwrap();
        assert!(cli.hello()["pid"].is_u64(), "{version:?}");
        cli.interrupt().await.unwrap();
        cli.send_user(&json!("Count."));
        until(&mut cli, |frame| match frame {
            Frame::Stream { event, .. } => event.get().contains("text_delta").then_some(()),
            _ => None,
        })
        .await;
        cli.interrupt().await.unwrap();
        let ended = until(&mut cli, result).await;
        assert!(ended.is_error, "{version:?}: {ended:?}");
        assert_eq!(ended.terminal_reason.as_deref(), Some("aborted_streaming"), "{version:?}");
        cli.send_user(&json!("Go on."));
        assert!(!until(&mut cli, result).await.is_error, "{version:?}");
        let status = cli.close(std::time::Duration::from_secs(5)).await.unwrap();
        assert!(status.is_some_and(|status| status.code().is_some()), "it ended by itself: {status:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_question_is_taken_back_with_the_turn() {
    for version in Version::ALL {
        let server = MessagesServer::start(ScriptedModel::new("m", |_| {
            Ok(Reply::default().call("c", "mcp__agentx__count", json!({})))
        }));
        let place = Place::new();
        let driver = place.driver(place.settings(version), &server);
        let count = tool_fn("count", "Counts.", json!({"type": "object"}), async |_: Value| Ok("42"));
        let tools = ToolSet::of([Arc::new(count) as _]).unwrap();
        let mut cli = driver.connect(&turn(&[]).with_tools(tools)).await.unwrap();
        cli.send_user(&json!("Count."));
        let asked = until(&mut cli, |frame| match frame {
            Frame::Request { id, request: CliRequest::Permission { tool, tool_use_id, .. } } => {
                assert_eq!((tool.as_str(), tool_use_id.is_some()), ("mcp__agentx__count", true));
                Some(id.clone())
            }
            _ => None,
        })
        .await;
        cli.interrupt().await.unwrap();
        let cancelled = until(&mut cli, |frame| match frame {
            Frame::Cancelled { id } => Some(id.clone()),
            _ => None,
        })
        .await;
        assert_eq!(asked, cancelled, "{version:?}");
        assert!(until(&mut cli, result).await.is_error, "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn model_and_mode_are_set_and_a_refusal_is_told_in_the_clis_words() {
    for version in Version::ALL {
        let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("Hi."))));
        let place = Place::new();
        let driver = place.driver(place.settings(version).with_permission_mode("plan"), &server);
        let mut cli = driver.connect(&turn(&[])).await.unwrap();
        cli.set_permission_mode("acceptEdits").await.unwrap();
        cli.set_model("claude-haiku-4-5").await.unwrap();
        cli.send_user(&json!([{"type": "text", "text": "Hello."}]));
        let init = until(&mut cli, |frame| match frame {
            Frame::Init(init) => Some(init.clone()),
            _ => None,
        })
        .await;
        assert_eq!(
            (&init["permissionMode"], &init["model"]),
            (&json!("acceptEdits"), &json!("claude-haiku-4-5"))
        );
        until(&mut cli, result).await;
        let refused = cli.request(json!({"subtype": "no_such_request"})).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{version:?}: {refused}");
        assert!(refused.message().contains("no_such_request"), "{version:?}: {refused}");
    }
}
