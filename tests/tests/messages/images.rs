//! Images that the API refuses.

use agentx_core::{
    AssistantMessage, AssistantPart, ContentPart, ErrorKind, MessageBody, ModelEvent, ModelRequest, Reply,
    ToolCall, ToolOutput, ToolResult,
};
use agentx_tests::messages_server::MessagesServer;
use serde_json::json;

use super::support::{TestClock, answer, ask, broken, client, says, text};

const GOOD: &str = "iVBORw0KGgoAAAANSUhEUg==";

fn server() -> MessagesServer {
    let server = says(Reply::text("I see."));
    server.check_images();
    server
}

fn image(data: &str) -> ContentPart {
    ContentPart::Image { data: data.into(), media_type: "image/png".into() }
}

fn omissions(told: &[ModelEvent]) -> Vec<&str> {
    told.iter()
        .filter_map(|event| match event {
            ModelEvent::Omitted { media_type, reason } if media_type == "image/png" => Some(reason.as_str()),
            _ => None,
        })
        .collect()
}

/// A user's image, one of a tool, and one more that is good.
fn history(first: &str, second: &str) -> Vec<MessageBody> {
    let call = AssistantPart::ToolCall(ToolCall::new("a", "look", json!({})));
    let output = ToolOutput::Content(vec![ContentPart::text("see"), image(second), image(GOOD)]);
    vec![
        MessageBody::User { content: vec![ContentPart::text("Look."), image(first)] },
        MessageBody::Assistant(AssistantMessage::new(vec![call])),
        MessageBody::Tool(ToolResult::new("a", "look", output)),
    ]
}

#[tokio::test]
async fn an_image_that_is_refused_is_left_out_and_told_once_and_the_turn_goes_on() {
    let server = server();
    let model = client(&server, TestClock::default());
    let told = answer(&model, ModelRequest::new(history("YmFk", "d29yc2U="))).await;
    assert_eq!(omissions(&told), ["Could not process image"; 2]);
    assert_eq!(text(&told), "I see.");
    // Each refusal names one.
    assert_eq!(server.requests().len(), 3);
    let sent = server.requests()[2].body["messages"].to_string();
    assert_eq!(sent.matches("[image/png left out, the API refused it: Could not process image]").count(), 2);
    assert!(sent.contains(GOOD) && !sent.contains("YmFk"));

    // The session goes on with the same images, and none is sent or told again.
    let mut later = history("YmFk", "d29yc2U=");
    later.extend([
        MessageBody::Assistant(AssistantMessage::new(vec![AssistantPart::text("I see.")])),
        MessageBody::user("And?"),
    ]);
    let told = answer(&model, ModelRequest::new(later)).await;
    assert!(omissions(&told).is_empty());
    assert_eq!(server.requests().len(), 4);
    let begins = server.requests()[3].body["messages"].to_string();
    assert!(begins.contains("left out"));
}

#[tokio::test]
async fn images_that_are_good_are_sent() {
    let server = server();
    let told = answer(&client(&server, TestClock::default()), ModelRequest::new(history(GOOD, GOOD))).await;
    assert!(omissions(&told).is_empty());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn one_call_is_not_repeated_without_end() {
    let server = server();
    let content = (0..40).map(|n| image(&format!("bad{n}"))).collect();
    let request = ModelRequest::new(vec![MessageBody::User { content }]);
    let (told, error) = broken(ask(&client(&server, TestClock::default()), request).await);
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!((omissions(&told).len(), server.requests().len()), (32, 33));
}
