//! Two owners: what is another's answers as what does not exist.

use std::sync::Arc;

use agentx_provider_local::SqliteExecutor;
use agentx_server::llm::Llms;
use serde_json::{Value, json};

use crate::support::{Client, serve_ann_and_bob, serve_ann_and_bob_with};

/// All methods that name something.
const METHODS: &[&str] = &[
    "agent.destroy",
    "agent.destroyAll",
    "agent.get",
    "agent.interrupt",
    "agent.list",
    "approval.answer",
    "approval.list",
    "container.delete",
    "container.get",
    "image.create",
    "image.delete",
    "image.get",
    "image.list",
    "image.messages",
    "image.run",
    "image.stop",
    "image.update",
    "llm.default",
    "llm.delete",
    "llm.get",
    "llm.update",
    "message.send",
    "os.list",
    "os.read",
    "os.write",
    "rewind",
    "subscribe",
];

/// The parameters of a request that names this id.
type Params = Box<dyn Fn(&str) -> Value>;

/// An answer without what it repeats of the question.
fn plain(answer: &Value, id: &str) -> Value {
    let mut answer = answer.clone();
    answer["id"] = Value::Null;
    serde_json::from_str(&answer.to_string().replace(id, "ID")).unwrap()
}

/// What can be asked of an LLM definition, also by what is said of an image.
fn asked_of_llms(image: &Value) -> Vec<(&'static str, Params)> {
    let mut asked: Vec<(&'static str, Params)> = Vec::new();
    for method in ["llm.get", "llm.delete", "llm.default"] {
        asked.push((method, Box::new(|id| json!({"id": id}))));
    }
    asked.push(("llm.update", Box::new(|id| json!({"id": id, "updates": {"name": "mine"}}))));
    let named = image.clone();
    asked.push(("image.update", Box::new(move |id| json!({"imageId": named, "updates": {"model": id}}))));
    let named = image.clone();
    let sent = move |id: &str| json!({"imageId": named, "content": "hi", "options": {"model": id}});
    asked.push(("message.send", Box::new(sent)));
    asked
}

#[tokio::test]
async fn every_method_answers_for_anothers_id_as_for_none() {
    let llms = Llms::open(Arc::new(SqliteExecutor::open_in_memory().await.unwrap())).await.unwrap();
    let served = serve_ann_and_bob_with(|server| server.llms(llms)).await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let record = ann.image("work").await;
    let session = record["sessionId"].as_str().unwrap().to_owned();
    let image = record["imageId"].as_str().unwrap().to_owned();
    let run = ann.call("image.run", json!({"imageId": image})).await;
    let agent = run["agentId"].as_str().unwrap().to_owned();
    let send =
        json!({"jsonrpc": "2.0", "method": "message.send", "params": {"imageId": image, "content": "pay"}});
    ann.say(send.to_string()).await;
    let asked = ann.find(|frame| frame["params"]["event"]["type"] == "approval_requested").await;
    let approval = asked["params"]["event"]["data"]["approvalId"].as_str().unwrap().to_owned();
    let message = ann.call("image.messages", json!({"imageId": image})).await["messages"][0]["id"].clone();

    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    bob.call("container.create", json!({"containerId": "own"})).await;
    let own = bob.image("own").await["imageId"].clone();
    let images = [
        "image.get",
        "image.delete",
        "image.run",
        "image.stop",
        "image.messages",
        "agent.interrupt",
        "approval.list",
        "os.read",
        "os.list",
    ];
    let llm = json!({"name": "fast", "protocol": "anthropic", "apiKey": "k"});
    let llm = ann.call("llm.create", llm).await["record"].clone();
    ann.call("llm.default", json!({"id": llm["id"]})).await;
    let llm_id = llm["id"].as_str().unwrap();
    let mut asked: Vec<(&str, &str, Params)> = Vec::new();
    asked.extend(asked_of_llms(&own).into_iter().map(|(method, params)| (method, llm_id, params)));
    for method in images {
        asked.push((method, &image, Box::new(|id| json!({"imageId": id, "path": "/"}))));
    }
    asked.push(("image.update", &image, Box::new(|id| json!({"imageId": id, "updates": {"name": "mine"}}))));
    asked.push(("message.send", &image, Box::new(|id| json!({"imageId": id, "content": "hi"}))));
    asked.push(("os.write", &image, Box::new(|id| json!({"imageId": id, "path": "/a", "content": "x"}))));
    for method in ["agent.get", "agent.destroy", "agent.interrupt", "instance.get", "approval.list"] {
        asked.push((method, &agent, Box::new(|id| json!({"agentId": id, "instanceId": null}))));
    }
    asked.push(("message.send", &agent, Box::new(|id| json!({"agentId": id, "content": "hi"}))));
    let place = message.clone();
    asked.push(("rewind", &agent, Box::new(move |id| json!({"agentId": id, "messageId": place}))));
    for method in
        ["container.get", "image.list", "agent.list", "agent.destroyAll", "image.create", "container.delete"]
    {
        asked.push((method, "work", Box::new(|id| json!({"containerId": id}))));
    }
    for cursor in [Value::Null, json!("0"), json!("1.1"), json!("none")] {
        let topic = move |id: &str| json!({"topic": id, "afterCursor": cursor.clone()});
        asked.push(("subscribe", &session, Box::new(topic)));
    }
    let answered = json!({"imageId": own, "decision": "allow"});
    asked.push((
        "approval.answer",
        &approval,
        Box::new(move |id| {
            let mut params = answered.clone();
            params["approvalId"] = json!(id);
            params
        }),
    ));
    // None is left out.
    for method in METHODS {
        assert!(asked.iter().any(|(asked, ..)| asked == method), "{method} is not asked for");
    }
    for (method, theirs, params) in asked {
        // As long as the real one, so that not even its length tells.
        let none = "0".repeat(theirs.len());
        let mut theirs_asked = params(theirs);
        let mut none_asked = params(&none);
        // `instanceId` is the same member by another name.
        for params in [&mut theirs_asked, &mut none_asked] {
            params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let (found, missing) = (bob.ask(method, theirs_asked).await, bob.ask(method, none_asked).await);
        assert_eq!(plain(&found, theirs), plain(&missing, &none), "{method}");
    }

    // And none of it had an effect.
    let got = ann.call("image.get", json!({"imageId": image})).await;
    assert_eq!((&got["record"]["name"], &got["record"]["agentId"]), (&json!("Chat"), &json!(agent)));
    assert_eq!(ann.call("image.messages", json!({"imageId": image})).await["messages"][0]["id"], message);
    let listed = ann.call("approval.list", json!({"imageId": image})).await;
    assert_eq!(listed["approvals"].as_array().map(Vec::len), Some(1));
    let left = ann.call("llm.default", json!({})).await["record"].clone();
    assert_eq!((&left["id"], &left["name"], &left["isDefault"]), (&llm["id"], &json!("fast"), &json!(true)));
    assert_eq!(bob.call("llm.list", json!({})).await["records"], json!([]));
    assert_eq!(bob.call("container.list", json!({})).await["containerIds"], json!(["own"]));
    let agents = bob.call("agent.list", json!({})).await["agents"].clone();
    assert!(agents.as_array().unwrap().iter().all(|agent| agent["imageId"] == own), "{agents}");
}

#[tokio::test]
async fn one_hears_nothing_of_the_other() {
    let served = serve_ann_and_bob().await;
    let mut ann = Client::connect(&served, Some("key-of-ann")).await;
    let mut bob = Client::connect(&served, Some("key-of-bob")).await;
    bob.image("work").await;
    let image = ann.image("work").await;
    for topic in [&image["sessionId"], &json!("global"), &json!("nonsense/../")] {
        bob.say(
            json!({"jsonrpc": "2.0", "method": "subscribe", "params": {"topic": topic, "afterCursor": "0"}})
                .to_string(),
        )
        .await;
        bob.say(json!({"type": "subscribe", "sessionId": topic, "afterCursor": "0"}).to_string()).await;
    }
    bob.call("container.list", json!({})).await;
    ann.call("message.send", json!({"imageId": image["imageId"], "content": "secret"})).await;
    bob.call("container.list", json!({})).await;
    assert!(bob.seen.is_empty(), "{:?}", bob.seen);
    assert!(!ann.seen.is_empty());
}

#[tokio::test]
async fn nobody_comes_in_without_a_key() {
    let served = serve_ann_and_bob().await;
    assert!(Client::try_connect(&served, Some("guess")).await.is_err());
    // A browser says who it is in its first frame.
    let mut client = Client::connect(&served, None).await;
    assert_eq!(client.ask("container.list", json!({})).await["error"]["code"], 401);
    let auth = |key: &str| json!({"jsonrpc": "2.0", "method": "auth", "params": {"headers": {"Authorization": key}}});
    client.say(auth("Bearer key-of-ann").to_string()).await;
    client.call("container.create", json!({"containerId": "work"})).await;
    // Once known, it stays whom it said.
    client.say(auth("Bearer key-of-bob").to_string()).await;
    assert_eq!(client.call("container.list", json!({})).await["containerIds"], json!(["work"]));
    let mut client = Client::connect(&served, None).await;
    client.say(json!({"type": "auth", "headers": {"authorization": "Bearer guess"}}).to_string()).await;
    let refused = client.raw().await.unwrap();
    assert_eq!(refused["type"], "system_error");
    assert_eq!(refused["data"]["message"], "these credentials are not known");
    assert_eq!(client.raw().await, None);
}
