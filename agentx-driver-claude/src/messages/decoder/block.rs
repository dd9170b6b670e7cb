use std::collections::BTreeMap;

use agentx_core::{BlockChange, BlockKind, ErrorKind, ModelEvent, Result};
use serde_json::value::RawValue;

use super::{
    Skipped, companion,
    fast::{Piece, PieceKind},
    opaque::OpaqueBlock,
    wire::{Block, BlockType, Delta},
};
use crate::messages::{
    error::{PROVIDER, failure},
    sse::SseParser,
};

/// The most blocks that may be open at a time; the API opens one.
const OPEN_LIMIT: usize = 4096;

/// The blocks that have begun and not ended, by their index on the wire.
///
/// Told indices are counted here: whole blocks within `message_start` have none, and a wire index may come twice.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: BTreeMap<u32, Open>,
    next: u32,
    /// How often a block grew that is told at its end.
    grown: u64,
}

#[derive(Debug)]
struct Open {
    told: u32,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// With what it cites.
    Text {
        citations: Citations,
    },
    Thinking,
    /// With the input that stood in the start, which counts only if none follows in pieces, and with what is to be
    /// told behind it.
    ToolUse {
        input: Option<String>,
        companion: Option<String>,
    },
    /// Told at its end, since only then it is known.
    Opaque(OpaqueBlock),
}

/// Citations, each as its JSON text.
#[derive(Debug, Default)]
struct Citations {
    json: Vec<String>,
    size: usize,
}

impl Blocks {
    pub(super) fn start(&mut self, index: u32, json: &str, out: &mut Vec<ModelEvent>) -> Result<()> {
        if self.open.len() >= OPEN_LIMIT {
            return Err(failure(ErrorKind::LimitExceeded, format!("more than {OPEN_LIMIT} blocks are open")));
        }
        let told = self.next;
        self.next += 1;
        let mut tell = |change| out.push(ModelEvent::Block { index: told, change });
        let form = match read(json)? {
            Some(block) => match block.kind.as_ref() {
                "text" => {
                    let mut citations = Citations::default();
                    for citation in block.citations.unwrap_or_default() {
                        citations.add(citation)?;
                    }
                    tell(BlockChange::Start(BlockKind::Text));
                    if let Some(text) = block.text.filter(|text| !text.is_empty()) {
                        tell(BlockChange::Text(text.into_owned()));
                    }
                    Form::Text { citations }
                }
                "thinking" => {
                    tell(BlockChange::Start(BlockKind::Thinking));
                    if let Some(thinking) = block.thinking.filter(|thinking| !thinking.is_empty()) {
                        tell(BlockChange::Thinking(thinking.into_owned()));
                    }
                    if let Some(signature) = block.signature.filter(|signature| !signature.is_empty()) {
                        tell(BlockChange::Signature(signature.into_owned()));
                    }
                    Form::Thinking
                }
                _ => {
                    let (Some(id), Some(name)) = (block.id, block.name) else {
                        return Err(failure(ErrorKind::Corrupt, "a tool_use block has no id or no name"));
                    };
                    let caller = block.caller.map(RawValue::get).filter(|caller| !is_model(caller));
                    let companion = caller.map(|caller| companion::caller(&id, caller));
                    tell(BlockChange::Start(BlockKind::ToolUse {
                        id: id.into_owned(),
                        name: name.into_owned(),
                    }));
                    let input = block.input.map(RawValue::get).filter(|input| !is_empty_object(input));
                    Form::ToolUse { input: input.map(str::to_owned), companion }
                }
            },
            None => Form::Opaque(OpaqueBlock::new(json, SseParser::DEFAULT_LIMIT)),
        };
        match self.open.insert(index, Open { told, form }) {
            Some(before) => before.cut_off(),
            None => Ok(()),
        }
    }

    /// A block that comes whole.
    pub(super) fn whole(
        &mut self,
        json: &str,
        skipped: &mut Skipped,
        out: &mut Vec<ModelEvent>,
    ) -> Result<()> {
        self.start(u32::MAX, json, out)?;
        self.stop(Some(u32::MAX), skipped, out)
    }

    /// Takes a piece for a block of its kind; `false` where there is none, and nothing was done.
    #[inline]
    pub(super) fn piece(&mut self, piece: Piece, out: &mut Vec<ModelEvent>) -> bool {
        let Some(Open { told, form }) = self.open.get_mut(&piece.index) else { return false };
        let change = match (piece.kind, form) {
            (PieceKind::Text, Form::Text { .. }) => BlockChange::Text(piece.text),
            (PieceKind::Thinking, Form::Thinking) => BlockChange::Thinking(piece.text),
            (PieceKind::InputJson, Form::ToolUse { input, .. }) => {
                *input = None;
                BlockChange::InputJson(piece.text)
            }
            _ => return false,
        };
        out.push(ModelEvent::Block { index: *told, change });
        true
    }

