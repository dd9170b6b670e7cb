//! The events as they stand on the wire. Flat and borrowed: an internally tagged enum would cost twice the time.

use std::borrow::Cow;

use agentx_core::Usage;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// Any event, with what is read of the ones that matter.
#[derive(Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow, rename = "type", default)]
    pub kind: Cow<'a, str>,
    pub index: Option<u32>,
    #[serde(borrow)]
    pub delta: Option<Delta<'a>>,
    #[serde(borrow)]
    pub content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    pub message: Option<&'a RawValue>,
    pub usage: Option<WireUsage>,
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// The type of an event of which nothing else could be read.
#[derive(Deserialize)]
pub(super) struct Unread<'a> {
    #[serde(borrow, rename = "type", default)]
    pub kind: Cow<'a, str>,
}

/// The change of a `content_block_delta` or a `message_delta`.
#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub stop_reason: Option<Cow<'a, str>>,
}

/// The delta of an event as it stands there, for blocks that are not understood.
#[derive(Deserialize)]
pub(super) struct RawDelta<'a> {
    #[serde(borrow)]
    pub delta: &'a RawValue,
}

/// A block at its start.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
    pub citations: Option<Vec<IgnoredAny>>,
}

/// The type of a block of which nothing else could be read.
pub(super) type BlockType<'a> = Unread<'a>;

/// The message of a `message_start`.
#[derive(Deserialize)]
pub(super) struct WireMessage<'a> {
    #[serde(borrow, default)]
    pub model: Option<Cow<'a, str>>,
    pub usage: Option<WireUsage>,
    #[serde(borrow, default)]
    pub content: Vec<&'a RawValue>,
}

/// Counts of which any may be missing: what is missing has not changed.
#[derive(Clone, Copy, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "these are the names on the wire")]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl WireUsage {
    pub(super) fn overwrite(self, usage: &mut Usage) {
        let set = |count: &mut u64, new: Option<u64>| *count = new.unwrap_or(*count);
        set(&mut usage.input_tokens, self.input_tokens);
        set(&mut usage.output_tokens, self.output_tokens);
        set(&mut usage.cache_creation_input_tokens, self.cache_creation_input_tokens);
        set(&mut usage.cache_read_input_tokens, self.cache_read_input_tokens);
    }
}
