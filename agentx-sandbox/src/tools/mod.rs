//! What an agent is offered over a runtime.
//!
//! A tool answers with text for a model. What goes wrong is an error that says what to do instead. Every size is
//! bounded; the bounds are constants beside the tools.

mod background;
mod bash;
mod capture;
mod edit;
mod first;
mod gitignore;
mod glob;
mod grep;
mod long;
mod ls;
mod options;
mod page;
mod read;
mod search;
mod sniff;
mod walk;
mod write;

use std::{fmt, sync::Arc};

use agentx_core::{ContentPart, Error, ErrorKind, Result, Tool, ToolContext, ToolDefinition, ToolOutput};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::long::{Long, MAX_RESULT_CHARS};
pub use self::options::ToolOptions;
#[cfg(feature = "mcp")]
pub(crate) use self::sniff::{Content, sniff};
use crate::{NodeRuntime, runtime::Redactor};

/// The tools over `runtime`: `bash` (where its process has a shell), `read`, `write`, `edit`, `glob`, `grep` and
/// `ls`.
///
/// Known secret values of the runtime are redacted from all that they answer.
///
/// ```
/// use agentx_core::ToolContext;
/// use agentx_resource::{FileSystemExt, ResourcePath};
/// use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
/// use agentx_sandbox::{NodeRuntime, tools};
/// use serde_json::json;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let clock = Arc::new(ManualClock::default());
/// let fs = Arc::new(MemoryFileSystem::new());
/// fs.write_file(&ResourcePath::new("/a.txt")?, "one\ntwo\n").await?;
/// let process = MemoryProcess::new(clock.clone()).with_root("/workspace").with_file_system(fs.clone());
/// let runtime = NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process));
///
/// let tools = tools(&runtime);
/// let read = tools.iter().find(|tool| tool.definition().name == "read").unwrap();
/// let output = read.call(json!({"file_path": "/workspace/a.txt"}), ToolContext::new("1", clock)).await?;
/// assert_eq!(output.to_text(), "     1\tone\n     2\ttwo\n");
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
pub fn tools(runtime: &NodeRuntime) -> Vec<Arc<dyn Tool>> {
    tools_with(runtime, &ToolOptions::new())
}

/// The tools over `runtime`, as [`tools`] gives them, with one shell for all calls of `bash`, or with commands in the
/// background.
///
/// ```no_run
/// use agentx_core::Result;
/// use agentx_resource::{Clock, Spawn};
/// use agentx_sandbox::{NodeRuntime, ToolOptions, tools_with};
/// use std::sync::Arc;
///
/// # async fn example(runtime: NodeRuntime, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Result<()> {
/// let options = ToolOptions::new()
///     .with_shell_session(runtime.shell_session(clock.clone()).await?)
///     .with_background(runtime.background(clock, spawn));
/// let tools = tools_with(&runtime, &options);
/// let names: Vec<_> = tools.iter().map(|tool| tool.definition().name.as_str()).collect();
/// assert_eq!(names[..3], ["bash", "bash_output", "kill_shell"]);
/// # Ok(()) }
/// ```
pub fn tools_with(runtime: &NodeRuntime, options: &ToolOptions) -> Vec<Arc<dyn Tool>> {
    let mut offered = Vec::new();
    if runtime.process().capabilities().shell {
        offered.push(offer(runtime, bash::Bash { runtime: runtime.clone(), options: options.clone() }));
        if let Some(background) = &options.background {
            offered.push(offer(runtime, background::BashOutput::new(background, runtime.redactor())));
            offered.push(offer(runtime, background::KillShell(Arc::clone(background))));
        }
    }
    offered.extend([
        offer(runtime, read::Read(runtime.clone())),
        offer(runtime, write::Write(runtime.clone())),
        offer(runtime, edit::Edit(runtime.clone())),
        offer(runtime, glob::Glob(runtime.clone())),
        offer(runtime, grep::Grep(runtime.clone())),
        offer(runtime, ls::Ls(runtime.clone())),
    ]);
    offered
}

/// One tool, without what all have in common.
#[async_trait]
pub(crate) trait Action: fmt::Debug + Send + Sync + 'static {
    type Input: DeserializeOwned + Send;

    fn definition(&self) -> ToolDefinition;

    async fn run(&self, input: Self::Input, context: ToolContext) -> Result<ToolOutput>;
}

/// Makes an action a tool: its input is checked, and its output redacted.
pub(crate) fn offer(runtime: &NodeRuntime, action: impl Action) -> Arc<dyn Tool> {
    Arc::new(Offered { definition: action.definition(), redactor: runtime.redactor().clone(), action })
}

#[derive(Debug)]
struct Offered<A> {
    definition: ToolDefinition,
    redactor: Redactor,
    action: A,
}

#[async_trait]
impl<A: Action> Tool for Offered<A> {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let name = &self.definition.name;
        let input = serde_json::from_value(input).map_err(|error| {
            let message = self.redactor.text(format!("{error}; nothing was done, call {name} again"));
            Error::new(ErrorKind::InvalidInput, name.clone()).with_message(message)
        })?;
        match self.action.run(input, context).await {
            Ok(output) => Ok(self.redact(output)),
            Err(error) => {
                let text = error.to_string();
                let clean = self.redactor.text(text.clone());
                if clean == text { Err(error) } else { Ok(ToolOutput::ErrorText(clean)) }
            }
        }
    }
}

impl<A> Offered<A> {
    fn redact(&self, output: ToolOutput) -> ToolOutput {
        match output {
            ToolOutput::Text(text) => ToolOutput::Text(self.redactor.text(text)),
            ToolOutput::ErrorText(text) => ToolOutput::ErrorText(self.redactor.text(text)),
            ToolOutput::Content(parts) => {
                let clean = parts.into_iter().map(|part| match part {
                    ContentPart::Text { text } => ContentPart::text(self.redactor.text(text)),
                    other => other,
                });
                ToolOutput::Content(clean.collect())
            }
            // No action answers with anything else.
            other => other,
        }
    }
}

/// A schema of an object with these properties and no others.
pub(crate) fn schema(properties: &Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
