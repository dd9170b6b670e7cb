use std::{convert::Infallible, hint::black_box};

use agentx_benches::{
    Result,
    measure::{Row, Variant},
    rows::{
        sse_framing::{PIECES, over},
        sse_to_text::SseText,
    },
};
use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures::{Stream, StreamExt, executor::block_on, stream};

/// The row with its peers: a stream of chunks in, a stream of events out, nothing made of them.
pub fn row() -> Row {
    let stream = SseText::new();
    let mut row = over(&stream);
    for size in PIECES {
        row = row
            .with(variant("sse-stream", &stream, size, |chunks| {
                sse_stream::SseByteStream::new(chunks).map(|event| Ok(drop(black_box(event?))))
            }))
            .with(variant("sseer", &stream, size, |chunks| {
                sseer::event_stream::EventStream::new(chunks).map(|event| match event {
                    Ok(event) => Ok(drop(black_box(event))),
                    Err(_) => Err("no event".into()),
                })
            }))
            .with(variant("eventsource-stream", &stream, size, |chunks| {
                chunks.eventsource().map(|event| Ok(drop(black_box(event?))))
            }));
    }
    row
}

type Chunks = stream::Iter<std::vec::IntoIter<std::result::Result<Bytes, Infallible>>>;

fn variant<S: Stream<Item = Result<()>>>(
    name: &str,
    stream: &SseText,
    size: usize,
    events: impl Fn(Chunks) -> S + 'static,
) -> Variant {
    let count = stream.events;
    let whole = Bytes::copy_from_slice(stream.stream.as_bytes());
    let prepare = move |rounds: u64| {
        let chunks = || whole.chunks(size).map(|chunk| Ok(whole.slice_ref(chunk))).collect::<Vec<_>>();
        Ok((0..rounds).map(|_| chunks()).collect::<Vec<_>>())
    };
    Variant::prepared(format!("{name}, pieces of {size} B"), prepare, move |rounds: &mut Vec<Vec<_>>| {
        for chunks in rounds.drain(..) {
            let mut events = std::pin::pin!(events(stream::iter(chunks)));
            let mut seen = 0;
            block_on(async {
                while let Some(event) = events.next().await {
                    event?;
                    seen += 1;
                }
                Ok::<_, agentx_benches::Error>(())
            })?;
            if seen != count {
                return Err("not the events of the stream".into());
            }
        }
        Ok(())
    })
}