    pub(super) fn delta<'d>(
        &mut self,
        index: u32,
        delta: Delta<'_>,
        raw: impl FnOnce() -> &'d str,
        skipped: &mut Skipped,
        out: &mut Vec<ModelEvent>,
    ) -> Result<()> {
        let Some(Open { told, form }) = self.open.get_mut(&index) else {
            skipped.deltas += 1;
            return Ok(());
        };
        let change = match (delta.kind.as_ref(), form) {
            ("text_delta", Form::Text { .. }) => delta.text.map(|text| BlockChange::Text(text.into_owned())),
            ("thinking_delta", Form::Thinking) => {
                delta.thinking.map(|text| BlockChange::Thinking(text.into_owned()))
            }
            ("signature_delta", Form::Thinking) => {
                delta.signature.map(|text| BlockChange::Signature(text.into_owned()))
            }
            ("input_json_delta", Form::ToolUse { input, .. }) => {
                if delta.partial_json.as_ref().is_some_and(|piece| !piece.is_empty()) {
                    *input = None;
                }
                delta.partial_json.map(|piece| BlockChange::InputJson(piece.into_owned()))
            }
            ("input_json_delta", Form::Opaque(block)) => {
                let piece = delta.partial_json.as_deref().unwrap_or_default();
                self.grown += u64::from(!piece.is_empty());
                return block.input(piece);
            }
            (_, Form::Opaque(block)) => {
                self.grown += 1;
                return block.merge(raw());
            }
            ("citations_delta", Form::Text { citations }) => match delta.citation {
                Some(citation) => {
                    self.grown += 1;
                    return citations.add(citation);
                }
                None => None,
            },
            _ => None,
        };
        let empty = |change: &BlockChange| {
            matches!(change, BlockChange::Text(text) | BlockChange::Thinking(text)
                | BlockChange::Signature(text) | BlockChange::InputJson(text) if text.is_empty())
        };
        match change {
            Some(change) if empty(&change) => {}
            Some(change) => out.push(ModelEvent::Block { index: *told, change }),
            // Of a kind that is unknown, or out of place here, or without what its kind says.
            None => skipped.deltas += 1,
        }
        Ok(())
    }

    pub(super) fn stop(
        &mut self,
        index: Option<u32>,
        skipped: &mut Skipped,
        out: &mut Vec<ModelEvent>,
    ) -> Result<()> {
        let Some(Open { told, form }) = index.and_then(|index| self.open.remove(&index)) else {
            skipped.deltas += 1;
            return Ok(());
        };
        let mut tell = |change| out.push(ModelEvent::Block { index: told, change });
        let companion = match form {
            Form::Thinking => None,
            Form::Text { citations } => {
                (!citations.json.is_empty()).then(|| companion::citations(&citations.json))
            }
            Form::ToolUse { input, companion } => {
                if let Some(input) = input {
                    tell(BlockChange::InputJson(input));
                }
                companion
            }
            Form::Opaque(block) => match block.finish()? {
                Some(json) => {
                    tell(BlockChange::Start(BlockKind::Opaque { provider: PROVIDER.to_owned(), json }));
                    None
                }
                None => {
                    skipped.blocks += 1;
                    return Ok(());
                }
            },
        };
        tell(BlockChange::Stop);
        match companion {
            // Only right behind its block is it known what it belongs to.
            Some(json) if told + 1 == self.next => self.companion(json, out),
            Some(_) => skipped.companions += 1,
            None => {}
        }
        Ok(())
    }

    /// Tells a block of this crate's own.
    pub(super) fn companion(&mut self, json: String, out: &mut Vec<ModelEvent>) {
        companion::tell(self.next, json, out);
        self.next += 1;
    }

    /// How often a block grew that is told at its end.
    pub(super) fn grown(&self) -> u64 {
        self.grown
    }

    /// The message ends.
    pub(super) fn finish(&self) -> Result<()> {
        self.open.values().try_for_each(Open::cut_off)
    }
}

impl Citations {
    fn add(&mut self, citation: &RawValue) -> Result<()> {
        self.size += citation.get().len();
        if self.size > SseParser::DEFAULT_LIMIT {
            let limit = SseParser::DEFAULT_LIMIT;
            return Err(failure(ErrorKind::LimitExceeded, format!("a text cites more than {limit} bytes")));
        }
        self.json.push(citation.get().to_owned());
        Ok(())
    }
}

impl Open {
    /// The block will not go on. Text may be left open; of anything else the rest is missing.
    fn cut_off(&self) -> Result<()> {
        match self.form {
            Form::Text { .. } => Ok(()),
            _ => Err(failure(ErrorKind::Truncated, "a block of the answer was left open")),
        }
    }
}

/// The block, where it is of a kind that has its own form.
fn read(json: &str) -> Result<Option<Block<'_>>> {
    let typed = |kind: &str| matches!(kind, "text" | "thinking" | "tool_use");
    match serde_json::from_str::<Block<'_>>(json) {
        Ok(block) => Ok(Some(block).filter(|block| typed(&block.kind))),
        // A block of an unknown kind may use these names for something else.
        Err(_) => match serde_json::from_str::<BlockType<'_>>(json) {
            Ok(block) if !typed(&block.kind) => Ok(None),
            Ok(_) | Err(_) => Err(failure(ErrorKind::Corrupt, "a block can't be read")),
        },
    }
}

/// Whether the model itself made the call, as it does where nothing is said.
fn is_model(caller: &str) -> bool {
    caller == "null" || caller.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*br#"{"type":"direct"}"#)
}

fn is_empty_object(json: &str) -> bool {
    json.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}
