//! LLM definitions: models that owners bring, each with its place and its key.
//!
//! They are kept in a table of their own beside those of [`agentx_sql`], through the same port. The key is in the store as
//! it is: whoever can read the store's file can use it, as can whoever reads the memory of the server, which must send
//! it. Nothing else gives it back: no method, no log, no `Debug`. A second key to hide it behind would lie beside it.

mod choice;
mod driver;
mod options;
mod record;
mod schema;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agentx_core::{Error, Result};
use agentx_sql::{Executor, Rows, Statement};

pub(crate) use self::{
    choice::Choice,
    driver::CHOICE,
    options::{Level, PROVIDER_OPTIONS, ProviderOptions, THINKING},
};
pub use self::{
    driver::LlmDriver,
    record::{Llm, LlmChanges, LlmProtocol, NewLlm},
};
use crate::Owner;

/// How old what is known of an owner's definitions may be: what another process changed holds after this time.
pub const FRESH: Duration = Duration::from_secs(1);

/// The definitions of so many owners are kept in memory.
const KEPT: usize = 1_024;

/// The LLM definitions of all owners. Clones are the same.
#[derive(Clone)]
pub struct Llms {
    shared: Arc<Shared>,
    any_model: bool,
}

struct Shared {
    executor: Arc<dyn Executor>,
    known: Mutex<Known>,
}

/// What was read last, by owner.
#[derive(Default)]
struct Known {
    owners: HashMap<Owner, Seen>,
    /// How often anything was changed here.
    changes: u64,
}

struct Seen {
    records: Arc<[Llm]>,
    at: Instant,
}

impl Llms {
    /// Those of a database, which gets the table where it has none.
    ///
    /// # Errors
    /// `Unsupported` for a database of a newer version; whatever the database reports.
    pub async fn open(executor: Arc<dyn Executor>) -> Result<Self> {
        schema::create(&*executor).await?;
        Ok(Self { shared: Arc::new(Shared { executor, known: Mutex::default() }), any_model: false })
    }

    /// Lets clients name any model of the server's own, at the server's cost. They may not unless this is said: without a
    /// definition of its own, an owner has the model that the server has.
    #[must_use]
    pub fn with_any_model(mut self, any_model: bool) -> Self {
        self.any_model = any_model;
        self
    }

    /// The definitions of an owner in the order in which they were made, as they were no longer than [`FRESH`] ago.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn of(&self, owner: &Owner) -> Result<Arc<[Llm]>> {
        let changes = {
            let known = self.shared.known();
            if let Some(seen) = known.owners.get(owner).filter(|seen| seen.at.elapsed() < FRESH) {
                return Ok(seen.records.clone());
            }
            known.changes
        };
        // First: what changes meanwhile is read again.
        let at = Instant::now();
        let statement = Statement::new("SELECT * FROM llms WHERE owner = ?1 ORDER BY created_at, llm_id")
            .bind(owner.as_str());
        let rows = self.run("read LLM definitions", owner.as_str(), vec![statement]).await?;
        let records: Arc<[Llm]> = rows.iter().map(Llm::of).collect::<Result<_>>()?;
        let mut known = self.shared.known();
        if known.changes == changes {
            if known.owners.len() >= KEPT {
                known.owners.retain(|_, seen| seen.at.elapsed() < FRESH);
            }
            if known.owners.len() < KEPT {
                known.owners.insert(owner.clone(), Seen { records: records.clone(), at });
            }
        }
        Ok(records)
    }

    /// Changes the store in one transaction, and gives the rows of the last statement.
    async fn change(&self, operation: &'static str, subject: &str, batch: Vec<Statement>) -> Result<Rows> {
        let done = self.run(operation, subject, batch).await;
        // Also where it failed: it may have happened.
        let mut known = self.shared.known();
        known.owners.clear();
        known.changes += 1;
        done
    }

    /// Runs a batch, and gives the rows of its last statement.
    async fn run(&self, operation: &'static str, subject: &str, batch: Vec<Statement>) -> Result<Rows> {
        let done = self.shared.executor.execute(batch).await;
        let rows = done.map_err(|error| {
            Error::new(error.kind(), operation)
                .with_path(subject)
                .with_provider(error.provider().to_owned())
                .with_retry(error.retry())
                .with_source(error.clone())
        })?;
        Ok(rows.into_iter().next_back().unwrap_or_default())
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Llms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Llms").field("executor", &self.shared.executor).finish_non_exhaustive()
    }
}
