//! The protocol's tables, row by row: each generation asks in its own words, and an answer has these members and no others.

use std::sync::Arc;

use agentx::{
    ContainerId, ImageId, async_trait,
    resource::{FileSystem, memory::MemoryFileSystem},
};
use agentx_server::WorkspaceFiles;
use serde_json::{Value, json};

use crate::support::{Client, Served, serve_with};

/// Whose words are used.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Generation {
    /// `image_get_request`.
    First,
    /// `image.get`.
    Second,
    /// `runtime.image.get`; agents are instances, and containers have no name.
    Third,
}

/// One tree for all.
#[derive(Debug, Default)]
struct Tree(Arc<MemoryFileSystem>);

#[async_trait]
impl WorkspaceFiles for Tree {
    async fn files(&self, _: &ContainerId, _: &ImageId) -> agentx::Result<Arc<dyn FileSystem>> {
        Ok(self.0.clone())
    }
}

struct Asker {
    client: Client,
    generation: Generation,
    served: Served,
}

impl Asker {
    async fn new(generation: Generation) -> Self {
        let served = serve_with(|server| server.workspace_files(Tree::default())).await;
        Self { client: Client::connect(&served, None).await, generation, served }
    }

    /// Asks for a method, named as the second generation does, in this generation's words.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        match self.generation {
            Generation::First => {
                self.client.request(&method.replace('.', "_").replace("All", "_all"), params).await
            }
            Generation::Second => self.client.call(method, params).await,
            Generation::Third => {
                let method = method.replace("agent.", "instance.");
                let mut params = params;
                if let Some(agent) = params.as_object_mut().unwrap().remove("agentId") {
                    params["instanceId"] = agent;
                }
                self.client.call(&format!("runtime.{method}"), params).await
            }
        }
    }

    /// Asks, and holds the answer against its row: `*` stands for whatever is there, and a list of one for each that it has.
    async fn row(&mut self, method: &str, params: Value, mut expected: Value) -> Value {
        let mut answer = self.ask(method, params).await;
        let members = expected.as_object_mut().unwrap();
        if self.generation == Generation::First {
            members.insert("requestId".to_owned(), json!("*"));
        }
        // Agents have their newer name beside the older one, in every generation.
        for object in [&mut expected, &mut answer] {
            rename(object);
        }
        assert_eq!(differs(&expected, &answer, "it"), None, "{:?} {method}: {answer}", self.generation);
        answer
    }
}

/// Leaves an agent its older name alone, once it was seen that the newer one is the same.
fn rename(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(instance) = members.remove("instanceId") {
                assert_eq!(members.get("agentId"), Some(&instance));
            }
            members.values_mut().for_each(rename);
        }
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}

/// Where an answer is not as expected.
fn differs(expected: &Value, answer: &Value, place: &str) -> Option<String> {
    match (expected, answer) {
        (Value::String(any), answer) if any == "*" => answer.is_null().then(|| format!("{place} is null")),
        (Value::Object(expected), Value::Object(answer)) => {
            let (wanted, found): (Vec<_>, Vec<_>) = (expected.keys().collect(), answer.keys().collect());
            if wanted != found {
                return Some(format!("{place} has {found:?}, not {wanted:?}"));
            }
            expected
                .iter()
                .find_map(|(name, value)| differs(value, &answer[name], &format!("{place}.{name}")))
        }
        (Value::Array(expected), Value::Array(answer)) if expected.len() == answer.len() => {
            expected.iter().zip(answer).find_map(|(expected, answer)| differs(expected, answer, place))
        }
        _ => (expected != answer).then(|| format!("{place} is {answer}, not {expected}")),
    }
}

/// An image's record, as an answer has it that made it, and as lists have it.
fn record(name: &str, running: Option<&Value>, is_listed: bool) -> Value {
    let mut record = json!({"imageId": "*", "containerId": "*", "sessionId": "*", "name": name, "systemPrompt": "Be brief.",
        "createdAt": "*", "updatedAt": "*"});
    if is_listed {
        record["online"] = json!(running.is_some());
    }
    if let Some(agent) = running {
        record["agentId"] = agent.clone();
    }
    record
}

