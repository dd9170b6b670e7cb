//! An answer of a model, stored, and sent back with the next request.
//!
//! Whatever the answer was: the request is JSON, its roles take turns, and each tool call has its result right behind it.
#![no_main]

use std::sync::{Arc, Mutex};

use agentx_core::{
    AssistantPart, ContentPart, Error, ErrorKind, MessageAssembler, MessageBody, Model, ModelRequest, Result,
    ToolOutput, ToolResult,
};
use agentx_driver_claude::messages::{
    Decoder, HttpRequest, HttpResponse, MessagesModel, MessagesSettings, Transport,
};
use agentx_resource::{
    ApiSupply,
    memory::{ManualClock, MemoryLlmProvider},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, executor::block_on};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|stream: &[u8]| {
    let (mut decoder, mut events, mut message) = (Decoder::new(), Vec::new(), MessageAssembler::new());
    // What came before an error is what a turn would have stored.
    let _ = decoder.feed(stream, &mut events);
    events.iter().for_each(|event| message.push(event));
    let answer = message.finish();

    let mut history = vec![question()];
    let calls: Vec<_> = answer
        .content
        .iter()
        .filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(call.clone()),
            _ => None,
        })
        .collect();
    // As it is stored: through the JSON of the repositories.
    let stored = serde_json::to_string(&MessageBody::Assistant(answer)).expect("a message is JSON");
    history.push(serde_json::from_str(&stored).expect("a stored message is read"));
    let answers = calls.into_iter().map(|call| ToolResult::new(call.id, call.name, ToolOutput::text("done")));
    history.extend(answers.map(MessageBody::Tool));
    history.push(question());
    if let Some(body) = sent(history) {
        check(&body);
    }
});

fn question() -> MessageBody {
    MessageBody::User { content: vec![ContentPart::Text { text: "Go on.".to_owned() }] }
}

/// The body of the request; none where the builder refuses the history.
fn sent(history: Vec<MessageBody>) -> Option<Bytes> {
    let wire = Arc::new(Wire::default());
    let supply = Arc::new(MemoryLlmProvider::new("fuzz", ApiSupply::new("no-key")));
    let model = MessagesModel::new(supply, wire.clone(), Arc::new(ManualClock::default()))
        .with_settings(MessagesSettings::default());
    let told = block_on(model.call(ModelRequest::new(history)).next());
    assert!(matches!(told, Some(Err(_))), "nobody answers here");
    let body = wire.0.lock().expect("one thread").take();
    body
}

/// Keeps what is sent, and answers nothing.
#[derive(Debug, Default)]
struct Wire(Mutex<Option<Bytes>>);

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        *self.0.lock().expect("one thread") = Some(request.body);
        Err(Error::new(ErrorKind::Unsupported, "send"))
    }
}

fn check(body: &[u8]) {
    let body: Value = serde_json::from_slice(body).expect("a body is JSON");
    let messages = body["messages"].as_array().expect("messages");
    let mut open: Vec<&Value> = Vec::new();
    let mut before = "assistant";
    for message in messages {
        let role = message["role"].as_str().expect("a role");
        assert_ne!(role, before, "the roles take turns");
        before = role;
        let blocks: Vec<_> = message["content"].as_array().into_iter().flatten().collect();
        assert!(!blocks.is_empty(), "a message says something");
        let results =
            blocks.iter().filter(|block| block["type"] == "tool_result").map(|block| &block["tool_use_id"]);
        let answered: Vec<_> = results.collect();
        if role == "user" {
            assert_eq!(answered, open, "each call has its result right behind it");
            open.clear();
        } else {
            let calls = blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| &block["id"]);
            open = calls.collect();
        }
    }
    assert_eq!(before, "user", "the user spoke last");
}
