//! Server-sent events of the Messages API to events of a model.
//!
//! Whatever comes, and in whatever pieces: there is no panic, the pieces make no difference, and an end is told only where
//! the stream had one.
#![no_main]

use agentx_core::{AssistantMessage, MessageAssembler, ModelEvent};
use agentx_driver_claude::messages::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // The first byte says how the rest is cut.
    let Some((&size, stream)) = input.split_first() else { return };
    let whole = decode(std::iter::once(stream));
    let cut = decode(stream.chunks(usize::from(size).max(1)));
    assert_eq!(whole, cut, "the pieces made a difference");
});

/// The message, whether it has its end, and what the decoder says of it.
type Decoded = (AssistantMessage, bool, Result<(), String>);

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Decoded {
    let (mut decoder, mut events) = (Decoder::new(), Vec::new());
    let mut result = Ok(());
    for piece in pieces {
        result = decoder.feed(piece, &mut events);
        if result.is_err() {
            break;
        }
    }
    let complete = decoder.is_complete();
    let result = result.and_then(|()| decoder.finish()).map_err(|error| error.to_string());
    let stopped = events.iter().any(|event| matches!(event, ModelEvent::Stop(_)));
    assert!(result.is_err() || stopped, "an end that was never told");
    let mut message = MessageAssembler::new();
    events.iter().for_each(|event| message.push(event));
    (message.finish(), complete, result)
}
