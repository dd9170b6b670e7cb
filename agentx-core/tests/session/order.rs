//! Tools that run together end in any order; what a model is shown of them is the same.

use std::{collections::HashMap, sync::Mutex};

use agentx_core::{Tool, ToolContext, ToolDefinition};
use futures::channel::oneshot::{self, Receiver, Sender};
use serde_json::Value;

use super::*;

const CALLS: [&str; 3] = ["a", "b", "c"];

/// Ends each of its calls when it is told to.
#[derive(Debug)]
struct Gates {
    definition: ToolDefinition,
    gates: Mutex<HashMap<String, Receiver<()>>>,
}

impl Gates {
    fn new() -> (Self, HashMap<&'static str, Sender<()>>) {
        let (mut open, mut gates) = (HashMap::new(), HashMap::new());
        for call in CALLS {
            let (opens, gate) = oneshot::channel();
            open.insert(call, opens);
            gates.insert(call.to_owned(), gate);
        }
        let definition = ToolDefinition::new("gate", "Waits.", json!({"type": "object"}));
        (Self { definition, gates: Mutex::new(gates) }, open)
    }
}

#[async_trait]
impl Tool for Gates {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, _: ToolContext) -> Result<ToolOutput> {
        let name = input["name"].as_str().unwrap().to_owned();
        let gate = self.gates.lock().unwrap().remove(&name).unwrap();
        // A gate that is gone is never opened.
        if gate.await.is_err() {
            futures::future::pending::<()>().await;
        }
        Ok(ToolOutput::text(name))
    }
}

/// Asks for all three at once. Keeps what it is shown.
fn three(shown: &Arc<Mutex<Vec<Value>>>) -> ToolLoop<ScriptedModel> {
    let shown = Arc::clone(shown);
    ToolLoop::new(ScriptedModel::new("scripted", move |request| {
        shown.lock().unwrap().push(json!(*request.messages));
        let call = |reply: Reply, name: &str| reply.call(name, "gate", json!({"name": name}));
        let asks = request.messages.len() == 1;
        Ok(if asks { CALLS.into_iter().fold(Reply::text("look"), call) } else { Reply::text("done") })
    }))
}

fn runtime(world: &World, driver: ToolLoop<ScriptedModel>, gates: Gates) -> Runtime {
    let repositories = Repositories::shared(world.store.clone());
    let builder = Runtime::builder(driver, world.host.clone()).repositories(repositories);
    builder.tool(Arc::new(gates)).build().unwrap()
}

fn call_of(message: &Message) -> Option<&str> {
    match &message.body {
        MessageBody::Tool(result) => result.tool_call_id.strip_prefix("call_")?.strip_suffix("_1"),
        _ => None,
    }
}

/// Begins the three calls, and lets those of `order` end in it.
async fn work(world: &World, driver: ToolLoop<ScriptedModel>, order: &[&str]) -> (Runtime, Agent) {
    let (gates, mut open) = Gates::new();
    let runtime = runtime(world, driver, gates);
    let agent = agent(&runtime).await;
    let mut turn = agent.send("go").await.unwrap();
    for name in order {
        open.remove(name).unwrap().send(()).unwrap();
        let told = loop {
            let event = turn.next().await.unwrap();
            if let EventData::ToolCompleted { result, .. } = &event.data {
                break result.to_text();
            }
        };
        assert_eq!(told, *name, "events come as it happens");
    }
    if order.len() == CALLS.len() {
        turn.finish().await.unwrap();
    }
    (runtime, agent)
}

#[test]
fn a_model_is_shown_the_results_in_the_order_of_its_calls_whichever_ends_first() {
    block_on(async {
        let mut seen = Vec::new();
        for order in [["a", "b", "c"], ["a", "c", "b"], ["b", "c", "a"], ["c", "b", "a"]] {
            let (world, shown) = (World::new(), Arc::default());
            let (_runtime, agent) = work(&world, three(&shown), &order).await;
            let stored = agent.messages(MessagePage::first(100)).await.unwrap();
            let stored: Vec<_> = stored.iter().filter_map(|stored| call_of(&stored.message)).collect();
            assert_eq!(stored, order, "each is stored when it ends");
            let history = agent.history().await.unwrap();
            assert_eq!(history.iter().filter_map(call_of).collect::<Vec<_>>(), CALLS);
            agent.ask("and then?").await.unwrap();
            agent.close().await.unwrap();
            // Who reads it from the store shows the same.
            let again = runtime(&world, three(&shown), Gates::new().0);
            super::agent(&again).await.ask("and now?").await.unwrap();
            seen.push(shown.lock().unwrap().iter().map(Value::to_string).collect::<Vec<_>>());
        }
        assert_eq!(seen[0].len(), 4);
        assert!(seen.iter().all(|shown| *shown == seen[0]), "{seen:#?}");
    });
}

#[test]
fn a_crash_between_two_results_loses_neither_and_leaves_them_in_their_places() {
    block_on(async {
        let (world, shown) = (World::new(), Arc::default());
        let (first, agent) = work(&world, three(&shown), &["c", "a"]).await;
        drop((agent, first));
        world.clock.0.store(60, Ordering::SeqCst);
        let again = runtime(&world, three(&shown), Gates::new().0);
        let agent = super::agent(&again).await;
        let stored = agent.messages(MessagePage::first(100)).await.unwrap();
        let stored: Vec<_> = stored.iter().filter_map(|stored| call_of(&stored.message)).collect();
        assert_eq!(stored, ["c", "a", "b"]);
        agent.ask("and then?").await.unwrap();
        let shown = shown.lock().unwrap().last().unwrap().clone();
        let outputs: Vec<_> = (2..5).map(|place| shown[place]["output"]["value"].as_str().unwrap()).collect();
        assert!(outputs[0] == "a" && outputs[1].contains("unknown") && outputs[2] == "c", "{outputs:?}");
    });
}
