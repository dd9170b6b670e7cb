use std::convert::Infallible;

use agentx_benches::{
    Result,
    measure::{Row, Variant},
    rows::sse_to_text::{SseText, over},
};
use eventsource_stream::Eventsource;
use futures::{StreamExt, executor::block_on, stream};
use serde::Deserialize;

/// The row with its peer: what most clients are made of.
pub fn row() -> Row {
    let stream = SseText::new();
    let row = over(&stream);
    SseText::PIECES.into_iter().fold(row, |row, size| {
        let stream = stream.clone();
        let name = format!("eventsource-stream + serde enum, pieces of {size} B");
        row.with(Variant::new(name, move |count| {
            for _ in 0..count {
                stream.check(&block_on(decoded(&stream.stream, size))?)?;
            }
            Ok(())
        }))
    })
}

/// The events of the Messages API, as one writes them down at first.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    ContentBlockDelta {
        delta: Delta,
    },
    MessageStop,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    TextDelta {
        text: String,
    },
    #[serde(other)]
    Other,
}

async fn decoded(bytes: &str, size: usize) -> Result<String> {
    let pieces = bytes.as_bytes().chunks(size).map(Ok::<_, Infallible>);
    let mut events = stream::iter(pieces).eventsource();
    let (mut text, mut complete) = (String::new(), false);
    while let Some(event) = events.next().await {
        match serde_json::from_str(&event?.data)? {
            Event::ContentBlockDelta { delta: Delta::TextDelta { text: piece } } => text.push_str(&piece),
            Event::MessageStop => complete = true,
            Event::ContentBlockDelta { delta: Delta::Other } | Event::Other => {}
        }
    }
    if complete { Ok(text) } else { Err("no end".into()) }
}
