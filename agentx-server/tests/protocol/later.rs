//! The later generations: JSON-RPC 2.0.

use serde_json::{Value, json};

use crate::support::{Client, serve, serve_with, types};

#[tokio::test]
async fn a_turn_is_told_event_by_event_and_answered_when_it_is_over() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    let run = client.call("image.run", json!({"imageId": image["imageId"]})).await;
    assert_eq!((&run["containerId"], &run["reused"]), (&json!("c1"), &json!(false)));
    let sent = client.call("message.send", json!({"agentId": run["agentId"], "content": "add"})).await;
    assert_eq!((&sent["agentId"], &sent["imageId"]), (&run["agentId"], &image["imageId"]));

    let events = client.events_until("turn_response").await;
    assert_eq!(
        types(&events),
        [
            "user_message",
            "turn_request",
            "conversation_start",
            "message_start",
            "tool_use_start",
            "tool_planned",
            "input_json_delta",
            "tool_use_stop",
            "message_delta",
            "message_stop",
            "assistant_message",
            "tool_executing",
            "tool_result",
            "tool_completed",
            "tool_result_message",
            "message_start",
            "conversation_responding",
            "text_delta",
            "message_delta",
            "message_stop",
            "assistant_message",
            "conversation_end",
            "turn_response",
        ]
    );
    for event in &events {
        assert_eq!(event["context"]["agentId"], run["agentId"]);
        assert_eq!(event["context"]["instanceId"], run["agentId"]);
        assert_eq!(event["context"]["containerId"], "c1");
        assert!(event["timestamp"].is_u64() && event["source"].is_string() && event["category"].is_string());
    }
    // All of it came before the answer: nothing is left.
    assert!(client.seen.iter().all(|frame| frame["method"] != "stream.event"), "{:?}", client.seen);

    let stored = client.call("image.messages", json!({"imageId": image["imageId"]})).await;
    let roles: Vec<_> =
        stored["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(stored["messages"][2]["toolResult"]["output"], json!({"type": "text", "value": "3"}));
}

#[tokio::test]
async fn the_newest_clients_prefix_and_call_agents_instances() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let created = client.call("runtime.image.create", json!({"name": "Chat", "customData": {"k": 1}})).await;
    assert_eq!(created["record"]["customData"], json!({"k": 1}));
    let image = json!({"imageId": created["record"]["imageId"]});
    let run = client.call("runtime.image.run", image.clone()).await;
    let instance = json!({"instanceId": run["instanceId"]});
    let got = client.call("runtime.instance.get", instance.clone()).await;
    assert_eq!((&got["agent"]["instanceId"], &got["exists"]), (&run["instanceId"], &json!(true)));
    let list = client.call("instance.list", json!({})).await;
    assert_eq!(list["agents"][0]["instanceId"], run["instanceId"]);
    for text in ["one", "two"] {
        let said = json!({"instanceId": run["instanceId"], "content": [{"type": "text", "text": text}]});
        let sent = client.call("runtime.message.send", said).await;
        assert_eq!(sent["instanceId"], run["instanceId"]);
    }
    let messages = client.call("runtime.image.messages", image.clone()).await["messages"].clone();
    let answer = &messages[1]["id"];
    let rewound = json!({"instanceId": run["instanceId"], "messageId": answer});
    assert_eq!(client.call("runtime.rewind", rewound.clone()).await["truncatedCount"], 2);
    let told = client.find(|frame| frame["params"]["event"]["type"] == "rewind").await;
    let rewind = json!({"instanceId": run["instanceId"], "messageId": answer, "truncatedCount": 2, "before": messages[2]["id"]});
    assert_eq!(told["params"]["event"]["data"], rewind);
    // What was cut off is no longer shown, and is not cut off again; what is said next stays.
    let left = client.call("runtime.image.messages", image.clone()).await["messages"].clone();
    assert_eq!(left, json!([messages[0], messages[1]]));
    assert_eq!(client.call("runtime.rewind", rewound.clone()).await["truncatedCount"], 0);
    let gone = json!({"instanceId": run["instanceId"], "messageId": messages[2]["id"]});
    assert_eq!(client.ask("runtime.rewind", gone).await["error"]["code"], 404);
    client.call("runtime.message.send", json!({"instanceId": run["instanceId"], "content": "three"})).await;
    assert_eq!(client.call("runtime.rewind", rewound).await["truncatedCount"], 2);
    let left = client.call("runtime.image.messages", image.clone()).await["messages"].clone();
    assert_eq!(left, json!([messages[0], messages[1]]));
    let interrupted = client.call("runtime.instance.interrupt", image).await;
    assert_eq!(interrupted["instanceId"], run["instanceId"]);
    assert_eq!(client.call("runtime.instance.destroy", instance).await["success"], true);
    let llm = client.ask("runtime.llm.list", json!({})).await;
    assert_eq!(llm["error"]["data"]["kind"], "unsupported", "it keeps none: {llm}");
    let files = client.ask("runtime.os.list", json!({"imageId": "x"})).await;
    assert_eq!(files["error"]["message"], "Workspace not available");
}

