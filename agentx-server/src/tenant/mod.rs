//! Tenants: the owners that a server was told of, their keys, bounds and use.
//!
//! They are kept in tables of their own beside those of [`agentx_sql`], through the same port. A server looks at them
//! through a copy in memory that is never older than [`FRESH`]: what another process changes (`avm key revoke`) holds
//! from then on.

mod directory;
mod key;
mod record;
mod schema;
mod usage;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use agentx_core::{Error, ErrorKind, Result, Timestamp};
use agentx_sql::{Executor, Rows, Statement};
use async_trait::async_trait;

use self::directory::Directory;
pub(crate) use self::record::{moment, read_moment};
pub use self::{
    key::{NewKey, TenantKey},
    record::{NewTenant, Tenant, TenantChanges, TenantQuotas},
    usage::Usage,
};
use crate::{
    Owner,
    auth::{Authenticator, Credentials, Identity, KeyHash},
};

/// How old what is known of tenants and keys may be: what another process changed holds after this time.
pub const FRESH: Duration = Duration::from_secs(1);

/// The tenants of a server, and their keys. Clones are the same.
///
/// It is an [`Authenticator`]: it knows whose a key is. A suspended tenant's keys stand for nobody.
#[derive(Clone)]
pub struct Tenants {
    shared: Arc<Shared>,
}

struct Shared {
    executor: Arc<dyn Executor>,
    known: Mutex<Known>,
    /// One asks the store at a time.
    asking: tokio::sync::Mutex<()>,
}

/// What was read last, and when it was known to be true; none where it was changed since.
struct Known {
    directory: Arc<Directory>,
    at: Option<Instant>,
    /// How often it was changed here.
    changes: u64,
}

impl Tenants {
    /// Those of a database, which gets the tables where it has none.
    ///
    /// # Errors
    /// `Unsupported` for a database of a newer version; whatever the database reports.
    pub async fn open(executor: Arc<dyn Executor>) -> Result<Self> {
        schema::create(&*executor).await?;
        let directory = Arc::new(Directory::read(&*executor).await?);
        let known = Mutex::new(Known { directory, at: Some(Instant::now()), changes: 0 });
        Ok(Self { shared: Arc::new(Shared { executor, known, asking: tokio::sync::Mutex::default() }) })
    }

    /// What is known, no older than [`FRESH`].
    async fn directory(&self) -> Result<Arc<Directory>> {
        if let Some(directory) = self.shared.fresh() {
            return Ok(directory);
        }
        let _asking = self.shared.asking.lock().await;
        if let Some(directory) = self.shared.fresh() {
            return Ok(directory);
        }
        // First: what changes meanwhile is read again.
        let at = Instant::now();
        let (mut directory, changes) = {
            let known = self.shared.known();
            (known.directory.clone(), known.changes)
        };
        if directory::version(&*self.shared.executor).await? != directory.version {
            directory = Arc::new(Directory::read(&*self.shared.executor).await?);
        }
        let mut known = self.shared.known();
        known.directory = directory.clone();
        known.at = (known.changes == changes).then_some(at);
        Ok(directory)
    }

    /// Changes the store in one transaction; what is known is read anew before it is used again. Gives the rows of the
    /// first statement.
    async fn change(
        &self,
        operation: &'static str,
        subject: &str,
        mut batch: Vec<Statement>,
    ) -> Result<Rows> {
        batch.push(Statement::new(directory::CHANGED));
        let done = self.run(operation, subject, batch).await;
        // Also where it failed: it may have happened.
        let mut known = self.shared.known();
        known.at = None;
        known.changes += 1;
        done
    }

    /// Runs a batch, and gives the rows of its first statement.
    async fn run(&self, operation: &'static str, subject: &str, batch: Vec<Statement>) -> Result<Rows> {
        let done = self.shared.executor.execute(batch).await;
        let rows = done.map_err(|error| {
            Error::new(error.kind(), operation)
                .with_path(subject)
                .with_provider(error.provider().to_owned())
                .with_retry(error.retry())
                .with_source(error.clone())
        })?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Option<Arc<Directory>> {
        let known = self.known();
        known.at.is_some_and(|at| at.elapsed() < FRESH).then(|| known.directory.clone())
    }
}

#[async_trait]
impl Authenticator for Tenants {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let Some(token) = &credentials.token else { return Ok(None) };
        let hash = KeyHash::of(token);
        Ok(self.directory().await?.identity(&hash, now()))
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("executor", &self.shared.executor).finish_non_exhaustive()
    }
}

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn missing(operation: &'static str, owner: &Owner) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_path(owner)
}

#[cfg(test)]
mod tests;
