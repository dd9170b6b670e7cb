use std::collections::BTreeMap;

use super::{EventData, Moment, TurnInput, TurnMachine};
use crate::{Message, MessageBody, MessageId, NestedEvent, NestedStep, TurnId, Usage};

/// The turns that run within the tool calls of a turn, by call.
#[derive(Clone, Debug, Default)]
pub(super) struct NestedTurns {
    open: BTreeMap<String, NestedTurn>,
    /// What those used that are over.
    used: Usage,
}

#[derive(Clone, Debug)]
struct NestedTurn {
    agent: String,
    machine: TurnMachine,
}

impl NestedTurns {
    /// What all of them have used so far.
    pub(super) fn usage(&self) -> Usage {
        let mut used = self.used;
        for turn in self.open.values() {
            used += turn.machine.usage();
        }
        used
    }

    /// Takes a step of one of them. A step of a turn that never began, or is over, is of no effect.
    pub(super) fn step(&mut self, moment: Moment<'_>, event: NestedEvent, events: &mut Vec<EventData>) {
        let NestedEvent { call_id, agent, step } = event;
        match step {
            NestedStep::Start { prompt } => {
                self.close(moment, &call_id, events);
                let id = MessageId::fresh(moment.ids);
                let user = Message::new(id, moment.at, MessageBody::user(prompt));
                let (machine, told) = TurnMachine::start(TurnId::fresh(moment.ids), user);
                tell(&call_id, &agent, told, events);
                self.open.insert(call_id, NestedTurn { agent, machine });
            }
            NestedStep::Driver(event) => {
                let Some(turn) = self.open.get_mut(&call_id) else { return };
                let told = turn.machine.step(moment, TurnInput::Driver(*event));
                tell(&call_id, &turn.agent, told, events);
                if turn.machine.is_over() {
                    self.close(moment, &call_id, events);
                }
            }
        }
    }

    /// Ends the turn within a call that is over, unless it has ended itself.
    pub(super) fn close(&mut self, moment: Moment<'_>, call_id: &str, events: &mut Vec<EventData>) {
        let Some(NestedTurn { agent, mut machine }) = self.open.remove(call_id) else { return };
        tell(call_id, &agent, machine.step(moment, TurnInput::Interrupted), events);
        self.used += machine.usage();
    }

    /// Ends them all.
    pub(super) fn close_all(&mut self, moment: Moment<'_>, events: &mut Vec<EventData>) {
        for call_id in self.open.keys().cloned().collect::<Vec<_>>() {
            self.close(moment, &call_id, events);
        }
    }
}

fn tell(call_id: &str, agent: &str, told: Vec<EventData>, events: &mut Vec<EventData>) {
    events.extend(told.into_iter().map(|event| EventData::Nested {
        tool_id: call_id.to_owned(),
        agent: agent.to_owned(),
        event: Box::new(event),
    }));
}
