use std::collections::{BTreeMap, HashSet};

use super::{BlockChange, BlockKind, ModelEvent};
use crate::{AssistantMessage, AssistantPart, StopDetails, StopReason, ToolCall, Usage};

/// Puts a message together from a model's events. Each event costs what it carries, whatever came before.
#[derive(Clone, Debug, Default)]
pub struct MessageAssembler {
    model: Option<String>,
    usage: Option<Usage>,
    stop_reason: Option<StopReason>,
    stop_details: Option<StopDetails>,
    blocks: BTreeMap<u32, Block>,
    size: usize,
}

#[derive(Clone, Debug)]
struct Block {
    kind: BlockKind,
    /// Text, thinking or a tool input's JSON text, as the kind says.
    content: String,
    signature: Option<String>,
    complete: bool,
}

impl MessageAssembler {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event. A change to a block that never began is of no effect, and so is one after its end.
    pub fn push(&mut self, event: &ModelEvent) {
        if let ModelEvent::Block { change, .. } = event {
            self.size += size(change);
        }
        match event {
            ModelEvent::Start { model } => self.model = Some(model.clone()),
            ModelEvent::Block { index, change: BlockChange::Start(kind) } => {
                let block =
                    Block { kind: kind.clone(), content: String::new(), signature: None, complete: false };
                self.blocks.insert(*index, block);
            }
            ModelEvent::Block { index, change } => {
                if let Some(block) = self.blocks.get_mut(index).filter(|block| !block.complete) {
                    block.change(change);
                }
            }
            ModelEvent::Usage(usage) => self.usage = Some(*usage),
            ModelEvent::StopDetails(details) => self.stop_details = Some(details.clone()),
            ModelEvent::Stop(reason) => self.stop_reason = Some(reason.clone()),
            ModelEvent::Omitted { .. } => {}
            ModelEvent::Restarted { .. } => *self = Self::default(),
        }
    }

    /// The tool call of a block, once it is complete.
    pub fn tool_call(&self, index: u32) -> Option<ToolCall> {
        self.blocks.get(&index).filter(|block| block.complete).and_then(Block::tool_call)
    }

    /// Whether nothing has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.model.is_none() && self.usage.is_none() && self.blocks.is_empty()
    }

    /// Whether any content has come.
    pub(crate) fn has_begun(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// The bytes that the message has so far, roughly: each block counts at least 64.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// What the call has used so far.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// The message as far as it came. Left out is what no model would take back: incomplete tool calls, calls with the
    /// id of an earlier one, blank texts, and thinking that was cut off.
    pub fn finish(mut self) -> AssistantMessage {
        let mut content: Vec<_> =
            std::mem::take(&mut self.blocks).into_values().filter_map(Block::finish).collect();
        let mut ids = HashSet::new();
        content.retain(|part| match part {
            AssistantPart::ToolCall(call) => ids.insert(call.id.clone()),
            _ => true,
        });
        let Self { model, usage, stop_reason, stop_details, .. } = self;
        AssistantMessage { content, model, usage, stop_reason, stop_details }
    }
}

fn size(change: &BlockChange) -> usize {
    match change {
        BlockChange::Text(piece)
        | BlockChange::Thinking(piece)
        | BlockChange::Signature(piece)
        | BlockChange::InputJson(piece) => piece.len(),
        BlockChange::Start(BlockKind::Text | BlockKind::Thinking) => 64,
        BlockChange::Start(BlockKind::ToolUse { id, name }) => 64 + id.len() + name.len(),
        BlockChange::Start(BlockKind::Opaque { provider, json }) => 64 + provider.len() + json.len(),
        BlockChange::Stop => 0,
    }
}

impl Block {
    fn change(&mut self, change: &BlockChange) {
        match change {
            BlockChange::Text(piece) | BlockChange::Thinking(piece) | BlockChange::InputJson(piece) => {
                self.content.push_str(piece);
            }
            BlockChange::Signature(piece) => self.signature.get_or_insert_default().push_str(piece),
            BlockChange::Stop => self.complete = true,
            BlockChange::Start(_) => {}
        }
    }

