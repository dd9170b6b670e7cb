//! The server itself: a client that passes here must send what the API takes.

use agentx_core::Reply;
use agentx_driver_claude::messages::{HttpRequest, ReqwestTransport, Transport};
use agentx_tests::messages_server::MessagesServer;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::support::{KEY, says};

async fn post(server: &MessagesServer, headers: &[(&'static str, &str)], body: &Value) -> (u16, Value) {
    let url = format!("{}/v1/messages", server.base_url());
    let request = HttpRequest::new(url, body.to_string());
    let request = headers.iter().fold(request, |request, (name, value)| request.with_header(name, *value));
    let response = ReqwestTransport::new().unwrap().send(request).await.unwrap();
    let status = response.status;
    let body: Vec<_> = response.body.try_collect().await.unwrap();
    (status, serde_json::from_slice(&body.concat()).unwrap())
}

const HEADERS: [(&str, &str); 2] = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")];

fn body(messages: &Value) -> Value {
    json!({"model": "m", "max_tokens": 10, "messages": messages})
}

fn used(id: &str) -> Value {
    json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "t", "input": {}}]})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "r"})
}

#[tokio::test]
async fn it_refuses_what_the_api_refuses() {
    let user = json!({"role": "user", "content": "x"});
    let text = json!({"type": "text", "text": "t"});
    let silent_error = json!({"type": "tool_result", "tool_use_id": "a", "is_error": true});
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "Qk0="}});
    let table = [
        (json!({"model": "m", "messages": [user]}), "max_tokens"),
        (json!({"max_tokens": 1, "messages": [user]}), "model"),
        (body(&json!([{"role": "assistant", "content": "x"}])), "first message"),
        (body(&json!([{"role": "tool", "content": "x"}, user])), "first message"),
        (body(&json!([user, {"role": "tool", "content": "x"}])), "role"),
        (body(&json!([{"role": "user", "content": ""}])), "non-empty content"),
        (body(&json!([{"role": "user", "content": [{"type": "text", "text": " "}]}])), "text content blocks"),
        (body(&json!([user, used("a"), user])), "without `tool_result` blocks"),
        (body(&json!([user, used("a")])), "has no `tool_result`"),
        (
            body(&json!([user, used("a"), {"role": "user", "content": [text, result("a")]}])),
            "without `tool_result` blocks",
        ),
        (
            body(&json!([user, used("a"), {"role": "user", "content": [result("a"), result("b")]}])),
            "unexpected `tool_use_id`",
        ),
        (body(&json!([{"role": "user", "content": [result("a")]}])), "unexpected `tool_use_id`"),
        (body(&json!([user, used("a"), {"role": "user", "content": [silent_error]}])), "cannot be empty"),
        (body(&json!([{"role": "user", "content": [image]}])), "media_type"),
        (
            body(
                &json!([user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, text]}]),
            ),
            "signature",
        ),
    ];
    let server = says(Reply::text("Hi."));
    for (body, problem) in table {
        let (status, answer) = post(&server, &HEADERS, &body).await;
        assert_eq!((status, &answer["error"]["type"]), (400, &json!("invalid_request_error")), "{body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(problem), "{answer} for {body}");
    }
    let good = body(&json!([user]));
    assert_eq!(post(&server, &HEADERS[1..], &good).await.0, 401);
    assert_eq!(post(&server, &HEADERS[..1], &good).await.0, 400);
    let newest = [HEADERS[0], ("anthropic-version", "2026-10-21")];
    assert_eq!(post(&server, &newest, &good).await.0, 200);
    let mut sampled = good;
    sampled["temperature"] = json!(1);
    assert_eq!(post(&server, &newest, &sampled).await.0, 400);
}

#[tokio::test]
async fn it_answers_in_one_piece_where_no_stream_is_asked_for() {
    let server =
        says(Reply::thinking("Hm.").then_text("I look.").call("a", "bash", json!({"command": "ls"})));
    let body = body(&json!([
        {"role": "user", "content": "x"}, used("a"), {"role": "user", "content": [result("a")]}]));
    let (status, message) = post(&server, &HEADERS, &body).await;
    assert_eq!(status, 200, "{message}");
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(message["content"][0]["thinking"], "Hm.");
    assert_eq!(message["content"][1]["text"], "I look.");
    assert_eq!(message["content"][2]["input"], json!({"command": "ls"}));
}
