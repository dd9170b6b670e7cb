use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a [`KvEnv`](super::KvEnv) has used. What is answered from its cache is not in here; what was tried again is
/// there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvUsage {
    /// Keys that were read: each is billed, also of those that are read together.
    pub reads: u64,
    /// Pages of lists.
    pub lists: u64,
}

impl KvUsage {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(earlier.reads),
            lists: self.lists.saturating_sub(earlier.lists),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    reads: AtomicU64,
    lists: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self, keys: usize) {
        self.reads.fetch_add(keys as u64, Relaxed);
    }

    pub(super) fn list(&self) {
        self.lists.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> KvUsage {
        KvUsage { reads: self.reads.load(Relaxed), lists: self.lists.load(Relaxed) }
    }
}
