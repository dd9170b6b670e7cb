//! Hooks: code of the application's that runs before and after a turn and each of its tool calls.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use agentx_resource::Clock;
use async_trait::async_trait;
use futures::{
    FutureExt,
    future::{self, Either},
};
use serde_json::Value;

use crate::{Error, ErrorKind, MessageBody, OutcomeKind, Result, Spent, ToolCall, ToolOutput, ToolResult};

/// How long one hook may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Is asked before and after a turn and each tool call that may run, hook after hook, in the order in which they were
/// given. Each may change what the next sees.
///
/// Before something, it fails closed: an error, a panic, an action that makes no sense there, or more than a minute
/// without an answer, and the call is denied, or the turn fails. After it, the same is told with
/// [`DriverEvent::HookFailed`](crate::DriverEvent::HookFailed), and changes nothing. Behind a turn
/// that is interrupted, the runtime asks in place of the driver. A turn that is left where it stands, by a crash or
/// [`Agent::close`](crate::Agent::close), has its `AfterTurn` when it ends, if it goes on.
///
/// ```
/// use agentx_core::{Hook, HookAction, HookPoint, Result};
/// use async_trait::async_trait;
///
/// /// Lets no tool write outside of `drafts/`.
/// #[derive(Debug)]
/// struct Drafts;
///
/// #[async_trait]
/// impl Hook for Drafts {
///     async fn run(&self, point: HookPoint) -> Result<HookAction> {
///         Ok(match point {
///             HookPoint::BeforeTool { call } if call.name == "write" => match call.input["path"].as_str() {
///                 Some(path) if path.starts_with("drafts/") => HookAction::Continue,
///                 _ => HookAction::Deny("Write to drafts/ only.".to_owned()),
///             },
///             _ => HookAction::Continue,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Hook: fmt::Debug + Send + Sync + 'static {
    /// Answers at one point.
    ///
    /// # Errors
    /// See above for what an error does.
    async fn run(&self, point: HookPoint) -> Result<HookAction>;
}

/// Where a [`Hook`] is asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HookPoint {
    /// A turn is about to begin.
    BeforeTurn {
        /// The last message of the history: the user's, but in a turn that resumes.
        message: Option<MessageBody>,
    },
    /// A tool call is about to be put to the permission.
    BeforeTool {
        /// The call, as the hooks before this one left it.
        call: ToolCall,
    },
    /// A tool call ran.
    AfterTool {
        /// The call, as it ran.
        call: ToolCall,
        /// Its result, as the hooks before this one left it.
        result: ToolResult,
    },
    /// A turn is about to end.
    AfterTurn {
        /// How it ends.
        outcome: OutcomeKind,
        /// What it used.
        spent: Spent,
    },
}

/// What a [`Hook`] wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HookAction {
    /// Nothing.
    Continue,
    /// Before a tool: this input instead, an object.
    ReplaceInput(Value),
    /// After a tool: this output instead.
    ReplaceOutput(ToolOutput),
    /// Before a tool: the call does not run, and the model is told why. Before a turn: the turn fails with
    /// `PermissionDenied` and this reason.
    Deny(String),
}

/// Asks one hook; whatever goes wrong with it is an error, and so is an action that makes no sense at that point.
pub(crate) async fn ask(hook: &Arc<dyn Hook>, point: HookPoint, clock: &dyn Clock) -> Result<HookAction> {
    let (can_edit, can_replace, can_deny, at) = match point {
        HookPoint::BeforeTurn { .. } => (false, false, true, "before a turn"),
        HookPoint::BeforeTool { .. } => (true, false, true, "before a tool"),
        HookPoint::AfterTool { .. } => (false, true, false, "after a tool"),
        HookPoint::AfterTurn { .. } => (false, false, false, "after a turn"),
    };
    let failed = |kind, message: String| {
        Err(Error::new(kind, "run hook").with_path(format!("{hook:?}")).with_message(message))
    };
    let answer = AssertUnwindSafe(async { hook.run(point).await }).catch_unwind();
    let action = match future::select(std::pin::pin!(answer), clock.sleep(LIMIT)).await {
        Either::Left((Ok(answer), _)) => answer?,
        Either::Left((Err(_), _)) => return failed(ErrorKind::Internal, format!("it panicked {at}")),
        Either::Right(_) => {
            return failed(ErrorKind::TimedOut, format!("it gave no answer for a minute {at}"));
        }
    };
    let fits = match &action {
        HookAction::Continue => true,
        HookAction::ReplaceInput(_) => can_edit,
        HookAction::ReplaceOutput(_) => can_replace,
        HookAction::Deny(_) => can_deny,
    };
    if fits { Ok(action) } else { failed(ErrorKind::InvalidInput, format!("its action makes no sense {at}")) }
}
