use std::convert::Infallible;

use agentx_benches::{
    Result,
    measure::{Row, Variant},
    rows::sse_to_text::{SseText, over},
};
use eventsource_stream::Eventsource;
use futures::{StreamExt, executor::block_on, stream};
use serde::Deserialize;

/// The row with its peers: what most clients are made of, and Anthropic's SDK for Node.
pub fn row() -> Result<Row> {
    let text = SseText::new();
    let row = over(&text);
    let row = SseText::PIECES.into_iter().fold(row, |row, size| {
        let stream = text.clone();
        let name = format!("eventsource-stream + serde enum, pieces of {size} B");
        row.with(Variant::new(name, move |count| {
            for _ in 0..count {
                stream.check(&block_on(decoded(&stream.stream, size))?)?;
            }
            Ok(())
        }))
    });
    #[cfg(feature = "agents")]
    let row = with_node(row, &text)?;
    Ok(row)
}

#[cfg(feature = "agents")]
fn with_node(mut row: Row, text: &SseText) -> Result<Row> {
    for size in SseText::PIECES {
        let mut file = tempfile::NamedTempFile::new()?;
        std::io::Write::write_all(&mut file, text.stream.as_bytes())?;
        let argument = format!("{}:{size}:{}", file.path().display(), text.text);
        let name = format!("Anthropic's SDK for Node, in its process, pieces of {size} B");
        row = match crate::node::Node::start("sse_to_text.mjs", &argument) {
            Ok(node) => row.with(node.with_file(file).variant(&name)),
            Err(why) => row.without(&name, why),
        };
    }
    Ok(row)
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
