//! What reaches a turn from outside while it runs: an interrupt, an answer to an approval; tools and permissions that are
//! recorded themselves.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use agentx::{
    Decision, EventData, Permission, PermissionRequest, Reply, ScriptedModel, Tool, async_trait,
    core::{BlockChange, ModelEvent, ModelRequest, ModelStream},
    tool_fn,
};
use futures::stream;
use serde_json::{Value, json};

use super::*;

/// Says three words, and then nothing more.
#[derive(Debug)]
struct Endless;

impl Model for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        let script = ScriptedModel::replies([Reply::text("one two three four")]);
        let events = script.reply(&request).unwrap();
        let is_last = |event: &ModelEvent| matches!(event, ModelEvent::Block { change: BlockChange::Text(text), .. } if text == "four");
        let said: Vec<_> = events.into_iter().take_while(|event| !is_last(event)).map(Ok).collect();
        stream::iter(said).chain(stream::pending()).boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_comes_where_it_came() {
    let play = async |run: &Run| {
        let recording = run.recording().await;
        let model = recording.model("m", || Ok(Endless)).unwrap();
        let agent = agentx::agent(model).recording(&recording).build().await.unwrap();
        let mut turn = agent.send("Count.").await.unwrap();
        let mut told = Vec::new();
        while let Some(event) = turn.next().await {
            told.push(format!("{event:?}"));
            if matches!(&event.data, EventData::TextDelta { text } if text == "three ") {
                recording.mark("interrupt").await.unwrap();
                agent.interrupt().await;
            }
        }
        told.push(format!("{:?} {:?}", turn.finish().await.unwrap(), agent.history().await.unwrap()));
        recording.finish().await.unwrap();
        told
    };
    let run = Run::new();
    let recorded = play(&run).await;
    let run = run.replayed();
    for _ in 0..20 {
        assert_eq!(play(&run).await, recorded);
    }
}

/// Asks a person, who is not there in a replay.
#[derive(Debug)]
struct Person(Arc<AtomicUsize>);

#[async_trait]
impl Permission for Person {
    async fn decide(&self, request: PermissionRequest) -> agentx::Result<Decision> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(match request.call.name.as_str() {
            "pay" => Decision::Ask("It is money.".to_owned()),
            _ => Decision::AllowWith(json!({"seconds": 0.25})),
        })
    }
}

fn wait(ran: Arc<AtomicUsize>) -> Arc<dyn Tool> {
    Arc::new(tool_fn("wait", "Waits.", json!({"type": "object"}), move |input: Value| {
        let ran = ran.clone();
        async move {
            ran.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(json!({"waited": input.get("seconds"), "precisely": 0.1 + 0.2}))
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_permissions_and_tools_are_replayed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let play = async |run: &Run| {
        let recording = run.recording().await;
        let script = ScriptedModel::new("scripted", |request| match request.answer("pay") {
            None => Ok(Reply::text("Both.").call("wait", "wait", json!({"seconds": 1})).call(
                "pay",
                "pay",
                json!({}),
            )),
            Some(output) => Ok(Reply::text(output.to_text())),
        });
        let model = recording.model("m", || Ok(script)).unwrap();
        let permission = recording.permission(|| Ok(Arc::new(Person(asked.clone())))).unwrap();
        let tool = recording.tool("wait", || Ok(wait(asked.clone()))).unwrap();
        let pay = tool_fn("pay", "Pays.", json!({"type": "object"}), |_: Value| async { Ok("paid") });
        let agent = agentx::agent(model).recording(&recording).permission(permission).tool(tool).tool(pay);
        let agent = agent.build().await.unwrap();
        let mut turn = agent.send("Wait and pay.").await.unwrap();
        let (mut told, mut pending, mut waited) = (Vec::new(), None, false);
        while let Some(event) = turn.next().await {
            told.push(format!("{event:?}"));
            match &event.data {
                EventData::ApprovalRequested { approval_id, .. } => pending = Some(approval_id.clone()),
                EventData::ToolCompleted { tool_name, .. } => waited |= tool_name == "wait",
                _ => {}
            }
            if waited && let Some(approval) = pending.take() {
                recording.mark("approve").await.unwrap();
                agent.runtime().answer(&approval, Decision::Allow).await.unwrap();
            }
        }
        let report = turn.finish().await.unwrap();
        assert!(report.text.ends_with("paid"), "{report:?}");
        told.push(format!("{report:?} {:?}", agent.history().await.unwrap()));
        recording.finish().await.unwrap();
        told
    };
    let run = Run::new();
    let recorded = play(&run).await;
    assert_eq!(asked.load(Ordering::SeqCst), 3, "two decisions and a tool");
    let run = run.replayed();
    for _ in 0..20 {
        assert_eq!(play(&run).await, recorded);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3, "a replay asks nobody");
}
