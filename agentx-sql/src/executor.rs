use std::{borrow::Cow, fmt};

use agentx_core::Result;
use async_trait::async_trait;

use crate::{Rows, Value};

/// A database that speaks SQLite's dialect.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Runs the statements in their order as one transaction, and gives the rows of each. When this returns, what
    /// they changed is as durable as the database can make it.
    ///
    /// All statements take effect or none does, also when the future is dropped: then either may be the case.
    /// A statement never controls the transaction itself: `BEGIN`, `COMMIT`, `SAVEPOINT` and their like are refused.
    ///
    /// # Errors
    /// Nothing has changed then, except for `Lost`: whether the batch took effect is unknown. Broken constraints are
    /// told apart, and their two kinds are used for nothing else:
    ///
    /// * `AlreadyExists`: a `UNIQUE` or `PRIMARY KEY` constraint.
    /// * `NotFound`: a `FOREIGN KEY` constraint.
    /// * `InvalidInput`: another constraint, SQL that the database does not understand, a wrong number of parameters.
    /// * `Busy`: somebody else holds the database for longer than this executor waits.
    /// * `Corrupt`: the database can't be read as one.
    /// * `LimitExceeded`: a value, a statement or the database is too large.
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>>;
}

/// One SQL statement and its parameters.
///
/// ```
/// use agentx_sql::{Statement, Value};
///
/// let statement = Statement::new("SELECT name FROM images WHERE image_id = ?1").bind("img_1");
/// assert_eq!(statement.params, [Value::Text("img_1".to_owned())]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text, with the parameters `?1`, `?2`, …
    pub sql: Cow<'static, str>,
    /// The parameters: the first is `?1`.
    pub params: Vec<Value>,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<Cow<'static, str>>) -> Self {
        Self { sql: sql.into(), params: Vec::new() }
    }

    /// Adds the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.params.push(value.into());
        self
    }
}
