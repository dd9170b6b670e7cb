use agentx_core::{BlockChange, BlockKind};

use super::*;

/// An answer with all that the API is known to send, and some that it may send one day.
fn recorded() -> String {
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm\u00fc."}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking", "data":"\u0041B"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":"}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":" \"rust\"}"}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"web_search_tool_result","tool_use_id":"srv_1","content":[{"n":1.50}]}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":""}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"🦀 \"said\"\n"}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"url":"x"}}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"hologram_delta","beam":[1]}}"#,
        r#"{"type":"content_block_stop","index":4}"#,
        r#"{"type":"hologram","index":"not a number","delta":7}"#,
        r#"{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_1","name":"bash","input":{}}}"#,
        r#"{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{\"command\": \"ls"}}"#,
        r#"{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"\"}"}}"#,
        r#"{"type":"content_block_stop","index":5}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":42,"input_tokens":null,"cache_read_input_tokens":7}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    stream(&events)
}

fn stream(events: &[&str]) -> String {
    let events = events.iter().map(|data| format!("event: {}\ndata: {data}\n\n", name(data)));
    events.collect::<Vec<_>>().concat()
}

fn name(data: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(data).unwrap();
    value["type"].as_str().unwrap_or_default().to_owned()
}

/// What the chunks tell, and how it ends.
fn decode<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> (Vec<ModelEvent>, Result<Skipped>) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, &mut events) {
            return (events, Err(error));
        }
    }
    (events, decoder.finish().map(|()| decoder.skipped()))
}

fn decode_events(events: &[&str]) -> (Vec<ModelEvent>, Result<Skipped>) {
    decode([stream(events).as_bytes()])
}

fn block(index: u32, change: BlockChange) -> ModelEvent {
    ModelEvent::Block { index, change }
}

fn opaque(json: &str) -> BlockChange {
    BlockChange::Start(BlockKind::Opaque { provider: "anthropic".into(), json: json.into() })
}

fn usage(input: u64, written: u64, read: u64, output: u64) -> ModelEvent {
    let mut usage = Usage::new(input, output);
    usage.cache_creation_input_tokens = written;
    usage.cache_read_input_tokens = read;
    ModelEvent::Usage(usage)
}

