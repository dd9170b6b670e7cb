//! A host for tests: time stands still, tasks are threads, ids count.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentx_core::{
    Error, ErrorKind, Host, IdSource, Message, MessageBody, MessageId, Result, SequentialIds, Timestamp,
    Tool, ToolContext, ToolDefinition, ToolOutput,
};
use agentx_resource::{BoxFuture, Clock, Spawn};
use async_trait::async_trait;
use futures::{FutureExt, channel::oneshot, future};
use serde_json::{Value, json};

#[derive(Debug)]
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() { future::ready(()).boxed() } else { future::pending().boxed() }
    }
}

/// A minute later, and still too: every lease has ended.
#[derive(Debug)]
pub(crate) struct Later;

impl Clock for Later {
    fn now(&self) -> SystemTime {
        StillClock.now() + Duration::from_mins(1)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        StillClock.sleep(duration)
    }
}

#[derive(Debug)]
pub(crate) struct Threads;

impl Spawn for Threads {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        std::thread::spawn(move || futures::executor::block_on(task));
    }
}

pub(crate) fn host() -> Host {
    Host::new(Arc::new(StillClock), Arc::new(Threads), Arc::new(SequentialIds::new()))
}

/// Ids that no other process gives.
#[derive(Debug, Default)]
pub(crate) struct Ids;

impl IdSource for Ids {
    fn fresh(&self) -> String {
        static GIVEN: AtomicU64 = AtomicU64::new(1);
        format!("u{}", GIVEN.fetch_add(1, Ordering::Relaxed))
    }
}

pub(crate) fn user(text: &str) -> Message {
    Message::new(MessageId::new("msg_user").unwrap(), Timestamp::from_millis(1), MessageBody::user(text))
}

/// A tool that says what it was given, fails when told to, and counts how many of its calls are under way.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    definition: Option<ToolDefinition>,
    pub(crate) running: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
    /// Where set, every call waits here until it is released or dropped.
    pub(crate) gate: Mutex<Option<future::Shared<oneshot::Receiver<()>>>>,
}

struct Under(Arc<AtomicUsize>);

impl Drop for Under {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Echo {
    pub(crate) fn new() -> Self {
        let definition = ToolDefinition::new("echo", "Says what it was given.", json!({"type": "object"}));
        Self { definition: Some(definition), ..Self::default() }
    }

    pub(crate) fn gated() -> (Self, oneshot::Sender<()>) {
        let (open, gate) = oneshot::channel();
        let echo = Self::new();
        *echo.gate.lock().unwrap() = Some(gate.shared());
        (echo, open)
    }
}

#[async_trait]
impl Tool for Echo {
    fn definition(&self) -> &ToolDefinition {
        self.definition.as_ref().unwrap()
    }

    async fn call(&self, input: Value, _context: ToolContext) -> Result<ToolOutput> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let under = Under(self.running.clone());
        self.most.fetch_max(running, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            let _ = gate.await;
        }
        drop(under);
        match input["do"].as_str() {
            Some("fail") => Err(Error::new(ErrorKind::NotFound, "echo").with_message("as asked")),
            Some("panic") => panic!("as asked"),
            _ => Ok(ToolOutput::Text(input.to_string())),
        }
    }
}
