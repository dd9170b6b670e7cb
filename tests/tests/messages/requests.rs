use agentx_core::{MessageBody, ModelRequest, ModelSettings, Reply};
use agentx_driver_claude::messages::{ApiVersion, MessagesSettings};
use agentx_resource::{ApiSupply, memory::MemoryLlmProvider};
use std::sync::Arc;

use super::support::{KEY, TestClock, answer, ask, broken, client, says};

fn question() -> ModelRequest {
    ModelRequest::new(vec![MessageBody::user("Hi?")])
}

#[tokio::test]
async fn the_headers_are_those_of_the_api() {
    let server = says(Reply::text("Hi."));
    let model = client(&server, TestClock::default());
    answer(&model, question()).await;
    let settings = MessagesSettings::default().with_version(ApiVersion::V2026_10_21);
    answer(&model.with_settings(settings), question()).await;

    let [first, second] = &server.requests()[..] else { panic!("two requests") };
    assert_eq!(first.path, "/v1/messages");
    assert_eq!(first.header("x-api-key"), Some(KEY));
    assert_eq!(first.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(second.header("anthropic-version"), Some("2026-10-21"));
    assert_eq!(first.body["model"], MessagesSettings::DEFAULT_MODEL);
    assert_eq!(first.body["max_tokens"], 16_384);
}

#[tokio::test]
async fn the_settings_of_a_request_come_first() {
    let server = says(Reply::text("Hi."));
    let mut request = question();
    request.settings =
        ModelSettings::default().with_model("claude-x").with_thinking(agentx_core::Thinking::Budget(2048));
    answer(&client(&server, TestClock::default()), request).await;
    let body = &server.requests()[0].body;
    assert_eq!(body["model"], "claude-x");
    assert_eq!(body["thinking"], serde_json::json!({"type": "enabled", "budget_tokens": 2048}));
    assert_eq!(body["max_tokens"], 16_384 + 2048);
}

#[tokio::test]
async fn a_key_that_is_rotated_is_used_by_the_next_call() {
    let server = says(Reply::text("Hi."));
    let supply = |key: &str| ApiSupply::new(key).with_base_url(format!("{}/", server.base_url()));
    let provider = MemoryLlmProvider::new("test", supply("sk-ant-old"));
    let transport = agentx_driver_claude::messages::ReqwestTransport::new().unwrap();
    let model = agentx_driver_claude::messages::MessagesModel::new(
        Arc::new(provider.clone()),
        transport,
        Arc::new(TestClock::default()),
    );
    answer(&model, question()).await;
    provider.set(supply("sk-ant-new"));
    answer(&model, question()).await;
    let keys: Vec<_> =
        server.requests().iter().map(|request| request.header("x-api-key").unwrap().to_owned()).collect();
    assert_eq!(keys, ["sk-ant-old", "sk-ant-new"]);
}

#[tokio::test]
async fn a_key_that_no_header_can_hold_is_refused_and_not_shown() {
    let server = says(Reply::text("Hi."));
    let provider =
        MemoryLlmProvider::new("test", ApiSupply::new("sk-ant-bad\nkey").with_base_url(server.base_url()));
    let transport = agentx_driver_claude::messages::ReqwestTransport::new().unwrap();
    let model = agentx_driver_claude::messages::MessagesModel::new(
        Arc::new(provider),
        transport,
        Arc::new(TestClock::default()),
    );
    let (_, error) = broken(ask(&model, question()).await);
    assert_eq!(error.kind(), agentx_core::ErrorKind::InvalidInput);
    assert!(!format!("{error} {error:?} {model:?}").contains("sk-ant-bad"));
}
