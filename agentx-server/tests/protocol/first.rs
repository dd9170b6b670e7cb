//! The first generation: events on the wire, each confirmed.

use serde_json::{Value, json};

use crate::support::{Client, serve};

#[tokio::test]
async fn every_request_has_its_response() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let with = |data: &Value, id: &Value| {
        let mut data = data.clone();
        data["requestId"] = id.clone();
        data
    };

    let data = client.request("container_create", json!({"containerId": "c1", "userId": "u1"})).await;
    assert_eq!(data, with(&json!({"containerId": "c1"}), &data["requestId"]));
    let data = client.request("container_get", json!({"containerId": "c1"})).await;
    assert_eq!(data, with(&json!({"containerId": "c1", "exists": true}), &data["requestId"]));
    let data = client.request("container_get", json!({"containerId": "c2"})).await;
    assert_eq!(data, with(&json!({"exists": false}), &data["requestId"]));
    let data = client.request("container_list", json!({})).await;
    assert_eq!(data["containerIds"], json!(["c1"]));

    let config = json!({"name": "Chat", "systemPrompt": "Be brief."});
    let data = client.request("image_create", json!({"containerId": "c1", "config": config})).await;
    let record = &data["record"];
    assert_eq!((&record["name"], &record["systemPrompt"]), (&json!("Chat"), &json!("Be brief.")));
    assert_eq!(record["containerId"], "c1");
    assert_eq!(data["__subscriptions"], json!([record["sessionId"]]));
    let image = json!({"imageId": record["imageId"]});
    // Without `config`, as the oldest clients write it.
    let data = client.request("image_create", json!({"containerId": "c1", "name": "Flat"})).await;
    assert_eq!(data["record"]["name"], "Flat");
    let flat = json!({"imageId": data["record"]["imageId"]});

    let data = client.request("image_get", image.clone()).await;
    assert_eq!((&data["record"]["name"], &data["record"]["online"]), (&json!("Chat"), &json!(false)));
    let data = client.request("image_list", json!({"containerId": "c1"})).await;
    assert_eq!(data["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(data["__subscriptions"].as_array().map(Vec::len), Some(2));
    let update = json!({"imageId": image["imageId"], "updates": {"name": "Talk"}});
    assert_eq!(client.request("image_update", update).await["record"]["name"], "Talk");
    let data = client.request("image_run", image.clone()).await;
    assert_eq!(data["reused"], false);
    let agent = json!({"agentId": data["agentId"]});
    assert_eq!(client.request("image_run", image.clone()).await["reused"], true);
    assert_eq!(client.request("image_get", image.clone()).await["record"]["agentId"], agent["agentId"]);

    let data = client.request("agent_get", agent.clone()).await;
    assert_eq!((&data["agentId"], &data["containerId"]), (&agent["agentId"], &json!("c1")));
    assert_eq!(data["exists"], true);
    let data = client.request("agent_list", json!({"containerId": "c1"})).await;
    assert_eq!(data["agents"][0]["imageId"], image["imageId"]);
    let data = client.request("agent_interrupt", agent.clone()).await;
    assert_eq!(data["agentId"], agent["agentId"]);
    let data = client.request("agent_destroy", agent.clone()).await;
    assert_eq!(data["success"], true);
    assert_eq!(client.request("agent_destroy", agent).await["success"], false);
    let data = client.request("agent_create", image.clone()).await;
    assert_eq!(data["imageId"], image["imageId"]);
    let data = client.request("agent_destroy_all", json!({"containerId": "c1"})).await;
    assert_eq!(data["containerId"], "c1");
    assert_eq!(client.request("agent_list", json!({"containerId": "c1"})).await["agents"], json!([]));
    assert_eq!(client.request("image_stop", image.clone()).await["imageId"], image["imageId"]);
    let data = client.request("image_messages", image).await;
    assert_eq!(data["messages"], json!([]));
    client.request("image_delete", flat.clone()).await;
    assert_eq!(client.request("image_get", flat).await.get("record"), None);
}

#[tokio::test]
async fn a_message_is_answered_when_it_is_stored_and_its_events_follow() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    client.request("container_create", json!({"containerId": "c1"})).await;
    let created = client.request("image_create", json!({"containerId": "c1"})).await;
    let image = created["record"]["imageId"].clone();
    let subscribe = json!({"type": "subscribe", "sessionId": created["record"]["sessionId"]});
    client.say(subscribe.to_string()).await;
    let data = client.request("message_send", json!({"imageId": image, "content": "Hello"})).await;
    assert_eq!(data["imageId"], image);
    let mut text = String::new();
    loop {
        let event = match client.seen.pop_front() {
            Some(event) => event,
            None => client.confirmed().await,
        };
        assert_eq!(event["context"]["imageId"], image);
        match event["type"].as_str() {
            Some("text_delta") => text += event["data"]["text"].as_str().unwrap(),
            Some("turn_response") => break,
            _ => {}
        }
    }
    assert_eq!(text, "You said: Hello");
    let stored = client.request("image_messages", json!({"imageId": image})).await;
    let roles: Vec<_> =
        stored["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant"]);
}

/// Errors are in the response, and there is always one.
#[tokio::test]
async fn a_failure_is_in_the_response() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let data = client.request("image_run", json!({"imageId": "img_none"})).await;
    assert_eq!(data["error"], "Image not found: img_none");
    let data = client.request("message_send", json!({"content": "x"})).await;
    assert_eq!(data["error"], "Either agentId or imageId is required");
    let data = client.request("container_create", json!({})).await;
    assert!(data["error"].as_str().unwrap().contains("containerId"), "{data}");
}
