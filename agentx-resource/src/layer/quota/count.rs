use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    QuotaUsage,
    ledger::{Ledger, Promise},
};
use crate::{Error, ErrorKind, ResourcePath, Result};

/// What one file system has of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Count {
    ledger: Ledger,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    usage: QuotaUsage,
    /// Whether `usage` is what is there. It is not before the first count, nor after a change of unknown outcome.
    valid: bool,
}

/// A change that is under way. The count is no longer valid when its outcome is not told.
pub(super) struct Change {
    count: Count,
    growth: QuotaUsage,
    shrinkage: QuotaUsage,
    told: bool,
}

impl Count {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { ledger, state: Arc::default() }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.state().valid
    }

    pub(super) fn set(&self, counted: QuotaUsage) {
        let mut state = self.state();
        self.ledger.give_back(state.usage);
        self.ledger.add(counted);
        *state = State { usage: counted, valid: true };
    }

    pub(super) fn promise(&self) -> Promise {
        self.ledger.promise()
    }

    /// Begins a change from `old` to `new`, in exchange for what was promised.
    ///
    /// # Errors
    /// `LimitExceeded` when there is no room for it.
    pub(super) fn change(
        &self,
        (operation, path): (&'static str, &ResourcePath),
        old: QuotaUsage,
        new: QuotaUsage,
        promise: Option<&mut Promise>,
    ) -> Result<Change> {
        let (growth, shrinkage) = (new.minus(old), old.minus(new));
        if !self.ledger.take(growth, promise) {
            return Err(exceeded(operation, path));
        }
        let mut state = self.state();
        state.usage = state.usage.plus(growth);
        drop(state);
        Ok(Change { count: self.clone(), growth, shrinkage, told: false })
    }

    fn give_back(&self, freed: QuotaUsage) {
        let mut state = self.state();
        state.usage = state.usage.minus(freed);
        self.ledger.give_back(freed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    /// Tells how the change ended.
    pub(super) fn told<T>(mut self, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.count.give_back(self.shrinkage),
            Err(error) if changed_nothing(error) => self.count.give_back(self.growth),
            Err(_) => return result,
        }
        self.told = true;
        result
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.told {
            self.count.state().valid = false;
        }
    }
}

pub(super) fn exceeded(operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(ErrorKind::LimitExceeded, operation).with_path(path).with_message("the quota is used up")
}

/// Refusals, as opposed to failures on the way.
fn changed_nothing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::InvalidPath
            | ErrorKind::InvalidInput
            | ErrorKind::Escapes
            | ErrorKind::ConditionFailed
            | ErrorKind::Unsupported
    )
}
