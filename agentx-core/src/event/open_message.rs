//! A message of the model's on its way to its end.

use std::{collections::BTreeMap, mem};

use super::{AgentState, EventData, Moment};
use crate::{BlockChange, BlockKind, MessageAssembler, MessageId, ToolCall, ToolResult};

/// A message that has not ended.
#[derive(Clone, Debug)]
pub(super) struct OpenMessage {
    pub(super) id: MessageId,
    pub(super) assembler: MessageAssembler,
    calls: BTreeMap<u32, String>,
    /// Results of its calls that came before its end, which stand behind it.
    pub(super) results: Vec<ToolResult>,
    responding: bool,
}

impl OpenMessage {
    pub(super) fn new(moment: Moment<'_>) -> Self {
        Self {
            id: MessageId::fresh(moment.ids),
            assembler: MessageAssembler::new(),
            calls: BTreeMap::new(),
            results: Vec::new(),
            responding: false,
        }
    }

    /// Begins anew. What is to be void in the assembler it was told itself.
    pub(super) fn restart(&mut self) {
        self.calls.clear();
        self.results.clear();
        self.responding = false;
    }

    /// Takes the result of a call of its own, one for each, so that they are no more than its calls.
    pub(super) fn take(&mut self, result: ToolResult) {
        let is_own = self.calls.values().any(|id| *id == result.tool_call_id);
        if is_own && !self.results.iter().any(|taken| taken.tool_call_id == result.tool_call_id) {
            self.results.push(result);
        }
    }

    /// Tells of a change to a block, after the assembler took it. Gives the state that follows, where it changes.
    pub(super) fn block(
        &mut self,
        index: u32,
        change: BlockChange,
        events: &mut Vec<EventData>,
    ) -> Option<AgentState> {
        match change {
            BlockChange::Start(BlockKind::ToolUse { id, name }) => {
                self.calls.insert(index, id.clone());
                events.push(EventData::ToolUseStart { tool_call_id: id.clone(), tool_name: name.clone() });
                events.push(EventData::ToolPlanned { tool_id: id, tool_name: name });
                return Some(AgentState::PlanningTool);
            }
            BlockChange::Start(BlockKind::Thinking) => {
                events.push(EventData::ConversationThinking {});
                return Some(AgentState::Thinking);
            }
            BlockChange::Text(text) => {
                let first = !mem::replace(&mut self.responding, true);
                if first {
                    events.push(EventData::ConversationResponding {});
                }
                events.push(EventData::TextDelta { text });
                return first.then_some(AgentState::Responding);
            }
            BlockChange::Thinking(text) => events.push(EventData::ThinkingDelta { text }),
            BlockChange::InputJson(partial_json) => {
                if let Some(call) = self.calls.get(&index) {
                    events.push(EventData::InputJsonDelta { tool_call_id: call.clone(), partial_json });
                }
            }
            BlockChange::Stop => {
                if let Some(call) = self.assembler.tool_call(index) {
                    let ToolCall { id, name, input, .. } = call;
                    events.push(EventData::ToolUseStop { tool_call_id: id, tool_name: name, input });
                }
            }
            BlockChange::Start(BlockKind::Text | BlockKind::Opaque { .. }) | BlockChange::Signature(_) => {}
        }
        None
    }
}
