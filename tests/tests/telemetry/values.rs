//! What is planted, to be seen or not to be seen.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use agentx::{
    Model,
    core::{ModelEvent, ModelRequest, ModelStream},
};
use futures::Stream;

pub(crate) const PROMPT: &str = "You are a planted prompt.";
pub(crate) const SECRET: &str = "sk-planted-secret";

/// A model that knows the stream that it gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Canary(Arc<Mutex<usize>>);

/// Says nothing. It takes room, so that it has an address of its own.
struct Silent(u8);

impl Stream for Silent {
    type Item = agentx::Result<ModelEvent>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0 += 1;
        Poll::Ready(None)
    }
}

impl Canary {
    /// Whether a stream is the one that was given.
    pub(crate) fn is_given(&self, stream: &ModelStream) -> bool {
        address(stream) == *self.0.lock().unwrap()
    }
}

fn address(stream: &ModelStream) -> usize {
    std::ptr::from_ref(&**stream).cast::<u8>().addr()
}

impl Model for Canary {
    fn name(&self) -> &'static str {
        "canary"
    }

    fn call(&self, _: ModelRequest) -> ModelStream {
        let stream: ModelStream = Box::pin(Silent(0));
        *self.0.lock().unwrap() = address(&stream);
        stream
    }
}