async fn every_row(generation: Generation) {
    let mut asker = Asker::new(generation).await;
    let is_named = generation != Generation::Third;
    if is_named {
        let container = json!({"containerId": "c1"});
        asker.row("container.create", container.clone(), container.clone()).await;
        asker.row("container.create", container.clone(), container.clone()).await;
        asker.row("container.get", container, json!({"containerId": "c1", "exists": true})).await;
        let mut missing = json!({"containerId": "none", "exists": false});
        if generation == Generation::First {
            missing.as_object_mut().unwrap().remove("containerId");
        }
        asker.row("container.get", json!({"containerId": "none"}), missing).await;
        asker.row("container.list", json!({}), json!({"containerIds": ["c1"]})).await;
    }
    let mut spec = json!({"name": "Chat", "systemPrompt": "Be brief."});
    if generation == Generation::First {
        spec = json!({"config": spec});
    }
    if is_named {
        spec["containerId"] = json!("c1");
    }
    let heard = json!(["*"]);
    let made = json!({"record": record("Chat", None, false), "__subscriptions": heard});
    let made = asker.row("image.create", spec, made).await["record"].clone();
    let (image, container) = (json!({"imageId": made["imageId"]}), made["containerId"].clone());
    let in_container = json!({"containerId": container});
    if is_named {
        assert_eq!(container, "c1");
    }

    let idle = record("Chat", None, true);
    asker.row("image.get", image.clone(), json!({"record": idle, "__subscriptions": heard})).await;
    let all = json!({"records": [idle], "__subscriptions": [made["sessionId"]]});
    asker.row("image.list", in_container.clone(), all.clone()).await;
    asker.row("image.list", json!({}), all).await;
    let renamed = json!({"imageId": made["imageId"], "updates": {"name": "Talk"}});
    asker.row("image.update", renamed, json!({"record": record("Talk", None, true)})).await;

    let mut ran = json!({"imageId": made["imageId"], "agentId": "*", "sessionId": made["sessionId"],
        "containerId": container, "reused": false, "__subscriptions": [made["sessionId"]]});
    let run = asker.row("image.run", image.clone(), ran.clone()).await;
    let (agent, id) = (json!({"agentId": run["agentId"]}), run["agentId"].clone());
    ran["reused"] = json!(true);
    ran["agentId"] = id.clone();
    asker.row("image.run", image.clone(), ran).await;
    let online = json!({"record": record("Talk", Some(&id), true), "__subscriptions": heard});
    asker.row("image.get", image.clone(), online).await;

    let shown = json!({"agentId": id, "imageId": made["imageId"], "containerId": container,
        "sessionId": made["sessionId"], "lifecycle": "running", "state": "idle"});
    let mut got = json!({"agent": shown, "exists": true});
    if generation == Generation::First {
        got = shown.clone();
        got["exists"] = json!(true);
    }
    asker.row("agent.get", agent.clone(), got).await;
    asker.row("agent.list", in_container.clone(), json!({"agents": [shown]})).await;
    asker.row("agent.interrupt", agent.clone(), json!({"agentId": id, "imageId": made["imageId"]})).await;
    asker.row("agent.interrupt", image.clone(), json!({"agentId": id, "imageId": made["imageId"]})).await;

    let sent = json!({"agentId": id, "imageId": made["imageId"], "turnId": "*", "__subscriptions": heard});
    let text = json!({"agentId": id, "content": "one"});
    asker.row("message.send", text, sent.clone()).await;
    turn_over(&mut asker, &made["sessionId"], 1).await;
    let parts = json!({"imageId": made["imageId"], "content": [{"type": "text", "text": "two"}]});
    asker.row("message.send", parts, sent).await;
    turn_over(&mut asker, &made["sessionId"], 2).await;
    let user = json!({"id": "*", "role": "user", "subtype": "user", "content": "*", "timestamp": "*"});
    let answered = json!({"id": "*", "role": "assistant", "subtype": "assistant", "content": "*", "timestamp": "*",
        "usage": "*"});
    let said = json!({"imageId": made["imageId"], "messages": [user, answered, user, answered]});
    asker.row("image.messages", image.clone(), said).await;

    if generation == Generation::Third {
        newest_rows(&mut asker, &image, &id).await;
    }

    asker.row("agent.destroy", agent.clone(), json!({"agentId": id, "success": true})).await;
    asker.row("agent.destroy", agent.clone(), json!({"agentId": id, "success": false})).await;
    let mut gone = json!({"agent": null, "exists": false});
    if generation == Generation::First {
        gone.as_object_mut().unwrap().remove("agent");
    }
    asker.row("agent.get", agent, gone).await;
    asker.ask("image.run", image.clone()).await;
    asker.row("agent.destroyAll", in_container.clone(), in_container).await;
    asker.row("agent.list", json!({}), json!({"agents": []})).await;
    asker.row("image.stop", image.clone(), image.clone()).await;
    asker.row("image.delete", image.clone(), image.clone()).await;
    asker.row("image.delete", image.clone(), image.clone()).await;
    let mut gone = json!({"record": null});
    if generation == Generation::First {
        gone = json!({});
    }
    asker.row("image.get", image, gone).await;
    asker.row("image.list", json!({}), json!({"records": []})).await;
}

/// What the third generation alone asks for.
async fn newest_rows(asker: &mut Asker, image: &Value, id: &Value) {
    let messages = asker.ask("image.messages", image.clone()).await["messages"].clone();
    let rewound = json!({"agentId": id, "messageId": messages[1]["id"]});
    asker.row("rewind", rewound, json!({"agentId": id, "truncatedCount": 2})).await;
    let file = |more: Value| {
        let mut params = image.clone();
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let written = file(json!({"path": "a.txt", "content": "x"}));
    asker.row("os.write", written, json!({"success": true})).await;
    let read = json!({"content": "x", "encoding": "utf8", "size": 1});
    asker.row("os.read", file(json!({"path": "a.txt"})), read).await;
    let listed = json!({"files": [{"name": "a.txt", "path": "/a.txt", "type": "file", "size": 1}]});
    asker.row("os.list", image.clone(), listed.clone()).await;
    asker.row("os.list", file(json!({"path": "/"})), listed).await;
}

/// Waits until so many turns are over, as every generation can: a client of the first one hears of nothing that it did not
/// subscribe to.
async fn turn_over(asker: &mut Asker, session: &Value, turns: usize) {
    let topic =
        json!({"jsonrpc": "2.0", "method": "subscribe", "params": {"topic": session, "afterCursor": "0"}});
    let mut listener = Client::connect(&asker.served, None).await;
    listener.say(topic.to_string()).await;
    for _ in 0..turns {
        listener.events_until("turn_response").await;
    }
}

#[tokio::test]
async fn the_first_generation_has_an_answer_to_every_row() {
    every_row(Generation::First).await;
}

#[tokio::test]
async fn the_second_generation_has_an_answer_to_every_row() {
    every_row(Generation::Second).await;
}

#[tokio::test]
async fn the_third_generation_has_an_answer_to_every_row() {
    every_row(Generation::Third).await;
}
