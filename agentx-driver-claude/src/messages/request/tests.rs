use std::sync::Arc;

use agentx_core::{
    AssistantMessage, AssistantPart, ContentPart, ToolCall, ToolDefinition, ToolOutput, ToolResult,
};
use serde_json::{Value, json};

use super::*;
use crate::messages::PromptCache;

fn written(request: &ModelRequest, settings: &MessagesSettings) -> Value {
    serde_json::from_slice(&body(request, settings).unwrap()).unwrap()
}

/// The messages as they are sent, without marks of the cache.
fn sent(messages: Vec<MessageBody>) -> Value {
    let settings = MessagesSettings::default().with_cache(PromptCache::Off).with_model("claude-x");
    written(&ModelRequest::new(messages), &settings)["messages"].take()
}

fn user(text: &str) -> MessageBody {
    MessageBody::user(text)
}

fn says(parts: Vec<AssistantPart>) -> MessageBody {
    MessageBody::Assistant(AssistantMessage::new(parts))
}

fn call(id: &str) -> AssistantPart {
    AssistantPart::ToolCall(ToolCall::new(id, "t", json!({"a": 1})))
}

fn result(id: &str, output: ToolOutput) -> MessageBody {
    MessageBody::Tool(ToolResult::new(id, "t", output))
}

fn thinking(text: &str, signature: Option<&str>) -> AssistantPart {
    AssistantPart::Thinking { reasoning: text.into(), signature: signature.map(str::to_owned) }
}

fn opaque(provider: &str, json: &str) -> AssistantPart {
    AssistantPart::Opaque { provider: provider.into(), json: json.into() }
}

