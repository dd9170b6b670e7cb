//! The thread that owns the connection.
//!
//! Whatever batches wait are committed together: one transaction, one sync of the disk. Each of several has a savepoint
//! of its own, so that one that fails takes nothing from the others, and each is answered only when the commit is done.

use std::{
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use agentx_resource::{Error, ErrorKind, Result};
use agentx_sql::{Rows, Statement, Value};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::BUSY,
    error::{error, is_busy, is_device, told},
    statement,
};

/// At most so many batches in one transaction.
pub(super) const MAX_GROUP: usize = 128;

/// A transaction takes no further batch once it has so many bytes.
const MAX_GROUP_BYTES: usize = 4 << 20;

const OPERATION: &str = "execute";

/// A batch, and where its result is awaited.
pub(super) struct Job {
    pub(super) batch: Vec<Statement>,
    pub(super) reply: oneshot::Sender<Result<Vec<Rows>>>,
}

pub(super) struct Writer {
    connection: Connection,
    database: Arc<str>,
    wal: bool,
}

/// Why no batch of a group was committed.
enum Failure {
    /// Another attempt would meet the same.
    All(Error),
    /// One of the batches took the transaction with it.
    One(Error),
}

impl Writer {
    pub(super) fn new(connection: Connection, database: Arc<str>) -> Self {
        Self { connection, database, wal: false }
    }

    /// Works until the last sender is gone and all that was sent is done.
    pub(super) fn run(mut self, queue: &mut mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            self.commit(gather(first, queue));
        }
    }

    pub(super) fn commit(&mut self, group: Vec<Job>) {
        match self.attempt(&group) {
            Ok(results) => {
                for (job, result) in group.into_iter().zip(results) {
                    job.answer(result);
                }
            }
            Err(Failure::One(_)) if group.len() > 1 => {
                for job in group {
                    self.commit(vec![job]);
                }
            }
            Err(Failure::One(error) | Failure::All(error)) => {
                for job in group {
                    job.answer(Err(error.clone()));
                }
            }
        }
    }

    /// The whole group in one transaction, and the result of each batch.
    fn attempt(&mut self, group: &[Job]) -> Result<Vec<Result<Vec<Rows>>>, Failure> {
        self.begin(group).map_err(Failure::All)?;
        let results = match group {
            // Its transaction is all that it has: SQLite copies each page that a savepoint may have to give back.
            [alone] => self.run_all(&alone.batch).map(|rows| vec![Ok(rows)]).map_err(Failure::One),
            several => several.iter().map(|job| self.batch(&job.batch)).collect(),
        };
        let results = results.and_then(|results| self.finish().map(|()| results));
        if results.is_err() && !self.connection.is_autocommit() {
            self.control("ROLLBACK").map_err(|source| Failure::All(self.told(source)))?;
        }
        results
    }

    /// A group that only reads takes no lock that writers wait for.
    fn begin(&mut self, group: &[Job]) -> Result<()> {
        // Undoing the transaction before this one failed, and may be possible by now.
        if !self.connection.is_autocommit() {
            self.control("ROLLBACK").map_err(|source| self.told(source))?;
        }
        let mut statements = group.iter().flat_map(|job| &job.batch);
        let begin = if statements.all(|statement| statement::reads(&self.connection, statement)) {
            "BEGIN"
        } else {
            self.ensure_wal()?;
            // A transaction that begins with a read could not become one that writes while another writes.
            "BEGIN IMMEDIATE"
        };
        self.control(begin).map_err(|source| self.told(source))
    }

    /// The journal becomes a write-ahead log before the first change, and a database that is only read stays as it is.
    fn ensure_wal(&mut self) -> Result<()> {
        let deadline = Instant::now() + BUSY;
        while !self.wal {
            let mode: Result<String, _> =
                self.connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
            match mode {
                Ok(mode) if mode == "wal" || mode == "memory" => self.wal = true,
                Ok(mode) => {
                    let message = format!("a write-ahead log is not possible here, only the mode {mode}");
                    return Err(error(ErrorKind::Unsupported, OPERATION, &self.database, message));
                }
                // SQLite itself does not wait here.
                Err(source) if is_busy(&source) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(5));
                }
                Err(source) => return Err(self.told(source)),
            }
        }
        Ok(())
    }

    fn batch(&self, batch: &[Statement]) -> Result<Result<Vec<Rows>>, Failure> {
        let control = |sql| self.control(sql).map_err(|source| Failure::One(self.told(source)));
        control("SAVEPOINT batch")?;
        let result = self.run_all(batch);
        if let Err(error) = &result {
            // A full disk, for one, ends the whole transaction.
            if self.connection.is_autocommit() {
                return Err(Failure::One(error.clone()));
            }
            control("ROLLBACK TO batch")?;
        }
        control("RELEASE batch")?;
        Ok(result)
    }

    fn run_all(&self, batch: &[Statement]) -> Result<Vec<Rows>> {
        batch.iter().map(|statement| statement::run(&self.connection, &self.database, statement)).collect()
    }

    fn finish(&self) -> Result<(), Failure> {
        self.control("COMMIT").map_err(|source| {
            if is_device(&source) {
                let message = "the device failed while the transaction was committed";
                let lost = error(ErrorKind::Lost, OPERATION, &self.database, message);
                return Failure::All(lost.with_source(source));
            }
            Failure::One(self.told(source))
        })
    }

    fn control(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn told(&self, source: rusqlite::Error) -> Error {
        told(source, OPERATION, &self.database)
    }
}

impl Job {
    /// Nobody may be waiting any more.
    fn answer(self, result: Result<Vec<Rows>>) {
        drop(self.reply.send(result));
    }

    fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Null | Value::Integer(_) | Value::Real(_) => 8,
        };
        let params = self.batch.iter().flat_map(|statement| &statement.params);
        params.map(value).sum()
    }
}

/// The first batch and those that wait behind it, without those whose future was dropped meanwhile.
pub(super) fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.bytes();
        group.push(job);
    }
    group.retain(|job| !job.reply.is_closed());
    group
}

#[cfg(test)]
mod tests;
