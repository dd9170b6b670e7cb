mod approval;
mod column;
mod container;
mod event;
mod image;
mod inbox;
mod lease;
mod message;
mod queue;
mod session;

use std::sync::Arc;

use agentx_core::{Error, Result};

use self::lease::Guard;
use crate::{Executor, Rows, Statement, migration};

/// Containers, images, sessions with their messages and events, leases, queues and approvals in a database.
///
/// A clone is cheap and uses the same database. Several may use one database at once, also from several processes.
/// Moments after the year 287,000 (2^53 milliseconds) are refused with `InvalidInput`, and so are an image and a
/// session that do not name each other.
///
/// The example of the crate shows how to open one.
#[derive(Clone, Debug)]
pub struct SqlRepositories {
    executor: Arc<dyn Executor>,
}

impl SqlRepositories {
    /// Brings the database to the schema of this library, and uses it.
    ///
    /// # Errors
    /// `Unsupported` for a database whose schema is newer than [`SCHEMA_VERSION`](crate::SCHEMA_VERSION): nothing in
    /// it is changed. `InvalidInput` where tables of other software bear the names of this schema's; whatever the
    /// database reports.
    pub async fn open(executor: Arc<dyn Executor>) -> Result<Self> {
        migration::migrate(&*executor).await?;
        Ok(Self { executor })
    }

    /// Runs `batch` and gives the rows of its last statement.
    async fn run(&self, operation: &'static str, subject: &str, batch: Vec<Statement>) -> Result<Rows> {
        let rows = self.executor.execute(batch).await.map_err(|error| told(&error, operation, subject))?;
        Ok(rows.into_iter().next_back().unwrap_or_default())
    }
}

/// The executor's error as one of `operation`.
pub(crate) fn told(error: &Error, operation: &'static str, subject: &str) -> Error {
    Error::new(error.kind(), operation)
        .with_path(subject)
        .with_provider(error.provider().to_owned())
        .with_retry(error.retry())
        .with_source(error.clone())
}