    fn tool_call(&self) -> Option<ToolCall> {
        match &self.kind {
            BlockKind::ToolUse { id, name } => Some(ToolCall::from_json(id, name, &self.content)),
            _ => None,
        }
    }

    fn finish(self) -> Option<AssistantPart> {
        match self.kind {
            BlockKind::Thinking | BlockKind::ToolUse { .. } if !self.complete => None,
            BlockKind::Text if self.content.trim().is_empty() => None,
            BlockKind::Text => Some(AssistantPart::Text { text: self.content }),
            BlockKind::Thinking => {
                Some(AssistantPart::Thinking { reasoning: self.content, signature: self.signature })
            }
            BlockKind::ToolUse { id, name } => {
                Some(AssistantPart::ToolCall(ToolCall::from_json(id, name, &self.content)))
            }
            BlockKind::Opaque { provider, json } => Some(AssistantPart::Opaque { provider, json }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assemble(events: &[ModelEvent]) -> AssistantMessage {
        let mut assembler = MessageAssembler::new();
        for event in events {
            assembler.push(event);
        }
        assembler.finish()
    }

    fn block(index: u32, change: BlockChange) -> ModelEvent {
        ModelEvent::Block { index, change }
    }

    fn tool(index: u32, id: &str) -> ModelEvent {
        block(index, BlockChange::Start(BlockKind::ToolUse { id: id.into(), name: "t".into() }))
    }

    #[test]
    fn interleaved_blocks_go_to_their_own() {
        let message = assemble(&[
            ModelEvent::Start { model: "m".into() },
            tool(0, "a"),
            tool(1, "b"),
            block(0, BlockChange::InputJson(r#"{"x":"#.into())),
            block(1, BlockChange::InputJson(r#"{"y":2}"#.into())),
            block(0, BlockChange::InputJson("1}".into())),
            block(1, BlockChange::Stop),
            block(0, BlockChange::Stop),
        ]);
        let calls: Vec<_> =
            message.tool_calls().map(|call| (call.id.as_str(), call.input.to_string())).collect();
        assert_eq!(calls, [("a", r#"{"x":1}"#.to_owned()), ("b", r#"{"y":2}"#.to_owned())]);
    }

    #[test]
    fn what_was_cut_off_is_left_out() {
        let message = assemble(&[
            block(0, BlockChange::Start(BlockKind::Thinking)),
            block(0, BlockChange::Thinking("hm".into())),
            block(1, BlockChange::Start(BlockKind::Text)),
            block(1, BlockChange::Text("half".into())),
            tool(2, "a"),
            block(2, BlockChange::InputJson("{".into())),
            block(3, BlockChange::Start(BlockKind::Text)),
            block(4, BlockChange::Start(BlockKind::Text)),
            block(4, BlockChange::Text(" \n".into())),
            block(9, BlockChange::Text("lost".into())),
        ]);
        assert_eq!(message.content, [AssistantPart::text("half")]);
    }

    #[test]
    fn a_second_call_of_one_id_is_left_out() {
        let message = assemble(&[
            tool(0, "a"),
            block(0, BlockChange::InputJson(r#"{"x":1}"#.into())),
            block(0, BlockChange::Stop),
            tool(1, "a"),
            block(1, BlockChange::Stop),
        ]);
        let inputs: Vec<_> = message.tool_calls().map(|call| call.input.to_string()).collect();
        assert_eq!(inputs, [r#"{"x":1}"#]);
    }

    #[test]
    fn a_restart_voids_what_came_before() {
        let message = assemble(&[
            block(0, BlockChange::Start(BlockKind::Text)),
            block(0, BlockChange::Text("old".into())),
            ModelEvent::Restarted { reason: "reset".into() },
            block(0, BlockChange::Start(BlockKind::Text)),
            block(0, BlockChange::Text("new".into())),
        ]);
        assert_eq!(message.text(), "new");
    }
}
