//! A session that another process has, or had when it died.

use std::sync::{Mutex, atomic::AtomicUsize};

use agentx_core::{Repositories, Retry};
use agentx_resource::{Spawn, memory::ManualClock};
use futures::future::{AbortHandle, Abortable};

use super::*;

/// Threads, until it dies: then all that ran is gone where it stood.
#[derive(Debug, Default)]
struct Mortal(Mutex<Vec<AbortHandle>>);

impl Spawn for Mortal {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let (handle, registration) = AbortHandle::new_pair();
        self.0.lock().unwrap().push(handle);
        Threads.spawn(Abortable::new(task, registration).map(drop).boxed());
    }
}

impl Mortal {
    /// Ends all tasks, and waits until they are gone: what waits for the turn hears of it then.
    async fn die(&self, turn: agentx_core::TurnEvents) {
        self.0.lock().unwrap().iter().for_each(AbortHandle::abort);
        assert_eq!(turn.finish().await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

struct Machine {
    clock: ManualClock,
    store: Repositories,
}

impl Machine {
    fn new() -> Self {
        Self { clock: ManualClock::default(), store: Repositories::memory() }
    }

    fn runtime(&self, spawn: Arc<dyn Spawn>, echo: Echo, judge: impl Permission) -> Runtime {
        let clock = Arc::new(self.clock.clone());
        Runtime::builder(echo_once(), Host::new(clock, spawn, Arc::new(support::Ids)))
            .repositories(self.store.clone())
            .tool(Arc::new(echo))
            .permission(Arc::new(judge))
            .build()
            .unwrap()
    }

    fn until_asleep(&self, sleepers: usize) {
        while self.clock.sleepers() != sleepers {
            std::thread::yield_now();
        }
    }

    /// How many sleep while a tool runs: the lease's renewal does, and may begin to after the tool.
    fn sleepers_of(&self, running: &AtomicUsize) -> usize {
        while running.load(Ordering::SeqCst) == 0 || self.clock.sleepers() == 0 {
            std::thread::yield_now();
        }
        self.clock.sleepers()
    }

    /// Lets so many seconds pass, one by one: whoever sleeps is asleep again before the next.
    fn pass(&self, seconds: u64, sleepers: usize) {
        for _ in 0..seconds {
            while self.clock.sleepers() < sleepers {
                std::thread::yield_now();
            }
            self.clock.advance(Duration::from_secs(1));
        }
    }
}

#[test]
fn an_answer_to_one_that_died_is_acted_on_when_its_lease_ends() {
    block_on(async {
        let machine = Machine::new();
        let mortal = Arc::new(Mortal::default());
        let first = machine.runtime(mortal.clone(), Echo::new(), Asks);
        let (_, turn) = asked(&first).await;
        mortal.die(turn).await;

        let second = machine.runtime(Arc::new(Threads), Echo::new(), Asks);
        let agent = agent(&second).await;
        assert_eq!(agent.state(), AgentState::Elsewhere);
        let refused = agent.send("hello?").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert_eq!(refused.retry(), Retry::After(Some(Duration::from_secs(15))));
        let approval = agent.approvals().await.unwrap().remove(0);
        second.answer(&approval.approval_id, Decision::Allow).await.unwrap();
        machine.pass(14, 1);
        assert_eq!((agent.state(), agent.history().await.unwrap().len()), (AgentState::Elsewhere, 2));
        machine.pass(1, 1);
        let end = until(&agent, 0, |event| matches!(event, EventData::TurnResponse { .. })).await;
        assert!(
            matches!(&end.data, EventData::TurnResponse { outcome, .. } if outcome.as_str() == "completed")
        );
        assert_eq!(texts(&agent).await.last().unwrap(), r#"assistant: it is {"x":1}"#);
    });
}

#[test]
fn what_one_left_that_died_at_work_is_closed_when_its_lease_ends() {
    block_on(async {
        let machine = Machine::new();
        let mortal = Arc::new(Mortal::default());
        let (echo, _open) = Echo::gated();
        let first = machine.runtime(mortal.clone(), echo, agentx_core::AllowAll);
        let (_, turn) = at_work(&first).await;
        mortal.die(turn).await;
        let second = machine.runtime(Arc::new(Threads), Echo::new(), agentx_core::AllowAll);
        let agent = agent(&second).await;
        let id = agent.queue("and now?").await.unwrap();
        machine.pass(15, 1);
        // The queued message has its turn behind what was cut off.
        let mut ends = agent.subscribe_from(0);
        let mut outcomes = Vec::new();
        while outcomes.len() < 2 {
            if let EventData::TurnResponse { outcome, .. } = &ends.next().await.unwrap().data {
                outcomes.push(outcome.as_str().to_owned());
            }
        }
        assert_eq!(outcomes, ["failed", "completed"]);
        assert!(agent.history().await.unwrap().iter().any(|message| message.id == id));
    });
}

#[test]
fn what_another_stores_while_it_has_the_session_is_told_here() {
    block_on(async {
        let machine = Machine::new();
        let (echo, open) = Echo::gated();
        let running = echo.running.clone();
        let first = machine.runtime(Arc::new(Threads), echo, agentx_core::AllowAll);
        let (busy, turn) = at_work(&first).await;
        let sleepers = machine.sleepers_of(&running);
        let second = machine.runtime(Arc::new(Threads), Echo::new(), agentx_core::AllowAll);
        let agent = agent(&second).await;
        let mut events = agent.subscribe();
        machine.until_asleep(sleepers + 1);
        open.send(()).unwrap();
        assert_eq!(turn.finish().await.unwrap().outcome.as_str(), "completed");
        assert_eq!(agent.state(), AgentState::Elsewhere, "it has not looked yet");
        machine.pass(2, 1);
        while !matches!(events.next().await.unwrap().data, EventData::TurnResponse { .. }) {}
        while agent.state() != AgentState::Idle {
            std::thread::yield_now();
        }
        // Nobody looks on any more.
        machine.until_asleep(0);
        assert_eq!(agent.ask("me too").await.unwrap().outcome.as_str(), "completed");
        drop(busy);
    });
}

#[test]
fn who_looks_on_ends_with_the_agent() {
    block_on(async {
        let machine = Machine::new();
        let (echo, _open) = Echo::gated();
        let running = echo.running.clone();
        let first = machine.runtime(Arc::new(Threads), echo, agentx_core::AllowAll);
        let (_busy, _turn) = at_work(&first).await;
        let sleepers = machine.sleepers_of(&running);
        for way in 0..3 {
            let second = machine.runtime(Arc::new(Threads), Echo::new(), agentx_core::AllowAll);
            let agent = agent(&second).await;
            assert_eq!(agent.state(), AgentState::Elsewhere);
            machine.until_asleep(sleepers + 1);
            match way {
                0 => agent.close().await.unwrap(),
                1 => second.shutdown(Duration::ZERO).await.unwrap(),
                _ => drop(second),
            }
            machine.until_asleep(sleepers);
        }
    });
}
