//! What a session that was left in the middle of a turn needs before it can go on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    history, spent,
    turn::OpenTurn,
    writer::{With, Writer},
};
use crate::{
    AgentState, ApprovalRecord, DriverEvent, Error, ErrorKind, EventData, EventPage, Moment, Outcome, Result,
    Resumed, ResumedCall, SessionId, SessionRepository, StoredEvent, Timestamp, ToolCall, ToolOutput,
    ToolResult, TurnId, TurnInput, TurnMachine,
};

/// How many of the latest events are read: mostly, the first few tell that the last turn has ended.
const LATEST: [usize; 4] = [32, 256, 2048, 16384];

/// How a session stands.
pub(super) enum Recovered {
    /// Nothing is open any more.
    Whole,
    /// Calls wait for approvals, and all others have a result.
    Open(Box<Open>),
}

/// A turn that waits for approvals.
pub(super) struct Open {
    pub(super) machine: TurnMachine,
    pub(super) turn_id: TurnId,
    calls: Vec<ResumedCall>,
    /// What was sent with its message.
    options: Option<Arc<Value>>,
}

impl Open {
    /// Whether one of the approvals was answered, so that there is something to do.
    pub(super) fn is_answered(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.state, Resumed::Decided(_)))
    }

    /// The turn, as it goes on.
    pub(super) async fn go_on(self, writer: &mut Writer) -> Result<OpenTurn> {
        let ledger = spent::ledger(writer.agent()).await?;
        Ok(OpenTurn::resumed(writer, self.turn_id, self.machine, self.calls, ledger, self.options))
    }
}

/// Closes what was cut off. A call that had begun is never run again: whether it took effect is unknown, and the model is
/// told so. One that had not begun did not run, and the model is told that, unless it waits for an approval.
pub(super) async fn recover(writer: &mut Writer) -> Result<Recovered> {
    let agent = writer.agent().clone();
    let (shared, session) = (&agent.shared, &agent.context.session_id);
    let events = latest_events(&*shared.repositories.sessions, session).await?;
    if let Some(last) = events.last() {
        agent.bus.announce(last.seq);
    }
    let cut_off = open_turn(&events);
    let calls = history::open_calls(&writer.history)
        .map(|(message, calls)| (message.clone(), calls.into_iter().cloned().collect::<Vec<_>>()));
    if cut_off.is_none() && calls.is_none() {
        return Ok(Recovered::Whole);
    }
    let approvals = shared.repositories.inbox.list_approvals(session).await?;
    let host = &shared.host;
    let (turn_id, started, options) = match &cut_off {
        Some((turn, started, options)) => (turn.clone(), *started, options.clone()),
        None => (TurnId::fresh(&*host.ids), host.now(), None),
    };
    let last_message = match (&calls, writer.history.last()) {
        (Some((message, _)), _) => message.clone(),
        (None, Some(last)) => last.id.clone(),
        (None, None) => return Ok(Recovered::Whole),
    };
    let calls = calls.map(|(_, calls)| calls).unwrap_or_default();
    let begun = begun(&events);
    let waiting = waiting_within(&events, &approvals);
    let open = Calls { begun: begun.as_ref(), approvals: &approvals, waiting: &waiting };
    let (closed, resumed) = open.sort(calls.clone());

    let shown = history::shown_ids(&writer.history);
    let mut machine = TurnMachine::resume(turn_id.clone(), started, last_message, calls).with_history(shown);
    let at = host.now();
    let mut events = Vec::new();
    let mut step = |event| {
        let moment = Moment { at, ids: &*host.ids };
        events.extend(machine.step(moment, TurnInput::Driver(event)));
    };
    for result in closed {
        step(DriverEvent::ToolEnd(result));
    }
    let whole = resumed.is_empty();
    if whole && cut_off.is_some() {
        let error = Error::new(ErrorKind::Lost, "run turn")
            .with_message("the agent stopped without warning while the turn was under way");
        step(Outcome::Failed(error).into());
    }
    let with = With { closes_approvals: whole && !approvals.is_empty(), ..With::default() };
    let turn = cut_off.is_some().then_some(&turn_id);
    let (first, _) = writer.append(at, turn, &events, with).await?;
    let mut context = (*agent.context).clone();
    context.turn_id = turn.cloned();
    let state = if whole { AgentState::Idle } else { machine.state() };
    agent.publish(state, at, &Arc::new(context), events, first);
    if whole {
        return Ok(Recovered::Whole);
    }
    Ok(Recovered::Open(Box::new(Open { machine, turn_id, calls: resumed, options })))
}

