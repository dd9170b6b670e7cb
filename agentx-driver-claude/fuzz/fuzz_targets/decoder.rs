//! Any bytes at all: no panic, no end that was not told, and the same events however the bytes are cut, framed, or read.

#![no_main]

use agentx_core::{ErrorKind, MessageAssembler, ModelEvent};
use agentx_driver_claude::messages::{Decoder, Skipped};
use libfuzzer_sys::fuzz_target;

type Told = (Vec<ModelEvent>, Result<(), ErrorKind>, Skipped);

fn decode<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Told {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, &mut events) {
            return (events, Err(error.kind()), decoder.skipped());
        }
    }
    (events, decoder.finish().map_err(|error| error.kind()), decoder.skipped())
}

const START: &[u8] = br#"data: {"type":"message_start","message":{"model":"m"}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

"#;

fuzz_target!(|data: &[u8]| {
    // As a stream.
    let whole = decode([data]);
    assert_eq!(decode(data.chunks(1)), whole);
    if let Some((first, rest)) = data.split_first() {
        assert_eq!(decode(rest.chunks(usize::from(*first) + 1)), decode([rest]));
    }
    let stops = whole.0.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count();
    assert_eq!(whole.1.is_ok(), stops == 1);
    let mut message = MessageAssembler::new();
    for event in &whole.0 {
        message.push(event);
    }
    message.finish();

    // As the rest of an event that the short way may read: a blank at its beginning means nothing, and keeps it out.
    let read = |blank: &[u8]| {
        let head = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#;
        let name = b"event: content_block_delta\ndata: ";
        decode([[START, name, blank, head, data, b"\n\n"].concat().as_slice()])
    };
    assert_eq!(read(b""), read(b" "));
});
