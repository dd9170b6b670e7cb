use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Port, request::WITHHELD};
use crate::{Env, Result, cassette::Recordable};

#[derive(Debug)]
pub(super) struct RecordedEnv {
    port: Port<dyn Env>,
    shown: Arc<BTreeSet<String>>,
}

impl RecordedEnv {
    pub(super) fn new(port: Port<dyn Env>, shown: Arc<BTreeSet<String>>) -> Self {
        Self { port, shown }
    }
}

#[async_trait]
impl Env for RecordedEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        let call = self.port.call("env.get", json!({"key": key})).await?;
        let shown = self.shown.contains(key);
        let found: Option<Variable> = call
            .answer(async {
                let value = self.port.live()?.get(key).await?;
                Ok(value.map(|value| Variable { value, shown }))
            })
            .await?;
        Ok(found.map(|found| found.value))
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        let call = self.port.call("env.get_all", json!({})).await?;
        let all: BTreeMap<String, Variable> = call
            .answer(async {
                let all = self.port.live()?.get_all().await?;
                let shown = |key: &String| self.shown.contains(key);
                Ok(all
                    .into_iter()
                    .map(|(key, value)| (key.clone(), Variable { shown: shown(&key), value }))
                    .collect())
            })
            .await?;
        Ok(all.into_iter().map(|(key, found)| (key, found.value)).collect())
    }
}

/// A value, which is written down where it is known to be no secret.
struct Variable {
    value: String,
    shown: bool,
}

impl Recordable for Variable {
    fn to_record(&self) -> Value {
        Value::from(if self.shown { self.value.as_str() } else { WITHHELD })
    }

    fn from_record(record: Value) -> Result<Self> {
        Ok(Self { value: String::from_record(record)?, shown: true })
    }
}
