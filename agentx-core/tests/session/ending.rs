//! The end of an agent and of a runtime, for which a program can wait.

use agentx_core::ToolSet;

use super::*;

#[test]
fn an_agent_that_is_closed_leaves_its_session_free() {
    block_on(async {
        let world = World::new();
        let runtime = world.judged(echo_once(), Echo::new(), Asks);
        let (agent, turn) = asked(&runtime).await;
        agent.close().await.unwrap();
        agent.close().await.unwrap();
        assert_eq!(turn.finish().await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(agent.send("hello?").await.unwrap_err().kind(), ErrorKind::Cancelled);
        let lease = runtime.lease(agent.image_id()).await.unwrap();
        assert!(lease.is_none_or(|lease| lease.until == Timestamp::default()), "others need not wait");

        // The approval waits for whoever opens the image next, here or elsewhere.
        let next = runtime.run(agent.image_id()).await.unwrap();
        assert!(next.id() != agent.id());
        assert_eq!(next.state(), AgentState::AwaitingApproval);
        next.close().await.unwrap();
        let other = world.judged(echo_once(), Echo::new(), Asks);
        let again = super::agent(&other).await;
        assert_eq!(again.state(), AgentState::AwaitingApproval);
        assert_eq!(again.approvals().await.unwrap().len(), 1);
    });
}

#[test]
fn a_turn_that_is_left_stands_as_it_is_stored() {
    block_on(async {
        let world = World::new();
        let (echo, _open) = Echo::gated();
        let running = echo.running.clone();
        let runtime = world.runtime(echo_once(), echo);
        let (agent, _turn) = at_work(&runtime).await;
        let stored = agent.history().await.unwrap();
        agent.close().await.unwrap();
        assert_eq!((agent.is_closed(), agent.state()), (true, AgentState::Idle));
        assert!(agent.subscribe().next().now_or_never().unwrap().is_none(), "nothing more comes");
        assert_eq!(running.load(Ordering::SeqCst), 0, "the tool is gone");
        assert_eq!(agent.history().await.unwrap(), stored);
        let next = super::agent(&runtime).await;
        assert_eq!(next.history().await.unwrap().len(), stored.len() + 2, "a result and the reason");
    });
}

#[test]
fn a_runtime_that_is_shut_down_lets_turns_end() {
    block_on(async {
        let world = World::new();
        let (echo, open) = Echo::gated();
        let runtime = world.runtime(echo_once(), echo);
        let (agent, turn) = at_work(&runtime).await;
        agent.queue("later").await.unwrap();
        let mut down = Box::pin(runtime.shutdown(Duration::from_mins(1)));
        assert!((&mut down).now_or_never().is_none());
        assert_eq!(runtime.run(agent.image_id()).await.unwrap_err().kind(), ErrorKind::Cancelled);
        open.send(()).unwrap();
        down.await.unwrap();
        assert_eq!(turn.finish().await.unwrap().outcome.as_str(), "completed");
        assert_eq!(agent.queued().await.unwrap().len(), 1, "it waits for whoever opens the image next");
        let second = world.runtime(echo_once(), Echo::new());
        let next = super::agent(&second).await;
        assert!(next.state() != AgentState::Elsewhere);
        until(&next, 0, |event| matches!(event, EventData::UserMessage(said) if said.body.text() == "later"))
            .await;
    });
}

#[test]
fn a_shutdown_that_nobody_waits_for_ends_turns_at_once() {
    block_on(async {
        let world = World::new();
        let (echo, _open) = Echo::gated();
        let runtime = world.runtime(echo_once(), echo);
        let (_agent, turn) = at_work(&runtime).await;
        assert!(runtime.shutdown(Duration::from_mins(1)).now_or_never().is_none());
        assert_eq!(turn.finish().await.unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn a_shutdown_waits_neither_for_approvals_nor_for_ever() {
    block_on(async {
        let world = World::new();
        let runtime = world.judged(echo_once(), Echo::new(), Asks);
        let (agent, _turn) = asked(&runtime).await;
        // The clock stands still: who waits, waits for ever.
        runtime.shutdown(Duration::from_mins(1)).await.unwrap();
        assert_eq!(agent.approvals().await.unwrap().len(), 1);

        let world = World::new();
        let (echo, _open) = Echo::gated();
        let runtime = world.runtime(echo_once(), echo);
        let (agent, turn) = at_work(&runtime).await;
        runtime.shutdown(Duration::ZERO).await.unwrap();
        assert_eq!(turn.finish().await.unwrap_err().kind(), ErrorKind::Cancelled);
        let lease = runtime.lease(agent.image_id()).await.unwrap();
        assert!(lease.is_none_or(|lease| lease.until == Timestamp::default()));
        runtime.shutdown(Duration::ZERO).await.unwrap();
    });
}

#[test]
fn a_sub_agent_that_waited_for_an_approval_is_told_as_such() {
    block_on(async {
        let world = World::new();
        let helper = || {
            let tools = ToolSet::of([Arc::new(Echo::new()) as Arc<dyn agentx_core::Tool>]).unwrap();
            agentx_core::AgentTool::new("helper", "Helps.", echo_once()).with_tools(tools)
        };
        let open = || {
            let model = ScriptedModel::new("scripted", |request| match request.answer("h") {
                None => Ok(Reply::default().call("h", "helper", json!({"prompt": "help"}))),
                Some(output) => Ok(Reply::text(output.to_text())),
            });
            Runtime::builder(ToolLoop::new(model), world.host.clone())
                .repositories(Repositories::shared(world.store.clone()))
                .tool(Arc::new(helper()))
                .permission(Arc::new(AsksAboutEcho))
                .build()
                .unwrap()
        };
        let first = open();
        let agent = agent(&first).await;
        let mut turn = agent.send("go").await.unwrap();
        while agent.approvals().await.unwrap().is_empty() {
            turn.next().await.unwrap();
        }
        agent.close().await.unwrap();
        let second = open();
        let agent = super::agent(&second).await;
        let history = agent.history().await.unwrap();
        let told = history.iter().find_map(|message| match &message.body {
            MessageBody::Tool(result) => Some(result.output.to_text()),
            _ => None,
        });
        let told = told.unwrap();
        assert!(told.contains(r#"waited for an approval of "echo". That call was not run"#), "{told}");
        assert_eq!(agent.approvals().await.unwrap(), []);
    });
}

#[derive(Debug)]
struct AsksAboutEcho;

#[async_trait]
impl Permission for AsksAboutEcho {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(if request.call.name == "echo" { Decision::Ask("may I?".to_owned()) } else { Decision::Allow })
    }
}
