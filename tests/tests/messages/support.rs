use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use agentx_core::{
    BlockChange, BlockKind, Error, MessageAssembler, Model, ModelEvent, ModelRequest, Reply, Result,
    ScriptedModel,
};
use agentx_driver_claude::messages::{MessagesModel, ReqwestTransport};
use agentx_resource::{ApiSupply, BoxFuture, Clock, memory::MemoryLlmProvider};
use agentx_tests::messages_server::MessagesServer;
use futures::{FutureExt, StreamExt, future};

pub(crate) const KEY: &str = "sk-ant-planted-key";

/// A clock on which each wait between tries is over at once, and is noted. Longer waits, which bound a silence, last
/// until the test ends them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestClock {
    waits: Arc<Mutex<Vec<Duration>>>,
}

/// What bounds a silence in these tests is longer than this; what stands between two tries is not.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The waits for the end of a response and for the body of a refusal; of no interest here.
const BODY_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

impl TestClock {
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.waits.lock().unwrap().clone()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration > LONGEST_WAIT || BODY_WAITS.contains(&duration) {
            return future::pending().boxed();
        }
        self.waits.lock().unwrap().push(duration);
        future::ready(()).boxed()
    }
}

pub(crate) fn client(server: &MessagesServer, clock: impl Clock) -> MessagesModel {
    let supply = ApiSupply::new(KEY).with_base_url(server.base_url());
    let supply = MemoryLlmProvider::new("test", supply);
    MessagesModel::new(Arc::new(supply), ReqwestTransport::new().unwrap(), Arc::new(clock))
}

/// A server that says this to any request.
pub(crate) fn says(reply: Reply) -> MessagesServer {
    MessagesServer::start(ScriptedModel::new("claude-test", move |_| Ok(reply.clone())))
}

pub(crate) async fn ask(model: &impl Model, request: ModelRequest) -> Vec<Result<ModelEvent>> {
    model.call(request).collect().await
}

pub(crate) async fn answer(model: &impl Model, request: ModelRequest) -> Vec<ModelEvent> {
    ask(model, request).await.into_iter().map(|event| event.unwrap()).collect()
}

/// What was told, and the error after it.
pub(crate) fn broken(mut events: Vec<Result<ModelEvent>>) -> (Vec<ModelEvent>, Error) {
    let error = events.pop().unwrap().unwrap_err();
    (events.into_iter().map(|event| event.unwrap()).collect(), error)
}

pub(crate) fn text(events: &[ModelEvent]) -> String {
    let mut message = MessageAssembler::new();
    for event in events {
        message.push(event);
    }
    message.finish().text()
}

/// Without counts, and with a tool's input in one piece: the wire has its own pieces and more counts.
pub(crate) fn essence(events: &[ModelEvent]) -> Vec<ModelEvent> {
    events.iter().filter(|event| !matches!(event, ModelEvent::Usage(_))).cloned().collect()
}

pub(crate) fn start(index: u32, kind: BlockKind) -> ModelEvent {
    ModelEvent::Block { index, change: BlockChange::Start(kind) }
}
