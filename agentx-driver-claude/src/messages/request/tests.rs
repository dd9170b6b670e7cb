use std::sync::Arc;

use agentx_core::{
    AssistantMessage, AssistantPart, ContentPart, ToolCall, ToolDefinition, ToolOutput, ToolResult,
};
use serde_json::{Value, json};

use super::{body as compose_body, *};
use crate::messages::PromptCache;

fn body(request: &ModelRequest, settings: &MessagesSettings) -> Result<Bytes> {
    compose_body(request, settings, &Refused::default(), Purpose::Answer)
}

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
fn no_sampling_parameter_is_ever_sent() {
    let mut request = ModelRequest::new(vec![user("1")]);
    request.settings = ModelSettings::default().with_max_tokens(9000).with_thinking(Thinking::Budget(2000));
    let body = written(&request, &MessagesSettings::default());
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["max_tokens", "messages", "model", "stream", "thinking"]);
    assert_eq!(body["max_tokens"], 9000);
}

#[test]
fn each_setting_has_its_place() {
    let with = |settings: ModelSettings| {
        let mut request = ModelRequest::new(vec![user("1")]);
        request.tools = tools();
        request.settings = settings;
        written(&request, &MessagesSettings::default().with_cache(PromptCache::Off))
    };
    let set = ModelSettings::default;
    for (settings, thinking) in [
        (set(), Value::Null),
        (set().with_thinking(Thinking::Off), json!({"type": "disabled"})),
        (set().with_thinking(Thinking::Adaptive), json!({"type": "adaptive"})),
        (
            set().with_thinking(Thinking::Adaptive).with_thinking_display(ThinkingDisplay::Omitted),
            json!({"type": "adaptive", "display": "omitted"}),
        ),
        (set().with_thinking(Thinking::BetweenTools), json!({"type": "between_tools"})),
        (
            set().with_thinking(Thinking::Budget(1024)).with_thinking_display(ThinkingDisplay::Summarized),
            json!({"type": "enabled", "budget_tokens": 1024, "display": "summarized"}),
        ),
    ] {
        assert_eq!(with(settings)["thinking"], thinking);
    }
    for (settings, choice) in [
        (set(), Value::Null),
        (set().with_tool_choice(ToolChoice::Auto), json!({"type": "auto"})),
        (set().with_parallel_tool_calls(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (
            set().with_tool_choice(ToolChoice::Any).with_parallel_tool_calls(true),
            json!({"type": "any", "disable_parallel_tool_use": false}),
        ),
        (set().with_tool_choice(ToolChoice::Tool("one".into())), json!({"type": "tool", "name": "one"})),
        (set().with_tool_choice(ToolChoice::None).with_parallel_tool_calls(false), json!({"type": "none"})),
    ] {
        assert_eq!(with(settings)["tool_choice"], choice);
    }
    let schema = json!({"type": "object"});
    let body = with(
        set().with_effort(Effort::XHigh).with_output_schema(schema.clone()).with_stop_sequences(["END"]),
    );
    assert_eq!(
        body["output_config"],
        json!({"effort": "xhigh", "format": {"type": "json_schema", "schema": schema}})
    );
    assert_eq!(body["stop_sequences"], json!(["END"]));

    let search = json!({"type": "web_search_20260209", "name": "web_search", "max_uses": 3});
    let body = with(set().with_server_tools([search.clone()]));
    assert_eq!(body["tools"][0], search);
    assert_eq!(body["tools"][1]["name"], "one");
}

#[test]
fn extra_fields_are_sent_as_they_are_unless_they_are_the_bodys_own() {
    let request = ModelRequest::new(vec![user("1")]);
    let settings = MessagesSettings::default().with_extra("metadata", json!({"user_id": "u"}));
    assert_eq!(written(&request, &settings)["metadata"], json!({"user_id": "u"}));
    let keys = |settings: &MessagesSettings| -> Vec<String> {
        let body = compose_body(&request, settings, &Refused::default(), Purpose::Count).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        body.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&settings), ["messages", "model"]);
    let error = body(&request, &settings.with_extra("stream", json!(false))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("\"stream\""), "{error}");
}

#[test]
fn a_tools_options_go_with_it_unless_they_are_fields_that_it_has() {
    let tool = || ToolDefinition::new("t", "A tool.", json!({"type": "object"}));
    let request = |tool: ToolDefinition| {
        let mut request = ModelRequest::new(vec![user("hi")]);
        request.tools = Arc::new([tool]);
        request
    };
    let strict = tool().with_option("strict", true).with_option("defer_loading", false);
    let sent = written(&request(strict), &MessagesSettings::default());
    assert_eq!(sent["tools"][0]["strict"], json!(true));
    assert_eq!(sent["tools"][0]["defer_loading"], json!(false));
    let own = body(&request(tool().with_option("name", "other")), &MessagesSettings::default());
    assert_eq!(own.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn citations_and_callers_go_back_to_the_byte_with_what_they_belong_to() {
    let citations = r#"{"type":"agentx_citations","citations":[{ "cited_text":"x" ,"n":1.50}]}"#;
    let caller = r#"{"type":"agentx_caller","tool_use_id":"1","caller":{"type":"code_execution_20250825","tool_id":"s"}}"#;
    let history = vec![
        user("x"),
        says(vec![
            AssistantPart::text("first"),
            AssistantPart::text(" "),
            opaque("anthropic", citations),
            AssistantPart::text("second"),
            opaque("anthropic", citations),
            call("2"),
            opaque("anthropic", caller),
            call("1"),
            opaque("anthropic", caller),
        ]),
        result("1", ToolOutput::text("r")),
        result("2", ToolOutput::text("r")),
    ];
    let settings = MessagesSettings::default().with_cache(PromptCache::Off);
    let body = body(&ModelRequest::new(history), &settings).unwrap();
    let text = std::str::from_utf8(&body).unwrap();
    for expected in [
        r#"{"type":"text","text":"first"},{"type":"text","text":"second","citations":[{ "cited_text":"x" ,"n":1.50}]}"#,
        r#"{"type":"tool_use","id":"2","name":"t","input":{"a":1}},"#,
        r#""id":"1","name":"t","input":{"a":1},"caller":{"type":"code_execution_20250825","tool_id":"s"}}"#,
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("agentx_"), "{text}");
}

#[test]
fn the_container_of_the_turn_under_way_is_sent() {
    let container = r#"{"type":"agentx_container","container":{"id":"container_1","expires_at":"2026"}}"#;
    let mut history = vec![
        user("x"),
        says(vec![call("1"), opaque("anthropic", container)]),
        result("1", ToolOutput::text("r")),
    ];
    let sent = |history: &[MessageBody]| {
        written(&ModelRequest::new(history.to_vec()), &MessagesSettings::default())["container"].take()
    };
    assert_eq!(sent(&history), "container_1");
    history.push(user("next"));
    assert_eq!(sent(&history), Value::Null);
}

fn image(data: &str) -> ContentPart {
    ContentPart::Image { data: data.into(), media_type: "image/png".into() }
}

#[test]
fn what_the_api_refused_is_left_out_from_then_on() {
    let tool = ToolOutput::Content(vec![ContentPart::text("see"), image("b")]);
    let pdf = ContentPart::File { data: "c".into(), media_type: "application/pdf".into(), filename: None };
    let request = ModelRequest::new(vec![
        MessageBody::User { content: vec![image("a"), ContentPart::text("x")] },
        says(vec![call("1")]),
        result("1", tool),
        MessageBody::User { content: vec![pdf, image("d")] },
    ]);
    let settings = MessagesSettings::default();
    let mut refused = Refused::default();
    let mut refuse = |status, message: &str| {
        let mut failed = ApiFailure::default();
        (failed.status, failed.message) = (Some(status), message.to_owned());
        let learnt = learn(&request, &settings, &mut refused, &failed);
        let types = learnt.into_iter().map(|(media_type, _)| media_type).collect::<Vec<_>>();
        let body = compose_body(&request, &settings, &refused, Purpose::Answer).unwrap();
        (types, String::from_utf8(body.to_vec()).unwrap())
    };
    let has = |body: &str| ["a", "b", "c", "d"].map(|data| body.contains(&format!(r#""data":"{data}""#)));

    // Of another kind, of no image, or at a place where none is.
    assert!(refuse(500, "messages.0.content.0.image: no").0.is_empty());
    assert!(refuse(400, "messages.0.content.0: blank text").0.is_empty());
    assert!(refuse(400, "messages.0.content.1.image: no").0.is_empty());
    assert!(refuse(400, "messages.9.content.9.image: no").0.is_empty());

    let (types, body) =
        refuse(400, "messages.2.content.0.tool_result.content.1.image.source.base64.data: too large");
    assert_eq!((types, has(&body)), (vec!["image/png".to_owned()], [true, false, true, true]));
    assert!(body.contains("[image/png left out, the API refused it: too large]"), "{body}");
    // Once: what is left out is not refused again.
    assert!(refuse(400, "messages.2.content.0.tool_result.content.1.image.source: too large").0.is_empty());
    // A place that is not named is where something new is, and then anywhere.
    let (types, body) = refuse(400, "Could not process image");
    assert_eq!((types.len(), has(&body)), (2, [true, false, false, false]));
    let (types, body) = refuse(400, "Could not process image");
    assert_eq!((types.len(), has(&body)), (1, [false; 4]));
    assert!(refuse(400, "Could not process image").0.is_empty());
}

mod cache;
