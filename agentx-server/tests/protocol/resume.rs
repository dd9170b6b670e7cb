//! A connection that is lost: whoever comes back with the place of the last event that it saw misses nothing and hears
//! nothing twice.

use serde_json::{Value, json};

use crate::support::{Client, serve};

/// The events of a session that are stored, from behind a cursor to the end of the turn.
async fn resumed(client: &mut Client, session: &Value, cursor: &Value) -> Vec<Value> {
    let params = json!({"topic": session, "afterCursor": cursor});
    client.say(json!({"jsonrpc": "2.0", "method": "subscribe", "params": params}).to_string()).await;
    client.events_until("turn_response").await
}

#[tokio::test]
async fn a_client_comes_back_at_any_event() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    client.call("message.send", json!({"imageId": image["imageId"], "content": "add"})).await;
    let all = client.events_until("turn_response").await;
    let is_stored = |event: &&Value| !event["cursor"].as_str().unwrap().contains('.');
    for (place, event) in all.iter().enumerate().filter(|(place, _)| place + 1 < all.len()) {
        let mut back = Client::connect(&served, None).await;
        let heard = resumed(&mut back, &image["sessionId"], &event["cursor"]).await;
        let heard: Vec<&Value> = heard.iter().filter(is_stored).map(|event| &event["cursor"]).collect();
        let missed: Vec<&Value> =
            all[place + 1..].iter().filter(is_stored).map(|event| &event["cursor"]).collect();
        assert_eq!(heard, missed, "behind {}", event["cursor"]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_turn_hears_the_rest() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    client.say(
        json!({"jsonrpc": "2.0", "method": "message.send", "params": {"imageId": image["imageId"], "content": "pay"}})
            .to_string(),
    )
    .await;
    let asked = client.events_until("approval_requested").await.pop().unwrap();
    drop(client);
    let mut back = Client::connect(&served, None).await;
    let params = json!({"topic": image["sessionId"], "afterCursor": asked["cursor"]});
    back.say(json!({"jsonrpc": "2.0", "method": "subscribe", "params": params}).to_string()).await;
    let answer =
        json!({"imageId": image["imageId"], "approvalId": asked["data"]["approvalId"], "decision": "deny"});
    back.call("approval.answer", answer).await;
    let events = back.events_until("turn_response").await;
    let first = events.iter().find(|event| !event["cursor"].as_str().unwrap().contains('.')).unwrap();
    let number = |event: &Value| event["cursor"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(number(first), number(&asked) + 1);
    assert!(events.iter().any(|event| event["type"] == "tool_failed"));
}

/// More than leaves in one write, or is read from the store at once.
#[tokio::test]
async fn a_client_that_comes_back_to_a_long_conversation_hears_all_of_it() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    let mut last = 0;
    while last < 400 {
        client.call("message.send", json!({"imageId": image["imageId"], "content": "hi"})).await;
        let end = client.events_until("turn_response").await.pop().unwrap();
        last = end["cursor"].as_str().unwrap().parse::<u64>().unwrap();
    }
    let mut back = Client::connect(&served, None).await;
    let params = json!({"topic": image["sessionId"], "afterCursor": "0"});
    back.say(json!({"jsonrpc": "2.0", "method": "subscribe", "params": params}).to_string()).await;
    let mut heard = Vec::new();
    while heard.last() != Some(&last) {
        let turn = back.events_until("turn_response").await;
        heard.extend(turn.iter().filter_map(|event| event["cursor"].as_str().unwrap().parse::<u64>().ok()));
    }
    assert_eq!(heard, (1..=last).collect::<Vec<_>>());
}
