use std::{collections::VecDeque, mem, sync::Arc};

use agentx_resource::BoxFuture;
use futures::{
    StreamExt,
    future::{self, Either},
    stream::BoxStream,
};

use super::tools;
use crate::{
    AssistantMessage, BudgetKind, DriverEvent, Error, ErrorKind, MessageAssembler, MessageBody, Model,
    ModelEvent, ModelRequest, ModelStream, Outcome, StopReason, ToolChoice, ToolResult, Turn,
};

/// The longest answer of a model, in bytes: far more than any model says, and no more than memory can hold.
const MAX_ANSWER: usize = 64 << 20;

/// A turn under way. Each call of [`Run::next`] does no more than what leads to the next event, so that an event is
/// always told before its effect.
pub(super) struct Run<M> {
    model: Arc<M>,
    turn: Turn,
    parallel_tools: usize,
    messages: Arc<Vec<MessageBody>>,
    spent: Spent,
    phase: Phase,
}

#[derive(Default)]
struct Spent {
    steps: u32,
    tool_calls: u32,
    output_tokens: u64,
}

enum Phase {
    /// The model is to be asked.
    Ask,
    /// The model answers.
    Answer { stream: ModelStream, message: MessageAssembler },
    /// The answer is complete.
    Judge { message: AssistantMessage, reason: StopReason },
    /// Tools are decided on, one after another, and then run.
    Decide { plan: tools::Plan },
    /// Tools run.
    Run { running: BoxStream<'static, ToolResult> },
    /// The end was told.
    Over,
}

impl<M: Model> Run<M> {
    pub(super) fn new(model: Arc<M>, mut turn: Turn, parallel_tools: usize) -> Self {
        // Errors are for people: no model sees them.
        let bodies = mem::take(&mut turn.history).into_iter().map(|message| message.body);
        let messages = Arc::new(bodies.filter(MessageBody::is_shown).collect());
        Self { model, turn, parallel_tools, messages, spent: Spent::default(), phase: Phase::Ask }
    }

    /// The next event, or `None` after the end. `deadline` ends the turn wherever it stands.
    pub(super) async fn next(&mut self, deadline: &mut BoxFuture<'static, ()>) -> Option<DriverEvent> {
        if matches!(self.phase, Phase::Over) {
            return None;
        }
        let event = {
            let step = std::pin::pin!(self.step());
            match future::select(deadline, step).await {
                Either::Left(((), _)) => Outcome::Budget(BudgetKind::Duration).into(),
                Either::Right((event, _)) => event,
            }
        };
        if matches!(event, DriverEvent::End(_)) {
            self.phase = Phase::Over;
        }
        Some(event)
    }

    async fn step(&mut self) -> DriverEvent {
        loop {
            let event = match mem::replace(&mut self.phase, Phase::Over) {
                Phase::Ask => self.ask(),
                Phase::Answer { stream, message } => self.answer(stream, message).await,
                Phase::Judge { message, reason } => self.judge(message, &reason),
                Phase::Decide { plan } => self.decide(plan).await,
                Phase::Run { running } => self.run(running).await,
                Phase::Over => {
                    return failed(ErrorKind::Internal, "the turn was polled while a poll was under way");
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn ask(&mut self) -> Option<DriverEvent> {
        if self.spent.steps >= self.turn.budget.steps {
            return Some(Outcome::Budget(BudgetKind::Steps).into());
        }
        if self.turn.budget.output_tokens.is_some_and(|allowed| self.spent.output_tokens >= allowed) {
            return Some(Outcome::Budget(BudgetKind::OutputTokens).into());
        }
        self.spent.steps += 1;
        let mut settings = self.turn.settings.clone();
        // Forced each time, the model could never end the turn.
        if self.spent.steps > 1 && settings.tool_choice.as_ref().is_some_and(ToolChoice::is_forced) {
            settings.tool_choice = Some(ToolChoice::Auto);
        }
        let request = ModelRequest {
            system: self.turn.system.clone(),
            messages: self.messages.clone(),
            tools: self.turn.tools.definitions(),
            settings,
        };
        self.phase = Phase::Answer { stream: self.model.call(request), message: MessageAssembler::new() };
        None
    }

    async fn answer(
        &mut self,
        mut stream: ModelStream,
        mut message: MessageAssembler,
    ) -> Option<DriverEvent> {
        let event = match stream.next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Some(Outcome::Failed(error).into()),
            None => {
                return Some(failed(ErrorKind::Truncated, "the model's answer ended without a stop reason"));
            }
        };
        message.push(&event);
        if message.size() > MAX_ANSWER {
            return Some(failed(ErrorKind::LimitExceeded, "the model's answer is longer than 64 MiB"));
        }
        self.phase = match &event {
            ModelEvent::Stop(reason) => {
                let message = message.finish();
                self.spent.output_tokens += message.usage.map_or(0, |usage| usage.output_tokens);
                Phase::Judge { message, reason: reason.clone() }
            }
            _ => Phase::Answer { stream, message },
        };
        Some(DriverEvent::Model(event))
    }

    fn judge(&mut self, message: AssistantMessage, reason: &StopReason) -> Option<DriverEvent> {
        let calls: VecDeque<_> = message.tool_calls().cloned().collect();
        if !message.content.is_empty() {
            Arc::make_mut(&mut self.messages).push(MessageBody::Assistant(message));
        }
        self.phase = match reason {
            StopReason::ToolUse | StopReason::PauseTurn if !calls.is_empty() => {
                Phase::Decide { plan: tools::Plan::new(calls, &self.turn) }
            }
            // The model's own words are the whole answer to a pause. The bound on steps ends a model that never stops.
            StopReason::PauseTurn => Phase::Ask,
            StopReason::MaxTokens | StopReason::ContextWindowExceeded => {
                return Some(Outcome::Truncated.into());
            }
            StopReason::Refusal => return Some(Outcome::Refused.into()),
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse | StopReason::Other(_) => {
                return Some(Outcome::Completed.into());
            }
        };
        None
    }

    async fn decide(&mut self, mut plan: tools::Plan) -> Option<DriverEvent> {
        if self.spent.tool_calls >= self.turn.budget.tool_calls && plan.has_undecided() {
            return Some(Outcome::Budget(BudgetKind::ToolCalls).into());
        }
        match plan.decide_next().await {
            Some(decided) => {
                self.spent.tool_calls += 1;
                self.phase = Phase::Decide { plan };
                if let DriverEvent::ToolEnd(result) = &decided {
                    self.record(result);
                }
                Some(decided)
            }
            None => {
                self.phase = Phase::Run { running: plan.run(self.parallel_tools) };
                None
            }
        }
    }

    async fn run(&mut self, mut running: BoxStream<'static, ToolResult>) -> Option<DriverEvent> {
        match running.next().await {
            Some(result) => {
                self.phase = Phase::Run { running };
                self.record(&result);
                Some(DriverEvent::ToolEnd(result))
            }
            None => {
                self.phase = Phase::Ask;
                None
            }
        }
    }

    fn record(&mut self, result: &ToolResult) {
        Arc::make_mut(&mut self.messages).push(MessageBody::Tool(result.clone()));
    }
}

fn failed(kind: ErrorKind, message: &'static str) -> DriverEvent {
    Outcome::Failed(Error::new(kind, "run turn").with_message(message)).into()
}
