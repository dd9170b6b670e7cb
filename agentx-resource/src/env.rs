use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;

use crate::Result;

/// Settings by name: the variables of a process, a KV namespace, the secrets of a platform.
///
/// Values may be secrets, so an implementation never shows one in `Debug` or in an error.
#[async_trait]
pub trait Env: fmt::Debug + Send + Sync + 'static {
    /// The value of `key`, or `None` where it is not set.
    ///
    /// # Errors
    /// `InvalidInput` for an empty key or one with `=` or NUL; whatever the platform reports. A failure is never
    /// told as `None`.
    async fn get(&self, key: &str) -> Result<Option<String>>;

    /// All that is set, in the order of the names.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn get_all(&self) -> Result<BTreeMap<String, String>>;
}
