//! The events as they stand on the wire. Flat and borrowed: an internally tagged enum would cost twice the time.

use std::borrow::Cow;

use agentx_core::Usage;
use serde::Deserialize;
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
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
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
    pub citation: Option<&'a RawValue>,
    #[serde(borrow)]
    pub stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub stop_sequence: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    pub container: Option<&'a RawValue>,
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
    #[serde(borrow)]
    pub citations: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub caller: Option<&'a RawValue>,
}

/// The type of a block of which nothing else could be read.
pub(super) type BlockType<'a> = Unread<'a>;

/// The message of a `message_start`.
#[derive(Deserialize)]
pub(super) struct WireMessage<'a> {
    #[serde(borrow, default)]
    pub model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub content: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub container: Option<&'a RawValue>,
}

/// What is said of a refusal.
#[derive(Default, Deserialize)]
pub(super) struct WireStopDetails {
    pub category: Option<String>,
    pub explanation: Option<String>,
}

/// Counts of which any may be missing: what is missing has not changed.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
    server_tool_use: Option<ServerToolUse>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct ServerToolUse {
    web_search_requests: Option<u64>,
    web_fetch_requests: Option<u64>,
}

impl WireUsage {
    pub(super) fn overwrite(self, usage: &mut Usage) {
        let set = |count: &mut u64, new: Option<u64>| *count = new.unwrap_or(*count);
        let (cache, output) = (self.cache_creation.unwrap_or_default(), self.output_tokens_details);
        let server = self.server_tool_use.unwrap_or_default();
        set(&mut usage.input_tokens, self.input_tokens);
        set(&mut usage.output_tokens, self.output_tokens);
        set(&mut usage.cache_creation_input_tokens, self.cache_creation_input_tokens);
        set(&mut usage.cache_creation_1h_input_tokens, cache.ephemeral_1h_input_tokens);
        set(&mut usage.cache_read_input_tokens, self.cache_read_input_tokens);
        set(&mut usage.thinking_tokens, output.and_then(|output| output.thinking_tokens));
        set(&mut usage.web_search_requests, server.web_search_requests);
        set(&mut usage.web_fetch_requests, server.web_fetch_requests);
    }
}
