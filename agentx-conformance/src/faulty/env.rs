use std::{collections::BTreeMap, fmt};

use agentx_resource::{Env, Error, Result, memory::MemoryEnv};
use async_trait::async_trait;

use super::EnvFault as Fault;
use crate::env::SETTINGS;

/// An environment with one fault, which has the settings of the suite.
pub struct FaultyEnv {
    inner: MemoryEnv,
    fault: Fault,
}

impl FaultyEnv {
    /// The suite's settings, with this fault.
    ///
    /// # Errors
    /// Never, as long as the suite's settings can be set.
    pub fn new(fault: Fault) -> Result<Self, Error> {
        Ok(Self { inner: MemoryEnv::new(SETTINGS)?, fault })
    }

    fn value(&self, value: String) -> Option<String> {
        match self.fault {
            Fault::CutsAtNewline => value.lines().next().map(str::to_owned),
            Fault::ForgetsEmpty => Some(value).filter(|value| !value.is_empty()),
            _ => Some(value),
        }
    }
}

impl fmt::Debug for FaultyEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (self.fault == Fault::ShowsValues).then_some(SETTINGS);
        f.debug_struct("FaultyEnv")
            .field("fault", &self.fault)
            .field("settings", &shown)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Env for FaultyEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        match self.inner.get(key).await {
            Err(_) if self.fault == Fault::FailureIsNone => Ok(None),
            Ok(None) if self.fault == Fault::InventsEmpty => Ok(Some(String::new())),
            found => Ok(found?.and_then(|value| self.value(value))),
        }
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        let all = self.inner.get_all().await?.into_iter();
        let mut all: BTreeMap<_, _> =
            all.filter_map(|(key, value)| self.value(value).map(|value| (key, value))).collect();
        match self.fault {
            Fault::LeavesOutEmpty => all.retain(|_, value| !value.is_empty()),
            Fault::AllIsStale => {
                all.insert("AGENTX_KIT_ADDED".to_owned(), "before".to_owned());
            }
            _ => {}
        }
        Ok(all)
    }
}
