//! D1 as an executor of statements, over its REST API.

mod error;
mod mark;
mod rows;
mod scan;
mod statement;
mod usage;

use std::{fmt, sync::Arc};

use agentx_resource::{Error, ErrorKind, Result};
use agentx_sql::{Executor, Rows, Statement};
use async_trait::async_trait;
use reqwest::Method;

pub use self::usage::D1Usage;
use self::{
    mark::{Fate, Lanes, MISSING, Mark},
    rows::StatementResult,
    statement::{Batch, Query},
    usage::Counters,
};
use crate::api::{Call, CloudflareApi, Effect, Envelope, Failed, Failure, fail, is_id};

/// What errors name as the provider.
const PROVIDER: &str = "d1";

const OPERATION: &str = "execute";

/// The most bytes that a batch may have on its way.
const MAX_REQUEST: usize = 16 << 20;

/// The most bytes that the results of a batch may have on their way.
const MAX_ANSWER: usize = 64 << 20;

/// A D1 database. A clone is the same database, and counts together.
///
/// A batch is one request and one transaction. All values arrive as they are, integers above 2^53 too; in results such
/// an integer is a float, since D1 gives it as one: read it as text (`CAST(n AS TEXT)`). An infinite float is
/// `InvalidInput`, since D1 gives it back as null, and text that is not UTF-8 comes back with replacement characters.
///
/// # What is repeated
/// A batch that D1 has not begun (it is overloaded, the account's rate limit is reached, no connection could be made), as
/// the [API](CloudflareApi) says. A batch of `SELECT`s also when its answer was lost. A batch that may have changed
/// something and whose answer was lost is `Lost`, and not repeated.
///
/// # Bounds
/// A batch has at most 16 MiB on its way, its results 64 MiB. D1 itself allows 100 KB for a statement, 100 parameters,
/// 2 MB for a row or a value, and 30 seconds for a query.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_core::Repositories;
/// use agentx_provider_cloudflare::{CloudflareApi, D1Executor};
/// use agentx_sql::SqlRepositories;
///
/// async fn open(api: &CloudflareApi) -> agentx_core::Result<Repositories> {
///     let database = D1Executor::new(api.clone(), "7dd75be3-8a3c-4e4c-9d5f-4ac6b3c2a7b0")?;
///     Ok(Repositories::new(SqlRepositories::open(Arc::new(database)).await?))
/// }
/// ```
#[derive(Clone)]
pub struct D1Executor {
    api: CloudflareApi,
    database: Arc<str>,
    usage: Arc<Counters>,
    lanes: Arc<Lanes>,
}

impl D1Executor {
    /// The database with this id (not its name).
    ///
    /// # Errors
    /// `InvalidInput` for what can't be an id. Whether the database is there shows with the first batch.
    pub fn new(api: CloudflareApi, database: impl Into<Arc<str>>) -> Result<Self> {
        let database = database.into();
        if !is_id(&database) {
            return Err(Error::new(ErrorKind::InvalidInput, "open database")
                .with_path(&database)
                .with_provider(PROVIDER)
                .with_message("not the id of a database"));
        }
        Ok(Self { api, database, usage: Arc::default(), lanes: Arc::default() })
    }

    /// What was used until now.
    pub fn usage(&self) -> D1Usage {
        self.usage.snapshot()
    }

    fn named(&self, error: &Error) -> Error {
        Error::new(error.kind(), OPERATION)
            .with_path(&self.database)
            .with_provider(PROVIDER)
            .with_message(error.message().to_owned())
            .with_retry(error.retry())
    }
}

/// What a request gave: the rows of each statement, and what they are billed for.
type Answered = Result<(Vec<Rows>, D1Usage), Failed>;