#[tokio::test]
async fn what_is_not_there_has_the_codes_of_the_protocol() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let code = async |client: &mut Client, method: &str, params: Value| {
        client.ask(method, params).await["error"]["code"].as_i64()
    };
    assert_eq!(code(&mut client, "image.update", json!({"imageId": "x", "updates": {}})).await, Some(404));
    assert_eq!(code(&mut client, "image.messages", json!({"imageId": "x"})).await, Some(404));
    assert_eq!(code(&mut client, "agent.interrupt", json!({"agentId": "x"})).await, Some(404));
    assert_eq!(code(&mut client, "image.create", json!({"containerId": "none"})).await, Some(404));
    assert_eq!(code(&mut client, "message.send", json!({"content": "x"})).await, Some(-32602));
    assert_eq!(code(&mut client, "message.send", json!({"imageId": 7, "content": "x"})).await, Some(-32602));
    assert_eq!(code(&mut client, "image.explode", json!({})).await, Some(-32601));
    assert_eq!(code(&mut client, "container.create", json!({"containerId": "a/b"})).await, Some(-32602));
    assert_eq!(client.call("image.get", json!({"imageId": "x"})).await, json!({"record": null}));
    assert_eq!(client.call("image.delete", json!({"imageId": "x"})).await, json!({"imageId": "x"}));
    let got = client.call("agent.get", json!({"agentId": "x"})).await;
    assert_eq!(got, json!({"agent": null, "exists": false}));
}

#[tokio::test]
async fn an_interrupt_ends_a_turn_and_a_message_meanwhile_waits_for_its_own() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await["imageId"].clone();
    client.call("image.run", json!({"imageId": image})).await;
    let send = json!({"jsonrpc": "2.0", "id": "waiting", "method": "message.send",
        "params": {"imageId": image, "content": "wait"}});
    client.say(send.to_string()).await;
    client.find(|frame| frame["params"]["event"]["type"] == "tool_executing").await;
    let queued = client.call("message.send", json!({"imageId": image, "content": "next"})).await;
    assert_eq!(queued["queued"], true);
    client.call("agent.interrupt", json!({"imageId": image})).await;
    let ended = client.find(|frame| frame["id"] == "waiting").await;
    assert!(ended["result"].is_object(), "{ended}");
    let is_answer =
        |frame: &Value| frame["params"]["event"]["data"]["content"][0]["text"] == "You said: next";
    client.find(is_answer).await;
}

#[tokio::test]
async fn an_approval_is_asked_for_and_answered_from_another_connection() {
    let served = serve().await;
    let (mut one, mut other) = (Client::connect(&served, None).await, Client::connect(&served, None).await);
    let image = one.image("c1").await["imageId"].clone();
    let send = json!({"jsonrpc": "2.0", "id": "paying", "method": "message.send",
        "params": {"imageId": image, "content": "pay"}});
    one.say(send.to_string()).await;
    let asked = one.find(|frame| frame["params"]["event"]["type"] == "approval_requested").await;
    let asked = &asked["params"]["event"]["data"];
    let listed = other.call("approval.list", json!({"imageId": image})).await;
    assert_eq!(listed["approvals"][0]["approvalId"], asked["approvalId"]);
    assert_eq!(listed["approvals"][0]["reason"], "It costs money.");
    let answer = json!({"imageId": image, "approvalId": asked["approvalId"], "decision": "allow"});
    // An answer that lacks its half changes nothing.
    let mut half = answer.clone();
    half["decision"] = json!("allow_with");
    assert_eq!(other.ask("approval.answer", half).await["error"]["code"], -32602);
    other.call("approval.answer", answer.clone()).await;
    one.find(|frame| frame["id"] == "paying").await;
    one.find(|frame| frame["params"]["event"]["data"]["result"]["value"] == "paid").await;
    assert_eq!(other.ask("approval.answer", answer).await["error"]["code"], 404);
}

/// A turn may be longer than its clients wait for an answer.
#[tokio::test]
async fn a_long_turn_is_answered_before_its_end() {
    let served = serve_with(|server| server.turn_wait(std::time::Duration::from_millis(50))).await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await["imageId"].clone();
    let sent = client.call("message.send", json!({"imageId": image, "content": "wait"})).await;
    assert_eq!(sent["imageId"], image);
    assert!(client.seen.iter().all(|frame| frame["params"]["event"]["type"] != "turn_response"));
    client.call("agent.interrupt", json!({"imageId": image})).await;
    client.find(|frame| frame["params"]["event"]["type"] == "turn_response").await;
}

/// Nobody listens, or two do: a message is stored once.
#[tokio::test]
async fn an_answer_is_stored_once_whoever_listens() {
    let served = serve().await;
    let mut client = Client::connect(&served, None).await;
    let image = client.image("c1").await;
    let mut tabs = [Client::connect(&served, None).await, Client::connect(&served, None).await];
    for tab in &mut tabs {
        tab.call("image.run", json!({"imageId": image["imageId"]})).await;
    }
    client.call("message.send", json!({"imageId": image["imageId"], "content": "two tabs"})).await;
    let mut last = Value::Null;
    for tab in &mut tabs {
        let events = tab.events_until("turn_response").await;
        assert_eq!(events.iter().filter(|event| event["type"] == "assistant_message").count(), 1);
        last = events.last().unwrap()["cursor"].clone();
    }
    drop((tabs, client));
    // Its answer says that it is stored, and then nobody is there.
    let mut sender = Client::connect(&served, None).await;
    sender.request("message_send", json!({"imageId": image["imageId"], "content": "nobody"})).await;
    drop(sender);
    let mut client = Client::connect(&served, None).await;
    let params = json!({"topic": image["sessionId"], "afterCursor": last});
    client.say(json!({"jsonrpc": "2.0", "method": "subscribe", "params": params}).to_string()).await;
    client.events_until("turn_response").await;
    let stored = client.call("image.messages", json!({"imageId": image["imageId"]})).await;
    assert_eq!(stored["messages"].as_array().map(Vec::len), Some(4));
}
