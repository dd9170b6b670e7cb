//! What is sent with a message, and what an agent is called: both outlive the process that was told.

use std::sync::Mutex;

use agentx_core::AgentId;
use serde_json::Value;

use super::*;

/// Keeps what each turn was sent with.
#[derive(Debug)]
struct Notes<D> {
    driver: D,
    seen: Seen,
}

impl<D: Driver> Driver for Notes<D> {
    fn name(&self) -> &str {
        self.driver.name()
    }

    fn start(&self, turn: Turn) -> DriverStream {
        self.seen.lock().unwrap().push(turn.options.as_deref().cloned());
        self.driver.start(turn)
    }
}

type Seen = Arc<Mutex<Vec<Option<Value>>>>;

fn notes() -> (Notes<ToolLoop<ScriptedModel>>, Seen) {
    let seen = Arc::default();
    (Notes { driver: echo_once(), seen: Arc::clone(&seen) }, seen)
}

fn parts(text: &str) -> Vec<ContentPart> {
    vec![ContentPart::text(text)]
}

#[test]
fn a_message_that_was_queued_with_options_has_them_in_its_turn_also_after_a_restart() {
    block_on(async {
        let world = World::new();
        let (echo, _open) = Echo::gated();
        let first = world.runtime(echo_once(), echo);
        let (busy, _turn) = at_work(&first).await;
        let options = json!({"model": "small"});
        busy.queue_with(parts("with"), Some(Arc::new(options.clone()))).await.unwrap();
        let last = busy.queue("without").await.unwrap();
        drop(first);

        let (driver, seen) = notes();
        let second = world.runtime(driver, Echo::new());
        let agent = agent(&second).await;
        let begun = until(
            &agent,
            0,
            |event| matches!(event, EventData::TurnRequest { message_id, .. } if *message_id == last),
        )
        .await;
        until(&agent, begun.seq, |event| matches!(event, EventData::TurnResponse { .. })).await;
        assert_eq!(*seen.lock().unwrap(), [Some(options), None]);
    });
}

#[test]
fn a_turn_that_goes_on_behind_an_approval_elsewhere_has_its_options() {
    block_on(async {
        let world = World::new();
        let first = world.judged(echo_once(), Echo::new(), Asks);
        let asking = agent(&first).await;
        let options = json!({"model": "small"});
        let mut turn = asking.send_with(parts("go"), Some(Arc::new(options.clone()))).await.unwrap();
        while !matches!(turn.next().await.unwrap().data, EventData::ApprovalRequested { .. }) {}
        drop(first);

        let (driver, seen) = notes();
        let second = world.judged(driver, Echo::new(), Asks);
        let agent = agent(&second).await;
        let approval = agent.approvals().await.unwrap().remove(0);
        second.answer(&approval.approval_id, Decision::Allow).await.unwrap();
        until(&agent, 0, |event| matches!(event, EventData::TurnResponse { .. })).await;
        assert_eq!(*seen.lock().unwrap(), [Some(options)]);
    });
}

#[test]
fn an_agent_has_the_id_that_it_is_run_as() {
    block_on(async {
        let world = World::new();
        let first = world.runtime(counting(), Echo::new());
        let image = agent(&first).await.image_id().clone();
        first.stop(&image).await;
        let (one, other) = (AgentId::new("agent_1").unwrap(), AgentId::new("agent_2").unwrap());
        let named = first.run_as(&image, &one).await.unwrap();
        assert_eq!(named.id(), &one);
        assert_eq!(first.run_as(&image, &other).await.unwrap(), named, "it runs, and stays the same");
        assert_eq!(first.run(&image).await.unwrap(), named);
        let end = named.send("hi").await.unwrap();
        assert!(end.collect::<Vec<_>>().await.iter().all(|event| event.context.agent_id == one));
        drop(first);
        let second = world.runtime(counting(), Echo::new());
        let again = second.run_as(&image, &one).await.unwrap();
        assert_eq!((again.id(), again == named), (&one, false));
        assert_eq!(again.ask("and on").await.unwrap().text, "3 to and on");
    });
}

#[test]
fn a_rewind_notes_what_it_keeps_and_how_much_it_takes_back() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(counting(), Echo::new());
        let agent = agent(&runtime).await;
        for text in ["one", "two", "three"] {
            agent.ask(text).await.unwrap();
        }
        let history = agent.history().await.unwrap();
        let id = |place: usize| history[place].id.clone();
        let noted = async || {
            let event = agent.history().await.unwrap().pop().unwrap();
            match event.body {
                MessageBody::Rewind { before, kept, removed } => (before, kept, removed),
                other => panic!("{other:?}"),
            }
        };
        runtime.rewind_image(agent.image_id(), &id(4)).await.unwrap();
        assert_eq!(noted().await, (id(4), Some(id(3)), 2));
        // What an earlier one took back counts no more, and is not what is kept.
        agent.ask("3").await.unwrap();
        let said = agent.history().await.unwrap()[7].id.clone();
        runtime.rewind_image(agent.image_id(), &said).await.unwrap();
        assert_eq!(noted().await, (said, Some(id(3)), 2));
        runtime.rewind_image(agent.image_id(), &id(2)).await.unwrap();
        assert_eq!(noted().await, (id(2), Some(id(1)), 2));
        runtime.rewind_image(agent.image_id(), &id(0)).await.unwrap();
        assert_eq!(noted().await, (id(0), None, 2));
        assert_eq!(agent.ask("anew").await.unwrap().text, "1 to anew");
    });
}
