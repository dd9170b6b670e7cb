//! From the bytes of an answer to its events: a pure function, without I/O.

mod block;
pub(super) mod companion;
mod fast;
mod opaque;
mod wire;

use std::borrow::Cow;

use agentx_core::{ErrorKind, ModelEvent, Result, Retry, StopDetails, StopReason, Usage};
use agentx_resource::Secret;
use serde_json::value::RawValue;

use self::{
    block::Blocks,
    wire::{Frame, RawDelta, Unread, WireMessage, WireStopDetails, WireUsage},
};
use super::{
    error,
    error::failure,
    sse::{SseEvent, SseParser},
};

/// Reads the event stream of one answer of the Messages API.
///
/// What it does not know is skipped and counted ([`Skipped`]), or carried as
/// [`BlockKind::Opaque`](agentx_core::BlockKind::Opaque); it never ends an answer. An answer that ends without its
/// `message_stop` is never taken for a whole one.
///
/// ```
/// use agentx_core::{ErrorKind, ModelEvent};
/// use agentx_driver_claude::messages::Decoder;
///
/// let mut decoder = Decoder::new();
/// let mut events = Vec::new();
/// decoder.feed(b"data: {\"type\":\"message_start\",\"message\":{\"model\":\"m\"}}\n\n", &mut events)?;
/// assert_eq!(events, [ModelEvent::Start { model: "m".into() }]);
/// assert_eq!(decoder.finish().unwrap_err().kind(), ErrorKind::Truncated);
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    sse: SseParser,
    answer: Answer,
}

/// How much of an answer was passed over, since this version has no place for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Events of an unknown type, and whatever came after the end.
    pub events: u64,
    /// Changes of an unknown type, or to a block that never began.
    pub deltas: u64,
    /// Blocks that were cut off so that they can't be sent back.
    pub blocks: u64,
    /// Citations and the like whose block was no longer the last one.
    pub companions: u64,
    /// Counts that can't be read.
    pub usages: u64,
}

impl std::ops::AddAssign for Skipped {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.deltas += other.deltas;
        self.blocks += other.blocks;
        self.companions += other.companions;
        self.usages += other.usages;
    }
}

/// What is known of the answer so far.
#[derive(Debug, Default)]
struct Answer {
    key: Option<Secret>,
    started: bool,
    usage: Usage,
    stop_reason: Option<StopReason>,
    stop_details: StopDetails,
    container: Option<String>,
    complete: bool,
    /// How many events were told.
    told: u64,
    blocks: Blocks,
    skipped: Skipped,
}

impl Decoder {
    /// A decoder at the beginning of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that keeps `key` out of its errors, should the server repeat it.
    pub fn redacting(key: Secret) -> Self {
        Self { answer: Answer { key: Some(key), ..Answer::default() }, ..Self::default() }
    }

    /// Takes the next bytes of the answer and adds to `events` what they tell. What came before an error is added
    /// too; after an error the decoder is of no further use.
    ///
    /// # Errors
    /// What an `error` event reports; `Corrupt` for an event that can't be read; `LimitExceeded` for an event or
    /// a block of more than 16 MiB, or for more than 4,096 blocks that are open at a time; `Truncated` for a message
    /// that ends while a part of it is still open.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<ModelEvent>) -> Result<()> {
        let before = events.len();
        let fed = self.read(bytes, events);
        self.answer.told += (events.len() - before) as u64;
        fed
    }

    fn read(&mut self, bytes: &[u8], events: &mut Vec<ModelEvent>) -> Result<()> {
        let Self { sse, answer } = self;
        let mut rest = bytes;
        loop {
            while sse.is_between_events()
                && let Some((piece, after)) = fast::event(rest)
                && rest.len() - after.len() <= SseParser::DEFAULT_LIMIT
                && !answer.complete
                && answer.blocks.piece(piece, events)
            {
                rest = after;
            }
            match sse.next(&mut rest)? {
                Some(event) => answer.event(event, events)?,
                None => return Ok(()),
            }
        }
    }

    /// Whether the answer is complete.
    pub fn is_complete(&self) -> bool {
        self.answer.complete
    }

    /// How much of the answer has come so far that says something: pings and what is unknown do not count.
    pub(super) fn progress(&self) -> u64 {
        self.answer.told + self.answer.blocks.grown()
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// `Truncated` where it is not complete.
    pub fn finish(&self) -> Result<()> {
        if self.answer.complete {
            return Ok(());
        }
        Err(failure(ErrorKind::Truncated, "the answer ended without message_stop")
            .with_retry(Retry::After(None)))
    }

    /// What was passed over so far.
    pub fn skipped(&self) -> Skipped {
        self.answer.skipped
    }
}

