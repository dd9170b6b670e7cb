//! The repositories of AgentX in SQL: one schema and one set of statements for every database that speaks SQLite's
//! dialect, such as SQLite itself and D1.
//!
//! A database is reached through the [`Executor`] port, whose one operation runs a batch of statements as a
//! transaction. [`SqlRepositories`] does the rest: it brings the schema up to date and stores containers, images,
//! sessions and messages.
//!
//! ```
//! use std::sync::Arc;
//!
//! use agentx_core::{Repositories, Result};
//! use agentx_sql::{Executor, SqlRepositories};
//!
//! async fn open(database: Arc<dyn Executor>) -> Result<Repositories> {
//!     Ok(Repositories::new(SqlRepositories::open(database).await?))
//! }
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod executor;
mod migration;
mod repository;
mod rows;
mod value;

pub use executor::{Executor, Statement};
pub use migration::{SCHEMA_VERSION, schema_version};
pub use repository::SqlRepositories;
pub use rows::{Row, Rows};
pub use value::{MAX_INTEGER, Value};