#[test]
fn all_results_stand_in_one_message_before_what_the_user_says() {
    let messages = sent(vec![
        user("do"),
        says(vec![AssistantPart::text("I do."), call("1"), call("2")]),
        result("2", ToolOutput::text("two")),
        result("1", ToolOutput::error("broke")),
        user("and?"),
    ]);
    assert_eq!(
        messages,
        json!([
            {"role": "user", "content": [{"type": "text", "text": "do"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I do."},
                {"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}},
                {"type": "tool_use", "id": "2", "name": "t", "input": {"a": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "2", "content": "two"},
                {"type": "tool_result", "tool_use_id": "1", "content": "broke", "is_error": true},
                {"type": "text", "text": "and?"}]},
        ])
    );
}

#[test]
fn what_is_empty_or_for_people_is_not_sent() {
    let error = MessageBody::Error { content: "it broke".into(), code: None };
    let messages = sent(vec![
        user("one"),
        says(vec![AssistantPart::text(" \n")]),
        error,
        MessageBody::User { content: vec![ContentPart::text(""), ContentPart::text("two")] },
    ]);
    assert_eq!(
        messages,
        json!([{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}])
    );
    let answered = || vec![user("one"), says(vec![AssistantPart::text("two")])];
    for before in [vec![], answered()] {
        let nothing = ModelRequest::new(before.into_iter().chain([user(" ")]).collect());
        assert_eq!(body(&nothing, &MessagesSettings::default()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // What the model paused is gone on with, and a result is answered also where the user adds nothing.
    assert_eq!(sent(answered())[1]["role"], "assistant");
    let result = result("1", ToolOutput::text("r"));
    assert_eq!(sent(vec![user("one"), says(vec![call("1")]), result, user(" ")])[2]["role"], "user");
}

#[test]
fn each_output_of_a_tool_has_its_form() {
    let content = vec![
        ContentPart::text("see"),
        ContentPart::Image { data: "aW1n".into(), media_type: "image/png".into() },
        ContentPart::text(""),
    ];
    let outputs = [
        (ToolOutput::text(""), json!({})),
        (ToolOutput::text("\n"), json!({})),
        (ToolOutput::Json(json!({"n": 1})), json!({"content": "{\"n\":1}"})),
        (ToolOutput::ErrorJson(json!([1])), json!({"content": "[1]", "is_error": true})),
        (ToolOutput::ExecutionDenied("no".into()), json!({"content": "no", "is_error": true})),
        (ToolOutput::error(" "), json!({"content": "The tool failed without a word.", "is_error": true})),
        (
            ToolOutput::Content(content),
            json!({"content": [
                {"type": "text", "text": "see"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aW1n"}}]}),
        ),
    ];
    for (output, mut expected) in outputs {
        let messages = sent(vec![user("x"), says(vec![call("1")]), result("1", output)]);
        expected["type"] = json!("tool_result");
        expected["tool_use_id"] = json!("1");
        assert_eq!(messages[2]["content"][0], expected);
    }
}

#[test]
fn files_are_documents_where_the_api_reads_them() {
    let file = |media_type: &str, data: &str| ContentPart::File {
        data: data.into(),
        media_type: media_type.into(),
        filename: Some("f".into()),
    };
    let messages = sent(vec![MessageBody::User {
        content: vec![
            file("application/pdf", "cGRm"),
            file("text/csv", "YSxi"),
            file("image/webp", "aW1n"),
            file("application/zip", "emlw"),
            file("text/plain", "not base64!"),
            ContentPart::Image { data: "Qk0=".into(), media_type: "image/bmp".into() },
        ],
    }]);
    assert_eq!(
        messages[0]["content"],
        json!([
            {"type": "document", "title": "f",
             "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}},
            {"type": "document", "title": "f",
             "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": "aW1n"}},
            {"type": "text", "text": "[file f: application/zip]"},
            {"type": "text", "text": "[file f: text/plain]"},
            {"type": "text", "text": "[file without a name: image/bmp]"},
        ])
    );
}

#[test]
fn the_providers_own_blocks_go_back_to_the_byte() {
    let json = r#"{ "type":"web_search_tool_result","tool_use_id":"s",  "n":1.50 }"#;
    let request = ModelRequest::new(vec![
        user("x"),
        says(vec![opaque("other", r#"{"type":"o"}"#), opaque("anthropic", json), AssistantPart::text("y")]),
    ]);
    let bytes = body(&request, &MessagesSettings::default()).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.contains(json), "{text}");
    assert!(!text.contains(r#""type":"o""#));

    let broken = ModelRequest::new(vec![user("x"), says(vec![opaque("anthropic", "{")])]);
    assert_eq!(body(&broken, &MessagesSettings::default()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn thinking_goes_back_only_signed_and_never_as_the_end() {
    let messages = sent(vec![
        user("x"),
        says(vec![
            thinking("signed", Some("c2ln")),
            thinking("unsigned", None),
            AssistantPart::text("y"),
            thinking("cut off", Some("c2ln")),
            opaque("anthropic", r#"{"type":"redacted_thinking","data":"d"}"#),
        ]),
        user("z"),
    ]);
    assert_eq!(
        messages[1]["content"],
        json!([{"type": "thinking", "thinking": "signed", "signature": "c2ln"}, {"type": "text", "text": "y"}])
    );
}

#[test]
fn another_models_thinking_is_sent_in_the_turn_under_way_alone() {
    let by = |model: &str| {
        let mut message =
            AssistantMessage::new(vec![thinking("t", Some("s")), AssistantPart::text("y"), call("1")]);
        message.model = Some(model.into());
        MessageBody::Assistant(message)
    };
    let thinks = |model: &str, after: Vec<MessageBody>| {
        let history = [user("x"), by(model), result("1", ToolOutput::text("r"))].into_iter().chain(after);
        sent(history.collect())[1]["content"][0]["type"] == "thinking"
    };
    assert!(thinks("claude-x-20260101", vec![user("next")]));
    assert!(!thinks("claude-y", vec![user("next")]));
    assert!(thinks("claude-y", vec![]));
}

#[test]
fn a_server_tool_without_result_is_sent_in_the_turn_under_way_alone() {
    let used = opaque("anthropic", r#"{"type":"server_tool_use","id":"s","name":"n","input":{}}"#);
    let answered = opaque("anthropic", r#"{"type":"web_search_tool_result","tool_use_id":"s","content":[]}"#);
    let kinds = |history: Vec<MessageBody>| {
        let messages = sent(history);
        let blocks = messages[1]["content"].as_array().cloned().unwrap_or_default();
        blocks.iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let text = || AssistantPart::text("y");
    assert_eq!(kinds(vec![user("x"), says(vec![text(), used.clone()])]), ["text", "server_tool_use"]);
    assert_eq!(kinds(vec![user("x"), says(vec![text(), used.clone()]), user("z")]), ["text"]);
    assert_eq!(
        kinds(vec![user("x"), says(vec![text(), used]), says(vec![answered]), user("z")]),
        ["text", "server_tool_use", "web_search_tool_result"]
    );
}

fn tools() -> Arc<[ToolDefinition]> {
    let schema = json!({"type": "object", "properties": {"z": {}, "a": {}}});
    [ToolDefinition::new("one", "First.", schema.clone()), ToolDefinition::new("two", "", schema)].into()
}

#[test]
fn the_cache_ends_behind_tools_system_and_the_last_two_requests() {
    let mut request =
        ModelRequest::new(vec![user("1"), says(vec![call("c")]), result("c", ToolOutput::text("r"))]);
    request.tools = tools();
    request.system = Some("Be brief.".into());
    let mark = json!({"type": "ephemeral"});

    let body = written(&request, &MessagesSettings::default());
    assert_eq!(body["tools"][0].get("cache_control"), None);
    assert_eq!(body["tools"][1]["cache_control"], mark);
    assert_eq!(body["system"][0]["cache_control"], mark);
    assert_eq!(body["messages"][0]["content"][0]["cache_control"], mark);
    assert_eq!(body["messages"][2]["content"][0]["cache_control"], mark);
    assert_eq!(body.to_string().matches("cache_control").count(), 4);

    let hour = written(&request, &MessagesSettings::default().with_cache(PromptCache::OneHour));
    assert_eq!(hour["system"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    let off = written(&request, &MessagesSettings::default().with_cache(PromptCache::Off));
    assert!(!off.to_string().contains("cache_control"));
}

#[test]
fn what_was_sent_before_is_sent_again_to_the_byte() {
    let settings = MessagesSettings::default().with_cache(PromptCache::Off);
    let mut history = vec![user("1")];
    let mut before = String::new();
    for turn in 0..4 {
        let mut request = ModelRequest::new(history.clone());
        request.tools = tools();
        request.system = Some("Be brief.".into());
        let bytes = body(&request, &settings).unwrap();
        let text = std::str::from_utf8(&bytes).unwrap().trim_end_matches("]}").to_owned();
        assert!(text.starts_with(&before), "{before}\n{text}");
        before = text;
        let id = format!("c{turn}");
        history.push(says(vec![thinking("t", Some("s")), call(&id)]));
        history.push(result(&id, ToolOutput::Json(json!({"b": turn, "a": 0}))));
    }
}

#[test]
fn no_sampling_parameter_is_ever_sent() {
    let mut request = ModelRequest::new(vec![user("1")]);
    request.settings = agentx_core::ModelSettings::default()
        .with_max_tokens(9000)
        .with_thinking(agentx_core::Thinking::Budget(2000));
    let body = written(&request, &MessagesSettings::default());
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["max_tokens", "messages", "model", "stream", "thinking"]);
    assert_eq!(body["max_tokens"], 9000);
}