impl Answer {
    fn event(&mut self, event: SseEvent<'_>, out: &mut Vec<ModelEvent>) -> Result<()> {
        if self.complete {
            self.skipped.events += 1;
            return Ok(());
        }
        if fast::data(event.data).is_some_and(|piece| self.blocks.piece(piece, out)) {
            return Ok(());
        }
        // Looked at as a whole first, which is many times quicker.
        let text = match std::str::from_utf8(event.data) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(event.data),
        };
        let frame = match serde_json::from_str::<Frame<'_>>(&text) {
            Ok(frame) => frame,
            Err(cause) => return self.unread(event, &text, &cause),
        };
        match frame.kind.as_ref() {
            "content_block_delta" => self.delta(frame, &text, out),
            "content_block_start" => self.block_start(&frame, out),
            "content_block_stop" => self.blocks.stop(frame.index, &mut self.skipped, out),
            "message_start" => self.start(&frame, out),
            "message_delta" => {
                self.message_delta(&frame, out);
                Ok(())
            }
            "message_stop" => self.stop(out),
            "ping" => Ok(()),
            "error" => Err(error::of_event(frame.error.map_or("", RawValue::get), self.key.as_ref())),
            // A proxy may report its own failure with a name and no type.
            "" if event.name == b"error" => {
                Err(error::of_event(frame.error.map_or(&text, RawValue::get), self.key.as_ref()))
            }
            _ => {
                self.skipped.events += 1;
                Ok(())
            }
        }
    }

    /// An event that is not of the expected form: fatal only where its type is known, or where there is none to tell.
    fn unread(&mut self, event: SseEvent<'_>, text: &str, cause: &serde_json::Error) -> Result<()> {
        let kind = match serde_json::from_str::<Unread<'_>>(text) {
            Ok(unread) => unread.kind,
            Err(_) => String::from_utf8_lossy(event.name),
        };
        let vital = match kind.as_ref() {
            "message_start"
            | "message_delta"
            | "message_stop"
            | "content_block_start"
            | "content_block_delta"
            | "content_block_stop"
            | "error" => true,
            "" => text.starts_with('{'),
            _ => false,
        };
        if vital {
            let (line, column) = (cause.line(), cause.column());
            return Err(failure(
                ErrorKind::Corrupt,
                format!("an event can't be read, at line {line} column {column} of its data"),
            ));
        }
        self.skipped.events += 1;
        Ok(())
    }

    fn start(&mut self, frame: &Frame<'_>, out: &mut Vec<ModelEvent>) -> Result<()> {
        let message = frame.message.map(|json| serde_json::from_str::<WireMessage<'_>>(json.get()));
        let Some(Ok(message)) = message else {
            return Err(failure(ErrorKind::Corrupt, "message_start has no message that can be read"));
        };
        // Some proxies repeat the start; the first one counts, and counts may still change.
        if !self.started {
            self.started = true;
            out.push(ModelEvent::Start { model: message.model.unwrap_or_default().into_owned() });
            for block in message.content.unwrap_or_default() {
                self.blocks.whole(block.get(), &mut self.skipped, out)?;
            }
        }
        self.contain(message.container);
        self.usage(message.usage, out);
        Ok(())
    }

    fn block_start(&mut self, frame: &Frame<'_>, out: &mut Vec<ModelEvent>) -> Result<()> {
        match (frame.index, frame.content_block) {
            (Some(index), Some(block)) => self.blocks.start(index, block.get(), out),
            _ => Err(failure(ErrorKind::Corrupt, "content_block_start has no index or no block")),
        }
    }

    fn delta(&mut self, frame: Frame<'_>, text: &str, out: &mut Vec<ModelEvent>) -> Result<()> {
        let (Some(index), Some(delta)) = (frame.index, frame.delta) else {
            return Err(failure(ErrorKind::Corrupt, "content_block_delta has no index or no delta"));
        };
        let raw =
            || serde_json::from_str::<RawDelta<'_>>(text).map(|raw| raw.delta.get()).unwrap_or_default();
        self.blocks.delta(index, delta, raw, &mut self.skipped, out)
    }

    fn message_delta(&mut self, frame: &Frame<'_>, out: &mut Vec<ModelEvent>) {
        if let Some(delta) = &frame.delta {
            if let Some(reason) = &delta.stop_reason {
                self.stop_reason = Some(StopReason::from(reason.clone().into_owned()));
            }
            if let Some(sequence) = &delta.stop_sequence {
                self.stop_details.stop_sequence = Some(sequence.clone().into_owned());
            }
            // What is said there is for people; what can't be read changes nothing.
            let details = delta.stop_details.and_then(|json| serde_json::from_str(json.get()).ok());
            if let Some(WireStopDetails { category, explanation }) = details {
                (self.stop_details.category, self.stop_details.explanation) = (category, explanation);
            }
            self.contain(delta.container);
        }
        self.usage(frame.usage, out);
    }

    fn contain(&mut self, container: Option<&RawValue>) {
        if let Some(container) = container.map(RawValue::get).filter(|container| *container != "null") {
            self.container = Some(container.to_owned());
        }
    }

    fn stop(&mut self, out: &mut Vec<ModelEvent>) -> Result<()> {
        self.blocks.finish()?;
        let Some(reason) = self.stop_reason.take() else {
            return Err(failure(ErrorKind::Truncated, "the answer ended without a stop reason")
                .with_retry(Retry::After(None)));
        };
        self.complete = true;
        if let Some(container) = self.container.take() {
            self.blocks.companion(companion::container(&container), out);
        }
        if self.stop_details != StopDetails::default() {
            out.push(ModelEvent::StopDetails(std::mem::take(&mut self.stop_details)));
        }
        out.push(ModelEvent::Stop(reason));
        Ok(())
    }

    fn usage(&mut self, counts: Option<&RawValue>, out: &mut Vec<ModelEvent>) {
        let Some(counts) = counts else { return };
        let Ok(counts) = serde_json::from_str::<WireUsage>(counts.get()) else {
            self.skipped.usages += 1;
            return;
        };
        let before = self.usage;
        counts.overwrite(&mut self.usage);
        if self.usage != before {
            out.push(ModelEvent::Usage(self.usage));
        }
    }
}

#[cfg(test)]
mod tests;
