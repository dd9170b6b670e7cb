//! What it costs to cut the bytes that a server sends into events, before anything is made of them.

use std::hint::black_box;

use agentx_driver_claude::messages::SseParser;

use super::sse_to_text::SseText;
use crate::{
    Result,
    measure::{Row, Variant},
};

/// The sizes of the pieces in which a stream comes: full buffers, about one event at a time, and a quarter of one.
pub const PIECES: [usize; 3] = [16 * 1024, 151, 37];

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
        Variant::new("memchr for newlines (limit)", move |count| {
            for _ in 0..count {
                black_box(memchr::memchr_iter(b'\n', black_box(stream.stream.as_bytes())).count());
            }
            Ok(())
        })
    };
    let question = "What does it cost to cut a stream into server-sent events?";
    let row = Row::new("sse_framing", question, limit).per(stream.events, "event");
    PIECES.into_iter().fold(row, |row, size| {
        let stream = stream.clone();
        row.with(Variant::new(format!("agentx SseParser, pieces of {size} B"), move |count| {
            for _ in 0..count {
                let (mut parser, mut events) = (SseParser::new(), 0);
                for piece in stream.stream.as_bytes().chunks(size) {
                    parser.feed(piece, |event| {
                        black_box(event);
                        events += 1;
                        Ok(())
                    })?;
                }
                if events != stream.events {
                    return Err("not the events of the stream".into());
                }
            }
            Ok(())
        }))
    })
}
