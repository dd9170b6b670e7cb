//! What it costs to make the text of an answer out of the bytes that a server sends.

use std::{fmt::Write, hint::black_box, sync::Arc};

use agentx_core::{BlockChange, ModelEvent};
use agentx_driver_claude::messages::Decoder;

use crate::{
    Result,
    measure::{Row, Variant},
};

/// The answer of a model as the Messages API streams it, and the text that is in it.
#[derive(Clone, Debug)]
pub struct SseText {
    /// The stream.
    pub stream: Arc<str>,
    /// How many events it has.
    pub events: u64,
    /// The length of the text, in bytes.
    pub text: usize,
}

impl SseText {
    /// The sizes of the pieces in which a stream comes: full buffers, and about one event at a time.
    pub const PIECES: [usize; 2] = [16 * 1024, 151];

    /// An answer of 10,000 small pieces of text, a tenth of them with an escape.
    pub fn new() -> Self {
        let mut stream = event(
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#,
        );
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
        stream += &event("content_block_start", start);
        let mut text = 0;
        for index in 0..10_000 {
            let piece = if index % 10 == 0 { r" line\n" } else { " token" };
            text += if index % 10 == 0 { " line\n".len() } else { piece.len() };
            let data = format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{piece}"}}}}"#
            );
            stream += &event("content_block_delta", &data);
        }
        stream += &event("content_block_stop", r#"{"type":"content_block_stop","index":0}"#);
        stream += &event(
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":10000}}"#,
        );
        stream += &event("message_stop", r#"{"type":"message_stop"}"#);
        Self { stream: stream.into(), events: 10_005, text }
    }

    /// Fails for what is not the text of the stream.
    ///
    /// # Errors
    /// That.
    pub fn check(&self, text: &str) -> Result<()> {
        if black_box(text).len() == self.text { Ok(()) } else { Err("not the text of the stream".into()) }
    }
}

impl Default for SseText {
    fn default() -> Self {
        Self::new()
    }
}

fn event(name: &str, data: &str) -> String {
    let mut event = String::new();
    // Writing to a string can't fail.
    let _ = write!(event, "event: {name}\ndata: {data}\n\n");
    event
}

/// The row.
///
/// # Errors
/// None.
pub fn row() -> Result<Row> {
    Ok(over(&SseText::new()))
}

/// [`row`] over this stream, for peers to be added.
pub fn over(stream: &SseText) -> Row {
    let limit = {
        let stream = stream.clone();
        Variant::new("memchr for newlines, and UTF-8 checked (limit)", move |count| {
            for _ in 0..count {
                let bytes = black_box(stream.stream.as_bytes());
                let lines = memchr::memchr_iter(b'\n', bytes).count();
                black_box((lines, std::str::from_utf8(bytes)?));
            }
            Ok(())
        })
    };
    let question = "What does it cost to make text of a stream of server-sent events?";
    let row = Row::new("sse_to_text", question, limit).per(stream.events, "event");
    SseText::PIECES.into_iter().fold(row, |row, size| {
        let stream = stream.clone();
        row.with(Variant::new(format!("agentx Decoder, pieces of {size} B"), move |count| {
            for _ in 0..count {
                stream.check(&decoded(&stream.stream, size)?)?;
            }
            Ok(())
        }))
    })
}

fn decoded(stream: &str, size: usize) -> Result<String> {
    let (mut decoder, mut events, mut text) = (Decoder::new(), Vec::new(), String::new());
    for piece in stream.as_bytes().chunks(size) {
        decoder.feed(piece, &mut events)?;
        for event in events.drain(..) {
            if let ModelEvent::Block { change: BlockChange::Text(piece), .. } = event {
                text.push_str(&piece);
            }
        }
    }
    decoder.finish()?;
    Ok(text)
}
