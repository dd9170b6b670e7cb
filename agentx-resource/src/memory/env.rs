use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{PROVIDER, lock};
use crate::{Env, Error, ErrorKind, Result};

/// Settings in memory. A clone is the same set.
///
/// ```
/// use agentx_resource::{Env, memory::MemoryEnv};
///
/// # futures::executor::block_on(async {
/// let env = MemoryEnv::new([("HOME", "/root"), ("KEY", "s3cret")])?;
/// assert_eq!(env.get("HOME").await?.as_deref(), Some("/root"));
/// assert!(!format!("{env:?}").contains("s3cret"));
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryEnv(Arc<Mutex<BTreeMap<String, String>>>);

impl MemoryEnv {
    /// These settings.
    ///
    /// # Errors
    /// `InvalidInput` for an empty key or one with `=` or NUL.
    pub fn new(settings: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Result<Self> {
        let env = Self::default();
        for (key, value) in settings {
            env.set(key, value)?;
        }
        Ok(env)
    }

    /// Sets `key`.
    ///
    /// # Errors
    /// `InvalidInput` for an empty key or one with `=` or NUL.
    pub fn set(&self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        let key = key.into();
        check(&key, "set")?;
        lock(&self.0).insert(key, value.into());
        Ok(())
    }

    /// Makes `key` unset.
    pub fn unset(&self, key: &str) {
        lock(&self.0).remove(key);
    }
}

/// Shows the names, never the values: a value may be a secret.
impl fmt::Debug for MemoryEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryEnv ")?;
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

#[async_trait]
impl Env for MemoryEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        check(key, "get")?;
        Ok(lock(&self.0).get(key).cloned())
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        Ok(lock(&self.0).clone())
    }
}

fn check(key: &str, operation: &'static str) -> Result<()> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err(Error::new(ErrorKind::InvalidInput, operation)
            .with_path(key)
            .with_provider(PROVIDER)
            .with_message("not a name of a setting"));
    }
    Ok(())
}
