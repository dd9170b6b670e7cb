use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`D1Executor`](super::D1Executor) has used, as D1 itself tells it with each answer: that is what is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct D1Usage {
    /// Batches that were answered. Each is one request.
    pub batches: u64,
    /// Statements in them, those of the [marks](super::D1Executor#what-was-lost-is-found) included.
    pub statements: u64,
    /// Rows that were read, those of indexes included.
    pub rows_read: u64,
    /// Rows that were written, those of indexes included.
    pub rows_written: u64,
    /// Requests of which D1 did not tell: they failed, or their answer was lost. What they used is not in here.
    pub unmetered: u64,
}

impl D1Usage {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            batches: self.batches.saturating_sub(earlier.batches),
            statements: self.statements.saturating_sub(earlier.statements),
            rows_read: self.rows_read.saturating_sub(earlier.rows_read),
            rows_written: self.rows_written.saturating_sub(earlier.rows_written),
            unmetered: self.unmetered.saturating_sub(earlier.unmetered),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    batches: AtomicU64,
    statements: AtomicU64,
    rows_read: AtomicU64,
    rows_written: AtomicU64,
    unmetered: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, usage: &D1Usage) {
        self.batches.fetch_add(usage.batches, Relaxed);
        self.statements.fetch_add(usage.statements, Relaxed);
        self.rows_read.fetch_add(usage.rows_read, Relaxed);
        self.rows_written.fetch_add(usage.rows_written, Relaxed);
        self.unmetered.fetch_add(usage.unmetered, Relaxed);
    }

    pub(super) fn snapshot(&self) -> D1Usage {
        D1Usage {
            batches: self.batches.load(Relaxed),
            statements: self.statements.load(Relaxed),
            rows_read: self.rows_read.load(Relaxed),
            rows_written: self.rows_written.load(Relaxed),
            unmetered: self.unmetered.load(Relaxed),
        }
    }
}
