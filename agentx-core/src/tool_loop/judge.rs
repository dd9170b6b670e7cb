use std::{panic::AssertUnwindSafe, sync::Arc};

use agentx_resource::Clock;
use futures::FutureExt;
use serde_json::Value;

use crate::{
    ApprovalId, Approvals, Decision, Error, HookAction, HookPoint, PermissionRequest, Result, ToolCall,
    ToolOutput, ToolResult, ToolSet, hook, tool::TurnScope,
};

/// A call that may run.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) call: ToolCall,
    /// Whether its input is another than the model's.
    pub(super) edited: bool,
}

/// What was decided on a call.
pub(super) enum Verdict {
    Run(Granted),
    Refuse(ToolResult),
    Ask { granted: Granted, approvals: Arc<dyn Approvals>, reason: String },
}

/// Decides which calls run: hooks first, then the permission, then whoever it asks. Whatever goes wrong with them, the
/// call does not run.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) scope: TurnScope,
    pub(super) tools: ToolSet,
    pub(super) clock: Arc<dyn Clock>,
}

impl Judge {
    /// Decides on a call that nobody has decided on.
    pub(super) async fn decide(&self, granted: Granted) -> Verdict {
        let granted = match self.before(granted).await {
            Ok(granted) => granted,
            Err(refused) => return Verdict::Refuse(refused),
        };
        let request = PermissionRequest::new(granted.call.clone());
        let decision = async { self.scope.permission.decide(request).await };
        let decision = AssertUnwindSafe(decision).catch_unwind().await;
        self.apply(granted, closed(decision, "The permission could not be decided"))
    }

    /// What follows from a decision on a call.
    pub(super) fn apply(&self, granted: Granted, decision: Decision) -> Verdict {
        match decision {
            Decision::Allow => self.run(granted),
            Decision::AllowWith(input) => match edit(granted.call, input) {
                Ok(granted) => self.run(granted),
                Err(refused) => Verdict::Refuse(refused),
            },
            Decision::Deny(reason) => refuse(&granted.call, ToolOutput::ExecutionDenied(reason)),
            Decision::Ask(reason) => match self.scope.approvals.clone() {
                Some(approvals) => Verdict::Ask { granted, approvals, reason },
                None => {
                    let why = format!("It needs an approval, and there is nobody to ask: {reason}");
                    refuse(&granted.call, ToolOutput::ExecutionDenied(why))
                }
            },
        }
    }

    /// What follows from the answer to an approval, which can't ask again.
    pub(super) fn answered(&self, granted: Granted, decision: Decision) -> Verdict {
        match decision {
            Decision::Ask(_) => {
                let why = "The approval was answered with a question.".to_owned();
                refuse(&granted.call, ToolOutput::ExecutionDenied(why))
            }
            decision => self.apply(granted, decision),
        }
    }

    /// A call that may run, if it can.
    fn run(&self, granted: Granted) -> Verdict {
        match self.check(&granted.call) {
            Ok(()) => Verdict::Run(granted),
            Err(output) => refuse(&granted.call, output),
        }
    }

    /// Whether the call makes sense.
    fn check(&self, call: &ToolCall) -> Result<(), ToolOutput> {
        if let Some(json) = &call.malformed {
            let shown: String = json.chars().take(200).collect();
            return Err(ToolOutput::error(format!(
                "The input is not a JSON object nested at most 100 deep, and nothing was run: {shown}"
            )));
        }
        match self.tools.get(&call.name) {
            Some(_) => Ok(()),
            None => Err(ToolOutput::error(format!("There is no tool called {:?}.", call.name))),
        }
    }

    async fn before(&self, mut granted: Granted) -> Result<Granted, ToolResult> {
        if let Err(output) = self.check(&granted.call) {
            return Err(result(&granted.call, output));
        }
        for hook in &self.scope.hooks {
            let point = HookPoint::BeforeTool { call: granted.call.clone() };
            match hook::ask(hook, point, &*self.clock).await {
                Ok(HookAction::ReplaceInput(input)) => granted = edit(granted.call, input)?,
                Ok(HookAction::Deny(reason)) => {
                    return Err(result(&granted.call, ToolOutput::ExecutionDenied(reason)));
                }
                Ok(_) => {}
                Err(error) => {
                    let why = format!("A hook failed, and so nothing was run: {error}");
                    return Err(result(&granted.call, ToolOutput::ExecutionDenied(why)));
                }
            }
        }
        Ok(granted)
    }
}

/// Waits for the answer to an approval.
pub(super) async fn wait(approvals: Arc<dyn Approvals>, approval: ApprovalId) -> Decision {
    let answer = AssertUnwindSafe(async { approvals.answer(&approval).await }).catch_unwind().await;
    closed(answer, "The approval did not come")
}

/// A decision, or a denial where there is none.
fn closed(decision: std::thread::Result<Result<Decision, Error>>, what: &str) -> Decision {
    match decision {
        Ok(Ok(decision)) => decision,
        Ok(Err(error)) => Decision::Deny(format!("{what}: {error}")),
        Err(_) => Decision::Deny(format!("{what}.")),
    }
}

/// The call with another input; refused, where that is none.
fn edit(mut call: ToolCall, input: Value) -> Result<Granted, ToolResult> {
    if !ToolCall::is_input(&input) {
        let why = "The input that was put in place is not a JSON object nested at most 100 deep.".to_owned();
        return Err(result(&call, ToolOutput::ExecutionDenied(why)));
    }
    call.input = input;
    Ok(Granted { call, edited: true })
}

fn refuse(call: &ToolCall, output: ToolOutput) -> Verdict {
    Verdict::Refuse(result(call, output))
}

fn result(call: &ToolCall, output: ToolOutput) -> ToolResult {
    ToolResult::new(&call.id, &call.name, output)
}