#[test]
fn an_answer_becomes_events_and_what_is_unknown_is_counted() {
    let (events, end) = decode([recorded().as_bytes()]);
    let tool = BlockKind::ToolUse { id: "toolu_1".into(), name: "bash".into() };
    assert_eq!(
        events,
        [
            ModelEvent::Start { model: "claude-x".into() },
            usage(10, 3, 0, 1),
            block(0, BlockChange::Start(BlockKind::Thinking)),
            block(0, BlockChange::Thinking("Hmü.".into())),
            block(0, BlockChange::Signature("c2ln".into())),
            block(0, BlockChange::Stop),
            block(1, opaque(r#"{"type":"redacted_thinking", "data":"\u0041B"}"#)),
            block(1, BlockChange::Stop),
            block(
                2,
                opaque(
                    r#"{"type":"server_tool_use","id":"srv_1","name":"web_search","input":{"query": "rust"}}"#
                )
            ),
            block(2, BlockChange::Stop),
            block(
                3,
                opaque(r#"{"type":"web_search_tool_result","tool_use_id":"srv_1","content":[{"n":1.50}]}"#)
            ),
            block(3, BlockChange::Stop),
            block(4, BlockChange::Start(BlockKind::Text)),
            block(4, BlockChange::Text("🦀 \"said\"\n".into())),
            block(4, BlockChange::Stop),
            block(5, opaque(r#"{"type":"agentx_citations","citations":[{"url":"x"}]}"#)),
            block(5, BlockChange::Stop),
            block(6, BlockChange::Start(tool)),
            block(6, BlockChange::InputJson(r#"{"command": "ls"#.into())),
            block(6, BlockChange::InputJson(r#""}"#.into())),
            block(6, BlockChange::Stop),
            usage(10, 3, 7, 42),
            ModelEvent::Stop(StopReason::ToolUse),
        ]
    );
    assert_eq!(end.unwrap(), Skipped { events: 1, deltas: 1, ..Skipped::default() });
}

#[test]
fn how_the_bytes_are_cut_makes_no_difference() {
    let bytes = recorded().into_bytes();
    let whole = decode([bytes.as_slice()]);
    for size in [1, 2, 3, 7, 64, 151, 1000] {
        let cut = decode(bytes.chunks(size));
        assert_eq!((cut.0, cut.1.unwrap()), (whole.0.clone(), *whole.1.as_ref().unwrap()), "{size}");
    }
    // Cuts by chance, the same in each run.
    let mut seed = 1_u64;
    for round in 0..300 {
        let (mut decoder, mut events, mut rest) = (Decoder::new(), Vec::new(), bytes.as_slice());
        while !rest.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = usize::try_from(seed >> 57).unwrap().min(rest.len());
            let (head, tail) = rest.split_at(size);
            decoder.feed(head, &mut events).unwrap();
            rest = tail;
        }
        decoder.finish().unwrap();
        assert_eq!(events, whole.0, "round {round}");
    }
}

#[test]
fn an_answer_that_is_cut_off_at_any_byte_has_no_end() {
    let bytes = recorded().into_bytes();
    let (whole, _) = decode([bytes.as_slice()]);
    for end in 0..bytes.len() {
        let (told, result) = decode([&bytes[..end]]);
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Truncated, Retry::After(None)), "{end}");
        assert_eq!(told, whole[..told.len()], "{end}");
        assert!(!told.iter().any(|event| matches!(event, ModelEvent::Stop(_))), "{end}");
    }
}

#[test]
fn no_byte_that_is_changed_makes_it_panic() {
    let bytes = recorded().into_bytes();
    for at in 0..bytes.len() {
        for byte in [0, b'\n', b'"', b'{', 0xFF] {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            decode([bytes.as_slice()]).1.ok();
        }
    }
}

const START: &str = r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn end(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":2}}}}"#
    )
}

#[test]
fn a_start_that_comes_twice_counts_once() {
    let (events, end) = decode_events(&[
        START,
        r#"{"type":"message_start","message":{"model":"other","usage":{"input_tokens":5}}}"#,
        &end("end_turn"),
        STOP,
    ]);
    end.unwrap();
    let starts = events.iter().filter(|event| matches!(event, ModelEvent::Start { .. })).count();
    assert_eq!(starts, 1);
    assert!(events.contains(&usage(5, 0, 0, 2)));
}

#[test]
fn blocks_that_stand_in_the_start_are_told() {
    let (events, end) = decode_events(
        &[
            r#"{"type":"message_start","message":{"model":"m","content":[
            {"type":"text","text":"early"},
            {"type":"tool_use","id":"t","name":"n","input":{"a": 1}}]}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"la"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ter"}}"#,
            &end("end_turn"),
            STOP,
        ]
        .map(|data| data.replace('\n', " "))
        .each_ref()
        .map(String::as_str),
    );
    end.unwrap();
    let mut message = agentx_core::MessageAssembler::new();
    for event in &events {
        message.push(event);
    }
    let message = message.finish();
    assert_eq!(message.text(), "earlylater");
    assert_eq!(message.tool_calls().next().unwrap().input["a"], 1);
}

#[test]
fn a_known_event_of_an_unknown_form_is_an_error_and_what_came_before_is_told() {
    for (bad, name) in [
        ("{\"type\":\"content_block_delta\",\"index\":\"x\"}", "wrong type"),
        ("{\"type\":\"content_block_start\",\"index\":0}", "no block"),
        ("{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\"}}", "no id"),
        ("{\"type\":\"message_start\"}", "no message"),
        ("{\"type\":\"message_delta\"", "cut JSON"),
    ] {
        let bytes = format!("{}data: {bad}\n\n", stream(&[START]));
        let (events, end) = decode([bytes.as_bytes()]);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        assert_eq!(events.first(), Some(&ModelEvent::Start { model: "m".into() }), "{name}");
    }
}

#[test]
fn what_is_no_event_of_the_api_is_skipped() {
    let bytes = format!("data: [DONE]\n\nevent: debug\ndata: oops\n\n{}data: [DONE]\n\n", recorded());
    let (events, end) = decode([bytes.as_bytes()]);
    assert_eq!(end.unwrap().events, 4);
    assert_eq!(events, decode([recorded().as_bytes()]).0);
}

#[test]
fn an_end_without_reason_or_with_an_open_call_is_none() {
    let open = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#;
    for events in [vec![START, STOP], vec![START, open, &end("tool_use"), STOP]] {
        let (told, end) = decode_events(&events);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::Truncated);
        assert!(!told.iter().any(|event| matches!(event, ModelEvent::Stop(_))));
    }
}

#[test]
fn a_server_tool_that_is_cut_off_is_left_out() {
    let (events, end) = decode_events(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"q"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        &end("max_tokens"),
        STOP,
    ]);
    assert_eq!(end.unwrap().blocks, 1);
    assert!(!events.iter().any(|event| matches!(event, ModelEvent::Block { .. })));
    assert_eq!(events.last(), Some(&ModelEvent::Stop(StopReason::MaxTokens)));
}

#[test]
fn an_error_event_is_an_error_without_the_key() {
    let error =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"no room for sk-ant-secret"}}"#;
    let mut decoder = Decoder::redacting(Secret::new("sk-ant-secret"));
    let mut events = Vec::new();
    let error = decoder.feed(stream(&[START, error]).as_bytes(), &mut events).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(None)));
    assert!(error.to_string().ends_with("overloaded_error: no room for [redacted]"));
    assert!(!format!("{error:?} {decoder:?}").contains("sk-ant-secret"));
    assert_eq!(events.len(), 2);
}

#[test]
fn open_blocks_are_bounded() {
    let starts = (0..5000).map(|index| {
        format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#
        )
    });
    let starts: Vec<_> = starts.collect();
    let (_, end) = decode_events(&starts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_block_that_another_takes_the_place_of_is_no_part_of_a_whole_answer() {
    let text = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"n","input":{}}}"#;
    let end = end("end_turn");
    let (_, result) = decode_events(&[text, text, &end, r#"{"type":"message_stop"}"#]);
    result.unwrap();
    let (_, result) = decode_events(&[call, text, &end, r#"{"type":"message_stop"}"#]);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Truncated);
}

mod hostile;
mod streams;
