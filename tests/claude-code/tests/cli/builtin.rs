//! The CLI's own tools: each call is put to the permission, whatever the CLI thinks of it.

use std::sync::Arc;

use agentx_core::{
    Decision, Driver, MessageBody, ModelRequest, Permission, PermissionRequest, Reply, Result, ScriptedModel,
    ToolOutput,
};
use agentx_driver_claude::code::BuiltinTools;
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{Place, Version};
use async_trait::async_trait;
use serde_json::json;

use super::{text, told, turn};

#[derive(Debug)]
struct Judge;

#[async_trait]
impl Permission for Judge {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        assert!(["Bash", "Read"].contains(&request.call.name.as_str()), "{request:?}");
        Ok(match request.call.input["command"].as_str() {
            Some("echo edited > made") => Decision::AllowWith(json!({"command": "echo other > made"})),
            Some(command) if command.starts_with("echo allowed") => Decision::Allow,
            _ => Decision::Deny("not here".to_owned()),
        })
    }
}

fn server(tool: &'static str, input: serde_json::Value) -> MessagesServer {
    MessagesServer::start(ScriptedModel::new("m", move |request: &ModelRequest| {
        Ok(match request.answer("c") {
            None => Reply::default().call("c", tool, input.clone()),
            Some(output) => Reply::text(format!("got {}", output.to_text().trim())),
        })
    }))
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn each_call_of_its_own_tools_is_put_to_the_permission() {
    for version in Version::ALL {
        let place = Place::new();
        let made = place.work().join("made");
        std::fs::write(place.work().join("secret"), "planted").unwrap();
        for (tool, input, answer, file) in [
            ("Bash", json!({"command": "echo no > made"}), "got not here", None),
            // What the CLI takes for harmless is asked about too.
            ("Bash", json!({"command": "echo harmless"}), "got not here", None),
            ("Read", json!({"file_path": place.work().join("secret")}), "got not here", None),
            ("Bash", json!({"command": "echo allowed > made; echo done"}), "got done", Some("allowed\n")),
            ("Bash", json!({"command": "echo edited > made"}), "", Some("other\n")),
        ] {
            let _ = std::fs::remove_file(&made);
            let server = server(tool, input.clone());
            let builtin = BuiltinTools::Only(vec!["Bash".into(), "Read".into()]);
            let driver = place.driver(place.settings(version).with_builtin_tools(builtin), &server);
            let turn = turn(&["Go."]).with_permission(Arc::new(Judge));
            let (said, end) = told(driver.start(turn)).await;
            assert_eq!(end.outcome.as_str(), "completed", "{version:?} {input}: {end:?}");
            assert!(text(&said).contains(answer), "{version:?} {input}: {said:?}");
            assert_eq!(std::fs::read_to_string(&made).ok().as_deref(), file, "{version:?} {input}");
            let [_, MessageBody::Tool(result), _] = &said[..] else { panic!("{said:?}") };
            assert_eq!(matches!(result.output, ToolOutput::ExecutionDenied(_)), file.is_none(), "{result:?}");
            assert_eq!(end.spent.unwrap().tool_calls, u32::from(file.is_some()), "{version:?} {input}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn no_mode_of_the_clis_allows_what_the_permission_does_not() {
    for version in Version::ALL {
        for mode in ["acceptEdits", "auto", "dontAsk", "plan", "bypassPermissions"] {
            let place = Place::new();
            let server = server("Bash", json!({"command": "echo no > made"}));
            let builtin = BuiltinTools::Only(vec!["Bash".into()]);
            let settings = place.settings(version).with_builtin_tools(builtin).with_permission_mode(mode);
            let driver = place.driver(settings, &server);
            let (said, end) = told(driver.start(turn(&["Go."]).with_permission(Arc::new(Judge)))).await;
            assert!(!place.work().join("made").exists(), "{version:?} {mode}: {said:?} {end:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn all_its_tools_come_without_its_sub_agents_and_none_come_by_default() {
    for version in Version::ALL {
        for (tools, expected) in [(BuiltinTools::All, true), (BuiltinTools::None, false)] {
            let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("Hi."))));
            let place = Place::new();
            // Nor is what lies in the directory told to the model, unless the CLI has tools there.
            std::fs::write(place.work().join("CLAUDE.md"), "planted words").unwrap();
            let driver = place.driver(place.settings(version).with_builtin_tools(tools), &server);
            told(driver.start(turn(&["Hello @CLAUDE.md"]))).await;
            let body = server.requests().pop().unwrap().body;
            let names: Vec<_> =
                body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
            assert_eq!(names.contains(&json!("Bash")), expected, "{version:?}: {names:?}");
            assert!(
                !names.contains(&json!("Task")) && !names.contains(&json!("Agent")),
                "{version:?}: {names:?}"
            );
            assert!(!body.to_string().contains("planted words"), "{version:?}: {expected}");
        }
    }
}
