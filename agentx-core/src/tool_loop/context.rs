use std::sync::Arc;

use super::Options;
use crate::{
    AssistantMessage, Compaction, Error, ErrorKind, Message, MessageBody, ModelSettings, Result, Thinking,
    ToolResult, Turn, Usage,
    compaction::{self, History, tokens_of, tokens_of_text},
    message::{json_size, place_of_result},
};

/// The window of a model that nobody knows, in tokens.
const USUAL_WINDOW: u64 = 200_000;

/// The conversation as the model is shown it, and how much of the model's window it takes.
pub(super) struct Context {
    messages: Arc<Vec<MessageBody>>,
    keep_thinking: bool,
    /// What a model has counted: so many tokens for so many of the first messages.
    measured: Option<(usize, u64)>,
    /// The tokens of what comes before the messages, roughly.
    preamble: u64,
    /// It is not compacted before it has so many messages: what could be done has been done.
    again_at: usize,
}

impl Context {
    pub(super) fn new(history: Vec<Message>, turn: &Turn) -> Self {
        let keep_thinking = matches!(turn.settings.thinking, Some(Thinking::Budget(_)));
        let mut shown = History::new(keep_thinking);
        for message in history {
            shown.push(message);
        }
        let (messages, measured) = shown.into_shown();
        let tools = turn.tools.definitions();
        let tools = tools.iter().map(|tool| tool.description.len() + json_size(&tool.input_schema));
        let preamble = tools.sum::<usize>() + turn.system.as_ref().map_or(0, String::len);
        let preamble = tokens_of_text(preamble);
        Self { messages: Arc::new(messages), keep_thinking, measured, preamble, again_at: 0 }
    }

    pub(super) fn messages(&self) -> &Arc<Vec<MessageBody>> {
        &self.messages
    }

    pub(super) fn push(&mut self, message: AssistantMessage) {
        Arc::make_mut(&mut self.messages).push(MessageBody::Assistant(message));
    }

    /// Adds a result where its call has its place, so that the model is shown the same whichever tool ends first.
    pub(super) fn push_result(&mut self, result: ToolResult) {
        let messages: &mut Vec<_> = Arc::make_mut(&mut self.messages);
        let place = place_of_result(messages, |body| body, &result);
        messages.insert(place, MessageBody::Tool(result.into_shown()));
    }

    /// A model has counted all messages so far, its own answer included. Some servers count nothing.
    pub(super) fn measure(&mut self, usage: Usage) {
        if usage.total_input() > 0 {
            self.measured = Some((self.messages.len(), usage.total()));
        }
    }

    /// How many tokens it has, rather too many than too few.
    fn tokens(&self) -> u64 {
        let (counted, tokens) = self.measured.unwrap_or((0, self.preamble));
        tokens.saturating_add(tokens_of(self.messages.get(counted..).unwrap_or_default()))
    }

    /// How many tokens it has, how many it may have, and the window, where it has grown too long.
    pub(super) fn excess(&self, options: &Options, model: Option<&str>) -> Option<(u64, u64, u64)> {
        let window = window(options, model);
        let limit = window.saturating_mul(u64::from(options.share)) / 100;
        let tokens = self.tokens();
        (tokens > limit && self.messages.len() >= self.again_at).then_some((tokens, limit, window))
    }

    /// As [`Context::excess`], for a conversation that the model has refused as too long, whatever was thought of it.
    pub(super) fn refused(&self, options: &Options, model: Option<&str>) -> (u64, u64, u64) {
        let tokens = self.tokens();
        (tokens, tokens / 4 * 3, window(options, model))
    }

    /// Cuts the outputs of these calls, and gives those that were longer before.
    pub(super) fn offload(&mut self, calls: &[String]) -> Vec<String> {
        let messages: &mut Vec<_> = Arc::make_mut(&mut self.messages);
        self.measured = None;
        compaction::offload(messages, calls, self.keep_thinking)
    }

    /// Puts a summary in place of what it stands for.
    pub(super) fn summarize(&mut self, mut compaction: Compaction) -> Result<Compaction> {
        let blank = |text: &str| text.trim().is_empty();
        if compaction.summary.iter().all(|part| part.as_text().is_some_and(blank)) {
            return Err(Error::new(ErrorKind::InvalidInput, "compact conversation")
                .with_message("the summary says nothing"));
        }
        let messages = Arc::make_mut(&mut self.messages);
        let kept = compaction.kept;
        compaction.kept =
            compaction::summarize(messages, compaction.summary.clone(), kept, self.keep_thinking);
        self.measured = None;
        Ok(compaction)
    }

    /// Nothing more can be done about its length, until there is more of it.
    pub(super) fn leave(&mut self) {
        self.again_at = self.messages.len() + 4;
    }
}

fn window(options: &Options, model: Option<&str>) -> u64 {
    let known = || Some(options.models.get(model?)?.context_window);
    options.window.or_else(known).unwrap_or(USUAL_WINDOW)
}

/// The settings' name of a model, or the one that it gave itself.
pub(super) fn model_name<'a>(answered: Option<&'a String>, settings: &'a ModelSettings) -> Option<&'a str> {
    answered.or(settings.model.as_ref()).map(String::as_str)
}