impl D1Executor {
    /// Sends the queries as one batch.
    async fn send(&self, queries: impl Iterator<Item = &Query> + Send, changes: bool) -> Result<Answered> {
        let batch = Batch { batch: queries.collect() };
        let expected = batch.batch.len();
        let refused = |failure: Failure| self.named(&failure.told(OPERATION, false, 1));
        let request = serde_json::to_vec(&batch)
            .map_err(|error| refused(Failure::new(ErrorKind::Internal, error.to_string())))?;
        if request.len() > MAX_REQUEST {
            let problem = format!("a batch has at most {MAX_REQUEST} bytes, this one has {}", request.len());
            return Err(refused(Failure::new(ErrorKind::LimitExceeded, problem)));
        }
        let path = format!("/d1/database/{}/raw", self.database);
        let (method, limit) = (Method::POST, MAX_ANSWER);
        let call = Call { method, path: &path, body: request.into(), changes, limit };
        let answered = self.api.tried(&call, |answer| {
            if !answer.is_success() {
                return Err(error::failure(answer));
            }
            let results = Envelope::<Vec<StatementResult>>::read(answer)?;
            rows::rows(results, expected)
        });
        let answered = answered.await.map_err(|error| self.named(&error))?;
        match &answered {
            Ok((_, usage)) => self.usage.add(usage),
            Err(_) => self.usage.add(&D1Usage { unmetered: 1, ..D1Usage::default() }),
        }
        Ok(answered)
    }

    async fn read(&self, queries: &[Query]) -> Result<Vec<Rows>> {
        match self.send(queries.iter(), false).await? {
            Ok((rows, _)) => Ok(rows),
            Err(Failed { failure, tried }) => Err(self.named(&failure.told(OPERATION, false, tried))),
        }
    }

    /// Makes the change once, whatever becomes of its answers.
    async fn change(&self, queries: &[Query], silent: bool) -> Result<Vec<Rows>> {
        let mut mark = self.lanes.take();
        let told =
            |failed: Failed, changes| self.named(&failed.failure.told(OPERATION, changes, failed.tried));
        let mut lost = 0;
        loop {
            let begin = statement::queries(&mark.begin())
                .map_err(|failure| self.named(&failure.told(OPERATION, false, 1)))?;
            let mut failed = match self.send(begin.iter().chain(queries), true).await? {
                Ok((mut rows, _)) => {
                    mark.answered();
                    return Ok(rows.split_off(begin.len()));
                }
                Err(failed) => failed,
            };
            if begin.len() == 1 && failed.failure.message.contains(MISSING) {
                mark.missing();
                continue;
            }
            if failed.failure.effect == Effect::None {
                return Err(told(failed, true));
            }
            match self.fate(&mark).await {
                Some(Fate::Done) if silent => return Ok(vec![Rows::default(); queries.len()]),
                Some(Fate::Done) => {
                    let Failure { kind, message, .. } = failed.failure;
                    let error = fail(ErrorKind::Lost, OPERATION);
                    let message = format!("all was done, and what it gave is lost: {kind}: {message}");
                    return Err(self.named(&error.with_message(message)));
                }
                Some(Fate::Void) => {
                    (lost, failed.failure.effect) = (lost + 1, Effect::None);
                    if !self.api.waits(failed.failure.retry, lost).await {
                        failed.tried = lost;
                        return Err(told(failed, true));
                    }
                    mark.again();
                }
                None => return Err(told(failed, true)),
            }
        }
    }

    /// What became of a batch whose answer was lost; none where that can't be found out.
    async fn fate(&self, mark: &Mark<'_>) -> Option<Fate> {
        let queries = statement::queries(&mark.settle()).ok()?;
        // To ask again changes nothing more.
        let (rows, _) = self.send(queries.iter(), false).await.ok()?.ok()?;
        mark.fate(&rows)
    }
}

#[async_trait]
impl Executor for D1Executor {
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let queries = statement::queries(&batch);
        let queries = queries.map_err(|failure| self.named(&failure.told(OPERATION, false, 1)))?;
        if statement::reads(&batch) {
            self.read(&queries).await
        } else {
            self.change(&queries, statement::is_silent(&batch)).await
        }
    }
}

impl fmt::Debug for D1Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("D1Executor").field("database", &self.database).finish_non_exhaustive()
    }
}
