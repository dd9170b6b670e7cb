use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::QuotaUsage;

/// What is used, and what is promised to writers that are open. Never more than the limits in all, unless it was so
/// at the beginning.
#[derive(Clone, Debug)]
pub(super) struct Ledger(Arc<Mutex<Account>>);

#[derive(Debug)]
struct Account {
    limit: QuotaUsage,
    used: QuotaUsage,
    /// Bytes that writers have taken in and not yet published.
    promised: u64,
}

/// Bytes that are promised to a writer, until this is dropped.
#[derive(Debug)]
pub(super) struct Promise {
    ledger: Ledger,
    bytes: u64,
}

impl Ledger {
    pub(super) fn new(limit: QuotaUsage) -> Self {
        Self(Arc::new(Mutex::new(Account { limit, used: QuotaUsage::default(), promised: 0 })))
    }

    pub(super) fn limit(&self) -> QuotaUsage {
        self.account().limit
    }

    pub(super) fn used(&self) -> QuotaUsage {
        self.account().used
    }

    /// Takes `growth` if there is room for it, and lets `promise` go in exchange.
    pub(super) fn take(&self, growth: QuotaUsage, promise: Option<&mut Promise>) -> bool {
        let mut account = self.account();
        let own = promise.as_ref().map_or(0, |promise| promise.bytes);
        let bytes = account.used.bytes.saturating_add(account.promised - own).saturating_add(growth.bytes);
        let files = account.used.files.saturating_add(growth.files);
        if growth.bytes > 0 && bytes > account.limit.bytes || growth.files > 0 && files > account.limit.files
        {
            return false;
        }
        if let Some(promise) = promise {
            account.promised -= own;
            promise.bytes = 0;
        }
        account.used = account.used.plus(growth);
        true
    }

    pub(super) fn give_back(&self, freed: QuotaUsage) {
        let mut account = self.account();
        account.used = account.used.minus(freed);
    }

    /// Takes `growth` whether there is room or not: it is already there.
    pub(super) fn add(&self, growth: QuotaUsage) {
        let mut account = self.account();
        account.used = account.used.plus(growth);
    }

    pub(super) fn promise(&self) -> Promise {
        Promise { ledger: self.clone(), bytes: 0 }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    /// Makes it `bytes` in all, if there is room.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let mut account = self.ledger.account();
        let Some(more) = bytes.checked_sub(self.bytes) else { return true };
        if more > 0
            && account.used.bytes.saturating_add(account.promised).saturating_add(more) > account.limit.bytes
        {
            return false;
        }
        account.promised += more;
        self.bytes = bytes;
        true
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.ledger.account().promised -= self.bytes;
    }
}
