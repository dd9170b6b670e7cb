//! A client of one model: one request, one answer as a stream.

mod assembler;
mod overflow;
mod request;
mod scripted;
mod settings;
mod table;

use std::{fmt, sync::Arc};

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use self::{
    assembler::MessageAssembler,
    overflow::ContextOverflow,
    request::ModelRequest,
    scripted::{Reply, ScriptedModel},
    settings::{Effort, ModelSettings, Thinking, ThinkingDisplay, ToolChoice},
    table::{LongPrompt, ModelCapabilities, ModelInfo, ModelTable, Prices},
};
use crate::{Result, StopDetails, StopReason, Usage};

/// The answer to one request, as it comes. It ends after [`ModelEvent::Stop`], or with one error.
pub type ModelStream = BoxStream<'static, Result<ModelEvent>>;

/// One call, one answer. [`ToolLoop`](crate::ToolLoop) makes a [`Driver`](crate::Driver) of it.
///
/// 1. An answer is complete only if it ended with [`ModelEvent::Stop`]. A stream that ends without it is an error.
/// 2. Retries are the model's own business until something was told; after that it tells
///    [`ModelEvent::Restarted`] before it begins anew.
/// 3. Dropping the stream ends the call.
pub trait Model: fmt::Debug + Send + Sync + 'static {
    /// The name of what answers, for people.
    fn name(&self) -> &str;

    /// Asks the model. Errors come in the stream.
    fn call(&self, request: ModelRequest) -> ModelStream;
}

impl<T: Model + ?Sized> Model for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        (**self).call(request)
    }
}

/// A step of a model's answer. Blocks may interleave; each has its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelEvent {
    /// The answer begins. One before it that has content and no [`ModelEvent::Stop`] ends with this, as far as it came.
    Start {
        /// The model that answers, as it names itself.
        model: String,
    },
    /// A block of the answer begins, grows or ends.
    Block {
        /// Which block: each has an index of its own in its answer.
        index: u32,
        /// What happens to it.
        change: BlockChange,
    },
    /// What the call has used so far, all counts from its beginning.
    Usage(Usage),
    /// Why the model stops, beyond the reason's name. It comes before [`ModelEvent::Stop`], where there is anything to
    /// tell.
    StopDetails(StopDetails),
    /// The answer is complete.
    Stop(StopReason),
    /// The provider refused a part of the request, which was left out: the answer is to the rest. It comes before the
    /// answer begins, once for each part.
    Omitted {
        /// What it was, such as `image/png`.
        media_type: String,
        /// Why, for people.
        reason: String,
    },
    /// All that was told of this answer is void; it begins anew.
    Restarted {
        /// Why, for people.
        reason: String,
    },
}

/// What happens to a block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockChange {
    /// It begins.
    Start(BlockKind),
    /// Text is added.
    Text(String),
    /// Thinking is added.
    Thinking(String),
    /// The signature over the thinking.
    Signature(String),
    /// A piece of a tool input's JSON text is added.
    InputJson(String),
    /// It is complete.
    Stop,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockKind {
    /// Text.
    Text,
    /// Thinking.
    Thinking,
    /// A call of one of the request's tools.
    ToolUse {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// Something that only the provider understands, as its JSON text.
    Opaque {
        /// Whose it is.
        provider: String,
        /// The block.
        json: String,
    },
}
