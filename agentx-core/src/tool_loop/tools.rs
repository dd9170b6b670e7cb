use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use agentx_resource::Clock;
use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    Decision, DriverEvent, Permission, PermissionRequest, ToolCall, ToolContext, ToolOutput, ToolResult,
    ToolSet, Turn,
};

/// The most that a model is told of one call, in bytes. Tools have lower bounds of their own; this one keeps a tool
/// without any from filling memory and the session.
const MAX_OUTPUT: usize = 8 << 20;

/// The tool calls of one answer, on their way from the model to the tools.
pub(super) struct Plan {
    undecided: VecDeque<ToolCall>,
    allowed: Vec<ToolCall>,
    tools: ToolSet,
    permission: Arc<dyn Permission>,
    clock: Arc<dyn Clock>,
}

impl Plan {
    pub(super) fn new(calls: VecDeque<ToolCall>, turn: &Turn) -> Self {
        Self {
            undecided: calls,
            allowed: Vec::new(),
            tools: turn.tools.clone(),
            permission: turn.permission.clone(),
            clock: turn.clock.clone(),
        }
    }

    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Decides on the next call: `ToolStart` for one that will run, `ToolEnd` for one that won't, `None` when all are
    /// decided.
    pub(super) async fn decide_next(&mut self) -> Option<DriverEvent> {
        let mut call = self.undecided.pop_front()?;
        let refusal = match self.judge(&call).await {
            Ok(Decision::Allow) => None,
            Ok(Decision::AllowWith(input)) => {
                call.input = input;
                None
            }
            // Nobody can be asked yet.
            Ok(Decision::Deny(reason) | Decision::Ask(reason)) => Some(ToolOutput::ExecutionDenied(reason)),
            Err(output) => Some(output),
        };
        Some(match refusal {
            None => {
                self.allowed.push(call.clone());
                DriverEvent::ToolStart(call)
            }
            Some(output) => DriverEvent::ToolEnd(ToolResult::new(call.id, call.name, output)),
        })
    }

    async fn judge(&self, call: &ToolCall) -> Result<Decision, ToolOutput> {
        if let Some(json) = &call.malformed {
            let shown: String = json.chars().take(200).collect();
            return Err(ToolOutput::error(format!(
                "The input is not a JSON object nested at most 100 deep, and nothing was run: {shown}"
            )));
        }
        if self.tools.get(&call.name).is_none() {
            return Err(ToolOutput::error(format!("There is no tool called {:?}.", call.name)));
        }
        // Whatever goes wrong with the judge, the call does not run.
        let decision = async { self.permission.decide(PermissionRequest::new(call.clone())).await };
        match AssertUnwindSafe(decision).catch_unwind().await {
            Ok(Ok(decision)) => Ok(decision),
            Ok(Err(error)) => Ok(Decision::Deny(format!("The permission could not be decided: {error}"))),
            Err(_) => Ok(Decision::Deny("The permission could not be decided.".to_owned())),
        }
    }

    /// Runs what is allowed, `parallel` at a time; results come as the tools end.
    pub(super) fn run(self, parallel: usize) -> BoxStream<'static, ToolResult> {
        let Self { allowed, tools, clock, .. } = self;
        stream::iter(allowed)
            .map(move |call| run_one(call, tools.clone(), clock.clone()))
            .buffer_unordered(parallel)
            .boxed()
    }
}

async fn run_one(call: ToolCall, tools: ToolSet, clock: Arc<dyn Clock>) -> ToolResult {
    let ToolCall { id, name, input, .. } = call;
    let output = match tools.get(&name).cloned() {
        None => ToolOutput::error(format!("There is no tool called {name:?}.")),
        Some(tool) => {
            let context = ToolContext::new(id.clone(), clock);
            match AssertUnwindSafe(async { tool.call(input, context).await }).catch_unwind().await {
                Ok(Ok(output)) => output,
                Ok(Err(error)) => ToolOutput::error(error.to_string()),
                Err(_) => ToolOutput::error(format!("The tool {name:?} panicked.")),
            }
        }
    };
    ToolResult::new(id, name, output.bounded(MAX_OUTPUT))
}
