//! What a client, or somebody who is none, does to a server that means it harm, and what happens in an unlucky order.

use std::{sync::Arc, time::Duration};

use agentx_server::{
    Owner, Quotas,
    auth::{ApiKeys, KeyHash},
};
use serde_json::{Value, json};

use crate::support::{Client, serve, serve_ann_and_bob, serve_with};

fn rpc(id: impl Into<Value>, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

/// The agent that ends and the one that follows it, before anything of either is told.
#[tokio::test]
async fn a_client_hears_the_next_agent_of_a_session_too() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = json!({"imageId": client.image("c1").await["imageId"]});
    client.call("image.run", image.clone()).await;
    // Is told of both at once, between two looks.
    let mut listener = Client::connect(&served, None).await;
    listener.call("container.list", json!({})).await;
    let again = json!([rpc("stop", "image.stop", &image), rpc("run", "image.run", &image)]);
    client.say(again.to_string()).await;
    let run = client.find(|frame| frame["id"] == "run").await;
    client.call("message.send", json!({"imageId": image["imageId"], "content": "hello"})).await;
    let events = listener.events_until("turn_response").await;
    assert!(events.iter().any(|event| event["type"] == "agent_stopped"));
    assert_eq!(events.last().unwrap()["context"]["agentId"], run["result"]["agentId"]);
}

/// Each of these requests is answered at the end of its turn, which comes by an interrupt alone.
#[tokio::test]
async fn however_many_turns_a_client_waits_for_it_is_heard() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let mut images = Vec::new();
    for number in 0..70 {
        images.push(client.image("c1").await["imageId"].clone());
        let send = json!({"imageId": images.last(), "content": "wait"});
        client.say(rpc(format!("wait {number}"), "message.send", &send).to_string()).await;
    }
    client.call("agent.interrupt", json!({"imageId": images[0]})).await;
    client.find(|frame| frame["id"] == "wait 0").await;
}

#[tokio::test]
async fn one_socket_speaks_each_generation_in_its_own_form() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    let wait = json!({"imageId": image["imageId"], "content": "wait"});
    client.say(rpc("waiting", "message.send", &wait).to_string()).await;
    client.find(|frame| frame["params"]["event"]["type"] == "tool_executing").await;
    let list = json!({"type": "container_list_request", "data": {"requestId": "r"}});
    client.say(list.to_string()).await;
    client.find(|frame| frame.get("__msgId").is_some()).await;
    let mut other = Client::connect(&served, None).await;
    other.call("agent.interrupt", json!({"imageId": image["imageId"]})).await;
    // Asked by JSON-RPC, and answered so, whatever was said since.
    client.find(|frame| frame["id"] == "waiting").await;

    // A client of the first generation that comes back says this first.
    let mut back = Client::connect(&served, None).await;
    let subscribe = json!({"type": "subscribe", "sessionId": image["sessionId"], "afterCursor": "0"});
    back.say(subscribe.to_string()).await;
    assert_eq!(back.confirmed().await["type"], "user_message");
}

#[tokio::test]
async fn whoever_asks_for_an_answer_has_one() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    for (method, params) in [
        ("subscribe", json!({"topic": "global"})),
        ("unsubscribe", json!({"topic": "global"})),
        ("auth", json!({"headers": {}})),
        ("control.ack", json!({"msgId": "m"})),
    ] {
        assert_eq!(client.call(method, params).await, json!({}), "{method}");
    }
    let missing = client.ask("subscribe", json!({"topic": "no such session"})).await;
    assert_eq!(missing["error"]["code"], 404);
}

#[tokio::test]
async fn a_revoked_key_ends_its_connections() {
    let keys = Arc::new(ApiKeys::new());
    let key = |name: &str| (KeyHash::of(name), Owner::new(name).unwrap());
    keys.replace(vec![key("ann"), key("bob")]);
    let known = keys.clone();
    let served =
        serve_with(move |server| server.authenticator(known).recheck_interval(Duration::from_millis(20)))
            .await;
    let mut by_header = Client::connect(&served, Some("ann")).await;
    let mut by_frame = Client::connect(&served, None).await;
    by_frame.call("auth", json!({"headers": {"authorization": "Bearer ann"}})).await;
    let mut bob = Client::connect(&served, Some("bob")).await;
    by_frame.call("container.list", json!({})).await;
    keys.replace(vec![key("bob")]);
    assert_eq!((by_header.raw().await, by_frame.raw().await), (None, None));
    bob.call("container.list", json!({})).await;
}

/// A frame is read before it is known who sent it.
#[tokio::test]
async fn nobody_sends_long_frames() {
    let served = serve_ann_and_bob().await;
    let mut nobody = Client::connect(&served, None).await;
    nobody.say(rpc(1, "container.create", &json!({"containerId": "x".repeat(20_000)})).to_string()).await;
    assert_eq!(nobody.raw().await.unwrap()["error"]["code"], 401);
    assert_eq!(nobody.raw().await, None);
}

#[tokio::test]
async fn a_frame_of_too_many_values_is_refused_and_the_connection_goes_on() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    client.say(format!("[{}0]", r#"{"":0},"#.repeat(100_000))).await;
    assert_eq!(client.raw().await.unwrap()["error"]["code"], 413);
    client.call("container.list", json!({})).await;
}

#[tokio::test]
async fn a_container_that_nobody_named_counts_too() {
    let served = serve_with(|server| server.quotas(Quotas::default().with_containers(0))).await;
    let mut client = Client::connect(&served, None).await;
    assert_eq!(client.ask("runtime.image.create", json!({})).await["error"]["code"], 429);
}
