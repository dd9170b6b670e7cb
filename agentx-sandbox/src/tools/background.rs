use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{BackgroundId, BackgroundProcesses, BackgroundState, LogCursor, LogPage, OutputStream};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{
    Action, MAX_RESULT_CHARS, schema,
    search::{Search, lines},
};
use crate::runtime::{RedactStream, Redactor};

/// Tells what a command in the background has written since the last call.
#[derive(Debug)]
pub(super) struct BashOutput {
    background: Arc<BackgroundProcesses>,
    redactor: Redactor,
    /// How far each was read.
    readers: Mutex<BTreeMap<BackgroundId, Reader>>,
}

struct Reader {
    next: LogCursor,
    stdout: RedactStream,
    stderr: RedactStream,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputInput {
    bash_id: String,
    filter: Option<String>,
}

impl BashOutput {
    pub(super) fn new(background: &Arc<BackgroundProcesses>, redactor: &Redactor) -> Self {
        let (background, redactor) = (Arc::clone(background), redactor.clone());
        Self { background, redactor, readers: Mutex::default() }
    }

    /// What is new, and whether there is more.
    fn read(&self, id: &BackgroundId) -> Result<(String, LogPage, bool)> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // There are no more than the commands that are kept.
        readers.retain(|id, _| self.background.status(id).is_ok());
        let reader = readers.entry(id.clone()).or_insert_with(|| Reader {
            next: LogCursor::START,
            stdout: self.redactor.stream(),
            stderr: self.redactor.stream(),
        });
        let page = self.background.read(id, reader.next, MAX_RESULT_CHARS)?;
        reader.next = page.next;
        let mut text = Vec::new();
        for piece in &page.pieces {
            let clean = match piece.stream {
                OutputStream::Stdout => &mut reader.stdout,
                OutputStream::Stderr => &mut reader.stderr,
            };
            text.extend(clean.push(&piece.bytes));
        }
        if page.status.is_some() {
            for clean in [&mut reader.stdout, &mut reader.stderr] {
                text.extend(std::mem::replace(clean, self.redactor.stream()).finish());
            }
        }
        let more = self.background.status(id)?.log_end > page.next;
        Ok((String::from_utf8_lossy(&text).into_owned(), page, more))
    }
}

#[async_trait]
impl Action for BashOutput {
    type Input = OutputInput;

    fn definition(&self) -> ToolDefinition {
        let description = "Tells what a command that runs in the background has written since the last call, and \
                           whether it still runs. Does not wait.";
        let properties = json!({
            "bash_id": {"type": "string", "description": "The ID that bash told"},
            "filter": {
                "type": "string",
                "description": "A regular expression: only lines that match are told, and the others are passed over for good",
            },
        });
        ToolDefinition::new("bash_output", description, schema(&properties, &["bash_id"]))
    }

    async fn run(&self, input: OutputInput, _context: ToolContext) -> Result<ToolOutput> {
        let filter = input.filter.as_deref().map(|filter| Search::new(filter, false, false)).transpose()?;
        let id = BackgroundId::new(input.bash_id);
        let (mut text, page, more) = self.read(&id).map_err(|error| explain(error, &id))?;
        if let Some(filter) = filter {
            let matching: Vec<usize> = filter.steps(text.as_bytes()).flatten().collect();
            let kept = lines(text.as_bytes()).enumerate().filter(|(number, _)| matching.contains(number));
            let kept: Vec<_> = kept.map(|(_, line)| String::from_utf8_lossy(line)).collect();
            text = kept.join("\n");
        }
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            text.push_str("(no new output)");
        }
        if page.lost > 0 {
            text = format!("[{} bytes before this are no longer kept]\n{text}", page.lost);
        }
        let state = match page.status {
            None if more => "there is more: call bash_output again".to_owned(),
            None => "still running".to_owned(),
            Some(status) => status.to_string(),
        };
        Ok(format!("{text}\n[{state}]").into())
    }
}

/// Ends a command in the background.
#[derive(Debug)]
pub(super) struct KillShell(pub(super) Arc<BackgroundProcesses>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KillInput {
    shell_id: String,
}

#[async_trait]
impl Action for KillShell {
    type Input = KillInput;

    fn definition(&self) -> ToolDefinition {
        let description = "Ends a command that runs in the background, with all that it started. Its output can still \
                           be read with bash_output.";
        let properties = json!({"shell_id": {"type": "string", "description": "The ID that bash told"}});
        ToolDefinition::new("kill_shell", description, schema(&properties, &["shell_id"]))
    }

    async fn run(&self, input: KillInput, _context: ToolContext) -> Result<ToolOutput> {
        let id = BackgroundId::new(input.shell_id);
        let told = |error| explain(error, &id);
        if let BackgroundState::Ended { status, .. } = self.0.status(&id).map_err(told)?.state {
            return Ok(format!("{id} had already ended: {status}.").into());
        }
        self.0.kill(&id).await.map_err(told)?;
        let status = self.0.wait(&id).await.map_err(told)?;
        Ok(format!("{id} has ended: {status}.").into())
    }
}

fn explain(error: Error, id: &BackgroundId) -> Error {
    let shown: String = id.as_str().chars().take(200).collect();
    let error = error.with_path(shown);
    match error.kind() {
        ErrorKind::NotFound => error.with_message("no such command; use the ID that bash told"),
        _ => error,
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).finish_non_exhaustive()
    }
}
