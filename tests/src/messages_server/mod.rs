//! A Messages API on the loopback, which answers from a script.

#![expect(clippy::indexing_slicing, reason = "a field that a JSON value does not have reads as null")]

mod convert;
mod encode;
mod fault;
mod http;
mod serve;
mod validate;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use agentx_core::ScriptedModel;
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

pub use self::{fault::Fault, validate::check_body};

/// A server that speaks the wire format of `POST /v1/messages`, and answers with what a [`ScriptedModel`] says.
///
/// It refuses what the API refuses (a tool call without its result, an empty text, a missing version), so that a client
/// that passes here sends what the API takes. It also answers what the claude CLI asks beside it: `HEAD /`, calls
/// without streaming, and `count_tokens`. It listens on 127.0.0.1 alone, and ends when it is dropped, as do all
/// calls under way.
///
/// ```
/// use agentx_core::{Reply, ScriptedModel};
/// use agentx_tests::messages_server::MessagesServer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let server = MessagesServer::start(ScriptedModel::replies([Reply::text("Hello.")]));
/// // … a client asks at `server.base_url()` …
/// assert!(server.requests().is_empty());
/// # });
/// ```
#[derive(Debug)]
pub struct MessagesServer {
    address: SocketAddr,
    state: Arc<State>,
    accept: JoinHandle<()>,
}

/// A request as it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The method.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body; null where it was no JSON.
    pub body: Value,
}

impl RecordedRequest {
    /// The first header of this name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
struct State {
    model: ScriptedModel,
    requests: Mutex<Vec<RecordedRequest>>,
    counts: Mutex<Vec<RecordedRequest>>,
    faults: Mutex<VecDeque<Fault>>,
    count_faults: Mutex<VecDeque<Fault>>,
    checks_images: AtomicBool,
    /// How many answers stand still.
    stalled: watch::Sender<usize>,
    /// How many answers the client no longer wanted.
    abandoned: watch::Sender<usize>,
    connections: watch::Sender<usize>,
}

impl MessagesServer {
    /// Starts a server that answers with what `model` says. It needs a tokio runtime.
    ///
    /// # Panics
    /// Where it can't listen, or outside a tokio runtime.
    #[expect(clippy::expect_used, reason = "a test without its server has failed")]
    pub fn start(model: ScriptedModel) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on the loopback");
        listener.set_nonblocking(true).expect("a listener of tokio's");
        let address = listener.local_addr().expect("the address of a listener");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a tokio runtime");
        let state = Arc::new(State {
            model,
            requests: Mutex::default(),
            counts: Mutex::default(),
            faults: Mutex::default(),
            count_faults: Mutex::default(),
            checks_images: AtomicBool::new(false),
            stalled: watch::Sender::new(0),
            abandoned: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let accept = tokio::spawn(serve::accept(listener, state.clone()));
        Self { address, state, accept }
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls of `POST /v1/messages` so far, oldest first, refused ones included.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.state.requests).clone()
    }

    /// The calls of `POST /v1/messages/count_tokens` so far, oldest first.
    pub fn counts(&self) -> Vec<RecordedRequest> {
        lock(&self.state.counts).clone()
    }

    /// From now on an image that is none is refused, as the API does it.
    pub fn check_images(&self) {
        self.state.checks_images.store(true, Ordering::Relaxed);
    }

    /// Lets the next call go wrong. Several faults befall one call after another, in the order of their injection.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state.faults).push_back(fault);
    }

    /// Lets the next count of tokens go wrong, with one of the faults that come instead of an answer.
    pub fn inject_into_count(&self, fault: Fault) {
        lock(&self.state.count_faults).push_back(fault);
    }

    /// How many connections clients have opened so far.
    pub fn connections(&self) -> usize {
        *self.state.connections.borrow()
    }

    /// Waits until so many answers in all stood still ([`Fault::Stall`]).
    pub async fn stalled(&self, count: usize) {
        reach(&self.state.stalled, count).await;
    }

    /// Waits until clients in all hung up on so many answers that stood still.
    pub async fn abandoned(&self, count: usize) {
        reach(&self.state.abandoned, count).await;
    }
}

impl Drop for MessagesServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn reach(counter: &watch::Sender<usize>, count: usize) {
    // The sender is alive here, so waiting can't fail.
    let _ = counter.subscribe().wait_for(|so_far| *so_far >= count).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
