use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use super::Metadata;
use crate::Result;

/// A write under way. Nothing is visible before [`FileWriter::close`]; dropping it, or a failed `write`, leaves
/// nothing behind.
#[async_trait]
pub trait FileWriter: fmt::Debug + Send {
    /// Adds `data`.
    ///
    /// # Errors
    /// `LimitExceeded` when there is no room; whatever the store reports. The writer can't be used after an error.
    async fn write(&mut self, data: Bytes) -> Result<()>;

    /// Publishes what was written.
    ///
    /// # Errors
    /// Those of the mode (`AlreadyExists`, `ConditionFailed`) and whatever the store reports; nothing is published
    /// then.
    async fn close(self: Box<Self>) -> Result<Metadata>;

    /// Gives the write up, and waits until its traces are gone.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn abort(self: Box<Self>) -> Result<()>;
}
