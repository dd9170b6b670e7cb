//! Compaction: what is done before a conversation no longer fits a model.

mod apply;
mod estimate;
mod summary;
mod transcript;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::summary::{CompactionOptions, SummaryCompactor};
pub(crate) use self::{
    apply::{History, offload, summarize},
    estimate::{tokens_of, tokens_of_text},
};
use crate::{Compaction, MessageBody, Model, ModelSettings, Result};

/// Decides what becomes of a conversation that grows too long. A [`ToolLoop`](crate::ToolLoop) asks before a model call
/// whose request has more tokens than the loop's share of the model's window, and asks again after each
/// [`CompactionStep::Offload`].
///
/// What it answers is stored, and holds in later turns too. The conversation stays one that a model's API takes, whatever
/// the answer: a result never stays without its call, and thinking that was signed over what is no longer there is left
/// out. [`SummaryCompactor`] is the usual one.
#[async_trait]
pub trait Compactor: fmt::Debug + Send + Sync + 'static {
    /// What to do about this conversation.
    ///
    /// # Errors
    /// Any error fails the turn: the conversation can't go on, and that is told.
    async fn compact(&self, request: CompactionRequest) -> Result<CompactionStep>;
}

/// A conversation that grows too long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CompactionRequest {
    /// The conversation, as the model would be shown it.
    pub messages: Arc<Vec<MessageBody>>,
    /// How many tokens it has, roughly.
    pub tokens: u64,
    /// How many tokens it may have.
    pub limit: u64,
    /// The model's window, in tokens.
    pub window: u64,
    /// The turn's model, to write a summary with. What it uses counts for the turn.
    pub model: Arc<dyn Model>,
    /// Settings of the turn's model calls.
    pub settings: ModelSettings,
}

/// What is done about a conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CompactionStep {
    /// Nothing.
    Nothing,
    /// The outputs of these tool calls are cut to their beginning and end.
    Offload(Vec<String>),
    /// A summary stands for the older messages from here on.
    Summarize(Compaction),
}
