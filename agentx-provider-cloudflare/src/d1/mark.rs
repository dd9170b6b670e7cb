//! The marks by which a batch is known again whose answer was lost.
//!
//! Batches go along lanes: one after another on each, and on as many as are under way at once. A lane is a row of one
//! small table. A batch begins by setting the row to its own number, and fails on that where the row is not below it.
//! So of what comes late, or comes twice, the database does nothing; and whoever asks what became of a batch sets the
//! row one above its number first, unless the batch was there before: after that the answer can't change any more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agentx_sql::{Rows, Statement};
use uuid::Uuid;

/// What a batch that comes too late fails with, as SQLite says it.
pub(super) const LATE: &str = "NOT NULL constraint failed: agentx_d1_batches.batch";

/// What a batch fails with whose table somebody has removed.
pub(super) const MISSING: &str = "no such table: agentx_d1_batches";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS agentx_d1_batches \
    (lane TEXT PRIMARY KEY, batch INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID";

/// Lanes that nobody has used for a week, by the database's clock: no request is under way for so long.
const FORGET: &str = "DELETE FROM agentx_d1_batches WHERE at < unixepoch() - 604800";

const BEGIN: &str = "INSERT INTO agentx_d1_batches (lane, batch, at) VALUES (?1, ?2, unixepoch()) \
    ON CONFLICT (lane) DO UPDATE SET at = excluded.at, \
    batch = CASE WHEN excluded.batch > agentx_d1_batches.batch THEN excluded.batch END";

const VOID: &str = "INSERT INTO agentx_d1_batches (lane, batch, at) VALUES (?1, ?2 + 1, unixepoch()) \
    ON CONFLICT (lane) DO UPDATE SET batch = excluded.batch, at = excluded.at \
    WHERE agentx_d1_batches.batch < excluded.batch - 1";

const FIND: &str = "SELECT batch FROM agentx_d1_batches WHERE lane = ?1";

/// The lanes of one executor and its clones.
#[derive(Debug)]
pub(super) struct Lanes {
    /// What no other executor has.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    made: u32,
    free: Vec<Lane>,
    /// Whether the table is known to be there.
    ready: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    number: u32,
    /// The number of its next batch, an even one.
    next: i64,
}

/// The place of one batch on a lane, which it gives back when it is dropped.
#[derive(Debug)]
pub(super) struct Mark<'a> {
    lanes: &'a Lanes,
    lane: Lane,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was done.
    Done,
    /// It was not done, and never will be.
    Void,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { name: Uuid::now_v7().simple().to_string(), state: Mutex::default() }
    }
}

impl Lanes {
    pub(super) fn take(&self) -> Mark<'_> {
        let mut state = self.state();
        let lane = state.free.pop().unwrap_or_else(|| {
            state.made += 1;
            Lane { number: state.made, next: 2 }
        });
        Mark { lanes: self, lane }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark<'_> {
    /// What a batch begins with.
    pub(super) fn begin(&self) -> Vec<Statement> {
        let begin = self.bind(BEGIN).bind(self.lane.next);
        if self.lanes.state().ready {
            return vec![begin];
        }
        vec![Statement::new(TABLE), Statement::new(FORGET), begin]
    }

    /// What asks for the fate of the batch, and settles it. It may be asked any number of times.
    pub(super) fn settle(&self) -> Vec<Statement> {
        vec![Statement::new(TABLE), self.bind(VOID).bind(self.lane.next), self.bind(FIND)]
    }

    /// What the answer to [`Self::settle`] says; none where it says nothing of this batch.
    pub(super) fn fate(&self, answer: &[Rows]) -> Option<Fate> {
        let found = answer.last()?.first()?.integer("batch").ok()?;
        match found - self.lane.next {
            0 => Some(Fate::Done),
            1 => Some(Fate::Void),
            _ => None,
        }
    }

    /// The batch was answered: the table is there.
    pub(super) fn answered(&self) {
        self.lanes.state().ready = true;
    }

    /// The table is not there any more.
    pub(super) fn missing(&self) {
        self.lanes.state().ready = false;
    }

    /// The place of another attempt.
    pub(super) fn again(&mut self) {
        self.lane.next += 2;
    }

    fn bind(&self, sql: &'static str) -> Statement {
        Statement::new(sql).bind(format!("{}-{}", self.lanes.name, self.lane.number))
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let Lane { number, next } = self.lane;
        self.lanes.state().free.push(Lane { number, next: next + 2 });
    }
}

#[cfg(test)]
mod tests {
    use agentx_sql::Value;

    use super::*;

    fn found(batch: i64) -> Vec<Rows> {
        vec![Rows::default(), Rows::new(vec!["batch".to_owned()], vec![vec![Value::Integer(batch)]])]
    }

    #[test]
    fn batches_at_once_have_lanes_of_their_own_and_later_ones_higher_numbers() {
        let lanes = Lanes::default();
        let (one, two) = (lanes.take(), lanes.take());
        assert_eq!((one.lane.number, two.lane.number), (1, 2));
        assert_ne!(one.begin(), two.begin());
        drop(one);
        let mut next = lanes.take();
        assert_eq!((next.lane.number, next.lane.next), (1, 4));
        next.again();
        assert_eq!(next.lane.next, 6);
        assert_ne!(lanes.name, Lanes::default().name);
    }

    #[test]
    fn the_table_is_made_until_a_batch_has_passed_and_again_where_it_is_gone() {
        let lanes = Lanes::default();
        let mark = lanes.take();
        assert_eq!(mark.begin().len(), 3);
        mark.answered();
        assert_eq!(mark.begin().len(), 1);
        mark.missing();
        assert_eq!(mark.begin().len(), 3);
    }

    #[test]
    fn a_fate_is_known_by_the_number_alone() {
        let lanes = Lanes::default();
        let mark = lanes.take();
        assert_eq!(mark.fate(&found(2)), Some(Fate::Done));
        assert_eq!(mark.fate(&found(3)), Some(Fate::Void));
        for other in [0, 1, 4] {
            assert_eq!(mark.fate(&found(other)), None, "{other}");
        }
        assert_eq!(mark.fate(&[]), None);
        assert_eq!(mark.fate(&[Rows::default()]), None);
    }
}