/// The latest events, those of the last turn among them.
async fn latest_events(sessions: &dyn SessionRepository, session: &SessionId) -> Result<Vec<StoredEvent>> {
    let mut events = Vec::new();
    for limit in LATEST {
        events = sessions.list_events(session, EventPage::last(limit)).await?;
        if events.len() < limit || events.iter().any(is_turn) {
            break;
        }
    }
    Ok(events)
}

fn is_turn(stored: &StoredEvent) -> bool {
    matches!(stored.event.data, EventData::TurnRequest { .. } | EventData::TurnResponse { .. })
}

/// The turn that began and did not end, when it began, and what was sent with its message.
fn open_turn(events: &[StoredEvent]) -> Option<(TurnId, Timestamp, Option<Arc<Value>>)> {
    let last = events.iter().rev().find(|stored| is_turn(stored))?;
    match &last.event.data {
        EventData::TurnRequest { turn_id, timestamp, options, .. } => {
            Some((turn_id.clone(), *timestamp, options.clone().map(Arc::new)))
        }
        _ => None,
    }
}

/// The calls of the last assistant message that had begun; none where that is not known.
fn begun(events: &[StoredEvent]) -> Option<HashSet<String>> {
    let said =
        events.iter().rposition(|stored| matches!(stored.event.data, EventData::AssistantMessage(_)))?;
    let behind = events.get(said..)?;
    let begun = behind.iter().filter_map(|stored| match &stored.event.data {
        EventData::ToolExecuting { tool_id, .. } => Some(tool_id.clone()),
        _ => None,
    });
    Some(begun.collect())
}

/// The calls within which another agent asked for an approval that nobody has given, and what it asked for.
fn waiting_within<'a>(
    events: &[StoredEvent],
    approvals: &'a [ApprovalRecord],
) -> HashMap<String, &'a ApprovalRecord> {
    let mut waiting = HashMap::new();
    for stored in events {
        let EventData::Nested { tool_id, event, .. } = &stored.event.data else { continue };
        let mut event = &**event;
        while let EventData::Nested { event: inner, .. } = event {
            event = inner;
        }
        let EventData::ApprovalRequested { approval_id, .. } = event else { continue };
        let approval = approvals.iter().find(|approval| approval.approval_id == *approval_id);
        waiting
            .extend(approval.filter(|approval| approval.is_pending()).map(|found| (tool_id.clone(), found)));
    }
    waiting
}

struct Calls<'a> {
    begun: Option<&'a HashSet<String>>,
    approvals: &'a [ApprovalRecord],
    waiting: &'a HashMap<String, &'a ApprovalRecord>,
}

impl Calls<'_> {
    /// What is closed now, and what waits.
    fn sort(&self, calls: Vec<ToolCall>) -> (Vec<ToolResult>, Vec<ResumedCall>) {
        let has_begun = |call: &ToolCall| self.begun.is_none_or(|begun| begun.contains(&call.id));
        let waits = calls.iter().any(|call| !has_begun(call) && self.approval(call).is_some());
        let (mut closed, mut resumed) = (Vec::new(), Vec::new());
        for call in calls {
            let approval = self.approval(&call);
            let why = match (has_begun(&call), approval) {
                (true, _) => match self.waiting.get(&call.id) {
                    Some(asked) => format!(
                        "The agent was stopped while another agent, which this call asked, waited for an approval of \
                         {:?}. That call was not run. What the other agent did before stands, and it is gone: ask it \
                         anew where its answer is still needed.",
                        asked.call.name
                    ),
                    None => "The agent was stopped while this call was under way. Whether it took effect is unknown."
                        .to_owned(),
                },
                (false, None) if !waits => {
                    "The agent was stopped before this call began. It was not run.".to_owned()
                }
                (false, approval) => {
                    let state = match approval {
                        None => Resumed::Undecided,
                        Some(ApprovalRecord { answer: Some((decision, _)), .. }) => {
                            Resumed::Decided(decision.clone())
                        }
                        Some(approval) => Resumed::Pending(approval.approval_id.clone()),
                    };
                    // What was asked about is what runs: a hook may have changed the call before.
                    let call = approval.map_or(call, |approval| approval.call.clone());
                    resumed.push(ResumedCall::new(call, state));
                    continue;
                }
            };
            closed.push(ToolResult::new(&call.id, &call.name, ToolOutput::error(why)));
        }
        (closed, resumed)
    }

    fn approval(&self, call: &ToolCall) -> Option<&ApprovalRecord> {
        self.approvals.iter().rfind(|approval| approval.call.id == call.id)
    }
}
