//! What the fuzz target looks for, with what a stream is made of in any order.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const START: &[u8] = br#"data: {"type":"message_start","message":{"model":"m"}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

"#;

const TOKENS: [&[u8]; 18] = [
    b"data: ",
    b"data:",
    b"event: content_block_delta\n",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b": ping\n",
    b"\xEF\xBB\xBF",
    b"{",
    b"}",
    b"\"",
    b"\\",
    b"\\u00e9",
    b"\\ud83d",
    b" ",
    b"\"index\":0",
    b"\"}} ",
];

/// Whole events, what events are made of, and anything.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let events: Vec<Vec<u8>> =
        recorded().split("\n\n").map(|event| format!("{event}\n\n").into_bytes()).collect();
    prop_oneof![select(events), select(TOKENS.map(<[u8]>::to_vec).to_vec()), vec(any::<u8>(), 1..12),]
}

fn told<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> (Vec<ModelEvent>, Result<Skipped, ErrorKind>) {
    let (events, end) = decode(chunks);
    (events, end.map_err(|error| error.kind()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_tell_the_same_however_they_are_cut_and_no_end_that_was_not_told(
        pieces in vec(piece(), 0..40),
        size in 1_usize..300,
    ) {
        let stream = pieces.concat();
        let whole = told([stream.as_slice()]);
        prop_assert_eq!(&told(stream.chunks(1)), &whole);
        prop_assert_eq!(&told(stream.chunks(size)), &whole);
        let stops = whole.0.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count();
        prop_assert_eq!(whole.1.is_ok(), stops == 1);

        // As the rest of an event that the short way may read: a blank at its beginning means nothing, and keeps it out.
        let read = |blank: &[u8]| {
            let head = br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""#;
            let name = b"event: content_block_delta\ndata: ";
            told([[START, name, blank, head, &stream, b"\n\n"].concat().as_slice()])
        };
        prop_assert_eq!(read(b""), read(b" "));
    }
}
