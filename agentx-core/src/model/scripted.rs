use std::{fmt, sync::Arc};

use futures::{StreamExt, stream};
use serde_json::Value;

use super::{BlockChange, BlockKind, Model, ModelEvent, ModelRequest, ModelStream};
use crate::{Error, ErrorKind, Result, StopReason, ToolOutput, Usage};

/// A model that answers from a script: for tests, and for examples that must run without a key. Its tools run for
/// real.
///
/// A script is a function from the request, and so from all earlier tool results, to the next [`Reply`]. It counts
/// as usage the words that it was given and the words that it said.
///
/// ```
/// use agentx_core::{ModelRequest, Reply, ScriptedModel};
/// use serde_json::json;
///
/// let model = ScriptedModel::new("counter", |request: &ModelRequest| match request.answer("count") {
///     None => Ok(Reply::text("I count.").call("count", "bash", json!({"command": "ls | wc -l"}))),
///     Some(output) => Ok(Reply::text(format!("There are {}.", output.to_text().trim()))),
/// });
/// # let _ = model;
/// ```
#[derive(Clone)]
pub struct ScriptedModel {
    name: Arc<str>,
    script: Arc<Script>,
}

type Script = dyn Fn(&ModelRequest) -> Result<Reply> + Send + Sync;

impl ScriptedModel {
    /// A model that answers with what `script` says.
    pub fn new(
        name: impl Into<Arc<str>>,
        script: impl Fn(&ModelRequest) -> Result<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), script: Arc::new(script) }
    }

    /// A model that gives these replies one after another: the first to a request without assistant messages, the
    /// second to one with one, and so on. A request beyond the last is an error.
    pub fn replies(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<_> = replies.into_iter().collect();
        Self::new("scripted", move |request| {
            let spoken = request.messages.iter().filter(|message| message.role() == "assistant").count();
            replies.get(spoken).cloned().ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "call model").with_provider("scripted").with_message(
                    format!("the script has {} replies, and one more was asked for", replies.len()),
                )
            })
        })
    }

    /// The events of the reply to `request`.
    ///
    /// # Errors
    /// What the script reports.
    pub fn reply(&self, request: &ModelRequest) -> Result<Vec<ModelEvent>> {
        let reply = (self.script)(request)?;
        Ok(reply.events(&self.name, request))
    }
}

impl Model for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        match self.reply(&request) {
            Ok(events) => stream::iter(events.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One answer of a [`ScriptedModel`]: thinking, text and tool calls, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    blocks: Vec<ReplyBlock>,
    stop: Option<StopReason>,
}

#[derive(Clone, Debug, PartialEq)]
enum ReplyBlock {
    Thinking(String),
    Text(String),
    Call { label: String, tool: String, input: Value },
}

impl Reply {
    /// An answer that begins with text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().then_text(text)
    }

    /// An answer that begins with thinking.
    pub fn thinking(text: impl Into<String>) -> Self {
        let mut reply = Self::default();
        reply.blocks.push(ReplyBlock::Thinking(text.into()));
        reply
    }

    /// Adds text.
    pub fn then_text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(ReplyBlock::Text(text.into()));
        self
    }

    /// Adds a tool call. Later replies find its output with [`ModelRequest::answer`] by `label`: ASCII letters,
    /// digits and `-`.
    pub fn call(mut self, label: impl Into<String>, tool: impl Into<String>, input: Value) -> Self {
        self.blocks.push(ReplyBlock::Call { label: label.into(), tool: tool.into(), input });
        self
    }

    /// Ends for this reason, instead of `tool_use` where there is a call and `end_turn` where there is none.
    pub fn stop(mut self, reason: StopReason) -> Self {
        self.stop = Some(reason);
        self
    }

    fn events(self, model: &str, request: &ModelRequest) -> Vec<ModelEvent> {
        let calls = self.blocks.iter().any(|block| matches!(block, ReplyBlock::Call { .. }));
        let natural = if calls { StopReason::ToolUse } else { StopReason::EndTurn };
        let given: usize = request.messages.iter().map(|message| words(&message.text())).sum();
        let mut said = 0;
        let mut events = vec![ModelEvent::Start { model: model.to_owned() }];
        for (index, block) in (0..).zip(self.blocks) {
            let mut push = |change| events.push(ModelEvent::Block { index, change });
            match block {
                ReplyBlock::Thinking(text) => {
                    said += words(&text);
                    push(BlockChange::Start(BlockKind::Thinking));
                    pieces(&text).for_each(|piece| push(BlockChange::Thinking(piece.to_owned())));
                }
                ReplyBlock::Text(text) => {
                    said += words(&text);
                    push(BlockChange::Start(BlockKind::Text));
                    pieces(&text).for_each(|piece| push(BlockChange::Text(piece.to_owned())));
                }
                ReplyBlock::Call { label, tool, input } => {
                    let json = input.to_string();
                    said += words(&json);
                    push(BlockChange::Start(BlockKind::ToolUse { id: call_id(&label, request), name: tool }));
                    push(BlockChange::InputJson(json));
                }
            }
            push(BlockChange::Stop);
        }
        events.push(ModelEvent::Usage(Usage::new(given as u64, said as u64)));
        events.push(ModelEvent::Stop(self.stop.unwrap_or(natural)));
        events
    }
}

impl ModelRequest {
    /// What the tool call with this label answered, since the user last spoke; the latest, where there are several.
    /// For scripts: see [`Reply::call`].
    pub fn answer(&self, label: &str) -> Option<&ToolOutput> {
        let answers = |id: &str| {
            id.strip_prefix("call_")
                .and_then(|rest| rest.rsplit_once('_'))
                .is_some_and(|(found, _)| found == label)
        };
        self.tool_results().filter(|result| answers(&result.tool_call_id)).last().map(|result| &result.output)
    }
}

/// Unique within the conversation, which only grows.
fn call_id(label: &str, request: &ModelRequest) -> String {
    format!("call_{label}_{}", request.messages.len())
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// A model speaks in small pieces, and so does this one: word by word.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}
