use std::sync::Arc;

use agentx_core::{Result, Tool, ToolContext, ToolDefinition, ToolOutput};
use async_trait::async_trait;
use serde_json::Value;

use super::{
    Scope, UndoLog,
    record::{Record, Taken},
};
use crate::snapshot::{
    Change,
    tree::{Tree, candidates},
};

/// A call that runs.
pub(super) struct Call<'l> {
    pub(super) log: &'l UndoLog,
    pub(super) number: u64,
    /// What is kept of the state before.
    pub(super) kept: Tree,
}

impl Call<'_> {
    async fn remember(self, call: String, scope: &Scope, before: Result<()>) {
        let changes = match before {
            Ok(()) => self.log.after(scope).await.map(|after| {
                let changes = candidates(&self.kept, &after).into_iter().map(|Change { path, .. }| Taken {
                    before: self.kept.get(&path).cloned(),
                    after: after.get(&path).cloned(),
                    path,
                });
                changes.collect()
            }),
            Err(error) => Err(error),
        };
        // What begins from here on can't have changed what was seen.
        let ended = self.log.log().running.remove(&self.number);
        let overlapped = ended.is_some_and(|running| running.overlapped);
        let mut record = Record { call, overlapped, changes, number: None };
        let mut state = self.log.0.snapshots.state.lock().await;
        if let Some(stored) = record.stored() {
            // They stay kept when the rest is given up.
            state.store.hold(stored.kept());
            match state.store.save_call(&stored).await {
                Ok(number) => record.number = Some(number),
                Err(error) => {
                    let changes = std::mem::replace(&mut record.changes, Err(error));
                    let before = changes.into_iter().flatten().filter_map(|change| change.before);
                    self.log.log().garbage.extend(before);
                }
            }
        }
        self.log.log().push(record);
    }
}

/// Also for a call that is dropped, which is not remembered.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut log = self.log.log();
        log.running.remove(&self.number);
        log.garbage.extend(std::mem::take(&mut self.kept).into_values().filter(|node| node.blob().is_some()));
    }
}

/// A tool whose calls are remembered.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) inner: Arc<dyn Tool>,
    pub(super) log: UndoLog,
}

#[async_trait]
impl Tool for Recorded {
    fn definition(&self) -> &ToolDefinition {
        self.inner.definition()
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let scope = match self.definition().name.as_str() {
            "bash" => Scope::Tree,
            _ => {
                let path = input.get("file_path").and_then(Value::as_str).unwrap_or_default();
                match self.log.0.runtime.resolve(path) {
                    Ok(path) => Scope::File(path),
                    // The tool says what is wrong, and does nothing.
                    Err(_) => return self.inner.call(input, context).await,
                }
            }
        };
        let mut call = self.log.begin(scope.clone());
        let before = self.log.before(&scope).await.map(|kept| call.kept = kept);
        let id = context.call_id.clone();
        let output = self.inner.call(input, context).await;
        call.remember(id, &scope, before).await;
        output
    }
}
