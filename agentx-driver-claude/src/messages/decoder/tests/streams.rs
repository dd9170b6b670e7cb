//! Whole answers in the forms that the API sends, and what becomes of them however the bytes come.

use agentx_core::{AssistantMessage, AssistantPart, MessageAssembler};

use super::*;

/// The answers, by name: one event a line.
const STREAMS: [(&str, &str); 13] = [
    ("text", include_str!("../streams/text.jsonl")),
    ("tools", include_str!("../streams/tools.jsonl")),
    ("interleaved", include_str!("../streams/interleaved.jsonl")),
    ("server_tools", include_str!("../streams/server_tools.jsonl")),
    ("programmatic", include_str!("../streams/programmatic.jsonl")),
    ("pause", include_str!("../streams/pause.jsonl")),
    ("refusal", include_str!("../streams/refusal.jsonl")),
    ("empty_refusal", include_str!("../streams/empty_refusal.jsonl")),
    ("max_tokens", include_str!("../streams/max_tokens.jsonl")),
    ("stop_sequence", include_str!("../streams/stop_sequence.jsonl")),
    ("compaction", include_str!("../streams/compaction.jsonl")),
    ("fallback", include_str!("../streams/fallback.jsonl")),
    ("wild", include_str!("../streams/wild.jsonl")),
];

fn bytes(lines: &str) -> Vec<u8> {
    stream(&lines.lines().collect::<Vec<_>>()).into_bytes()
}

fn message(events: &[ModelEvent]) -> AssistantMessage {
    let mut message = MessageAssembler::new();
    for event in events {
        message.push(event);
    }
    message.finish()
}

/// The message's parts in a few words each, then its stop.
fn summary(name: &str) -> (Vec<String>, AssistantMessage, Skipped) {
    let (_, lines) = STREAMS.into_iter().find(|(found, _)| *found == name).unwrap();
    let (events, end) = decode([bytes(lines).as_slice()]);
    let message = message(&events);
    let parts = message.content.iter().map(|part| match part {
        AssistantPart::Text { text } => format!("text {text}"),
        AssistantPart::Thinking { reasoning, signature } => {
            format!("thinking {reasoning} {}", signature.as_deref().unwrap_or_default())
        }
        AssistantPart::ToolCall(call) => match &call.malformed {
            None => format!("call {} {} {}", call.id, call.name, call.input),
            Some(json) => format!("malformed {} {json}", call.id),
        },
        AssistantPart::Opaque { json, .. } => json.clone(),
        other => format!("{other:?}"),
    });
    (parts.collect(), message, end.unwrap())
}

#[test]
fn each_answer_becomes_its_message() {
    use StopReason as Stop;
    let table: [(&str, &[&str], Stop); 13] = [
        ("text", &["text Hello, \"wörld\"\n\t🦀 \\ done / 1 < 2"], Stop::EndTurn),
        (
            "tools",
            &[
                "thinking Two files, so two calls. EqQBCgIYAhIM",
                r#"{"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix/LafPsn4a"}"#,
                "text I look.",
                r#"call toolu_01 read {"n":[1,2.5],"path":"/a \"b\".txt"}"#,
                "call toolu_02 list {}",
            ],
            Stop::ToolUse,
        ),
        (
            "interleaved",
            &[r#"call toolu_01 read {"path":"/a"}"#, r#"call toolu_02 read {"path":"/b"}"#],
            Stop::ToolUse,
        ),
        (
            "server_tools",
            &[
                "text I search.",
                r#"{"type":"server_tool_use","id":"srvtoolu_01","name":"web_search","input":{"query": "rust"},"caller":{"type":"direct"}}"#,
                r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_01","content":[{"type":"web_search_result","title":"Rust","url":"https://example.org/","encrypted_content":"Eq8B==","page_age":null}]}"#,
                "text Rust is a language.",
                r#"{"type":"agentx_citations","citations":[{"type":"web_search_result_location","cited_text":"Rust is …","url":"https://example.org/","title":"Rust","encrypted_index":"Eo8B"},{"type":"web_search_result_location","cited_text":"fast","url":"https://example.org/2","title":null,"encrypted_index":"Eo8C"}]}"#,
            ],
            Stop::EndTurn,
        ),
        (
            "programmatic",
            &[
                r#"{"type":"server_tool_use","id":"srvtoolu_01","name":"code_execution","input":{"code": "await f()"},"caller":{"type":"direct"}}"#,
                r#"call toolu_01 read {"path":"/a"}"#,
                r#"{"type":"agentx_caller","tool_use_id":"toolu_01","caller":{"type":"code_execution_20260120","tool_id":"srvtoolu_01"}}"#,
                r#"{"type":"agentx_container","container":{"id":"container_01","expires_at":"2026-11-22T08:00:00Z"}}"#,
            ],
            Stop::ToolUse,
        ),
        (
            "pause",
            &[
                r#"{"type":"server_tool_use","id":"srvtoolu_01","name":"web_fetch","input":{"url": "https://example.org/"}}"#,
            ],
            Stop::PauseTurn,
        ),
        ("refusal", &["text First, take"], Stop::Refusal),
        ("empty_refusal", &[], Stop::Refusal),
        (
            "max_tokens",
            &["text I write it.", r#"malformed toolu_01 {"path": "/a", "content": "lo"#],
            Stop::MaxTokens,
        ),
        ("stop_sequence", &["text one"], Stop::StopSequence),
        (
            "compaction",
            &[r###"{"type":"compaction","content":"## Summary\nThey \"asked\"."}"###, "text On with it."],
            Stop::Other("compaction".into()),
        ),
        (
            "fallback",
            &[
                "thinking  c2lnMQ==",
                r#"{"type":"fallback","from":{"model":"claude-a"},"to":{"model":"claude-b"}}"#,
                "thinking Again. c2lnMg==",
                "text Hi.",
            ],
            Stop::EndTurn,
        ),
        (
            "wild",
            &[
                "text Early. ",
                r#"call toolu_00 read {"path":"/z"}"#,
                "text Later.",
                r#"{"type":"hologram","beam":{"n":2},"name":7,"glow":"bright"}"#,
            ],
            Stop::Other("a_reason_of_tomorrow".into()),
        ),
    ];
    for (name, parts, stop) in table {
        let (found, message, _) = summary(name);
        assert_eq!(
            (found, message.stop_reason),
            (parts.iter().map(ToString::to_string).collect(), Some(stop)),
            "{name}"
        );
    }
}

#[test]
fn counts_and_details_are_complete_and_what_is_unknown_is_counted() {
    let mut all = Usage::new(25, 89);
    (all.cache_creation_input_tokens, all.cache_creation_1h_input_tokens) = (12, 10);
    (all.cache_read_input_tokens, all.thinking_tokens) = (100, 40);
    assert_eq!(summary("tools").1.usage, Some(all));
    assert_eq!(summary("server_tools").1.usage.unwrap().web_search_requests, 1);

    let details = summary("refusal").1.stop_details.unwrap();
    assert_eq!(details.category.as_deref(), Some("cyber"));
    assert_eq!(details.explanation.as_deref(), Some("This request was blocked."));
    assert_eq!(summary("empty_refusal").1.stop_details, None);
    assert_eq!(summary("stop_sequence").1.stop_details.unwrap().stop_sequence.as_deref(), Some("END"));

    let (_, message, skipped) = summary("wild");
    assert_eq!((message.usage.unwrap().output_tokens, message.model.as_deref()), (9, Some("")));
    assert_eq!(skipped, Skipped { events: 2, deltas: 4, blocks: 0, companions: 0, usages: 1 });
}

#[test]
fn how_the_bytes_of_an_answer_are_cut_or_framed_makes_no_difference() {
    let mut seed = 7_u64;
    for (name, lines) in STREAMS {
        let whole = bytes(lines);
        let (expected, _) = decode([whole.as_slice()]);
        for size in [1, 2, 3, 5, 17, 37, 151] {
            assert_eq!(decode(whole.chunks(size)).0, expected, "{name} in pieces of {size}");
        }
        for _ in 0..50 {
            let (mut pieces, mut rest) = (Vec::new(), whole.as_slice());
            while !rest.is_empty() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (piece, after) = rest.split_at(usize::try_from(seed >> 56).unwrap().min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(decode(pieces).0, expected, "{name}");
        }
        let text = String::from_utf8(whole).unwrap();
        for framed in [
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
            text.replace("\n\n", "\n: comment\nid: 7\n\n"),
            text.replace("}\n\n", "}   \n\n"),
            text.replace("\ndata: {", "\ndata:{\ndata:  "),
            text.lines()
                .filter(|line| !line.starts_with("event"))
                .fold(String::new(), |text, line| text + line + "\n"),
        ] {
            assert_eq!(decode([framed.as_bytes()]).0, expected, "{name}: {framed}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_off_at_any_byte_tells_a_beginning_and_no_end() {
    for (name, lines) in STREAMS {
        let bytes = bytes(lines);
        let (whole, _) = decode([bytes.as_slice()]);
        let stop = bytes.windows(12).position(|window| window == b"message_stop").unwrap();
        for end in 0..stop {
            // Whole and in pieces by turns.
            let (told, result) = decode(bytes[..end].chunks(if end % 2 == 0 { 100 } else { 100_000 }));
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Truncated, "{name} at {end}");
            assert_eq!(told, whole[..told.len()], "{name} at {end}");
            assert!(!told.iter().any(|event| matches!(event, ModelEvent::Stop(_))), "{name} at {end}");
            // What was cut off is no part of the message, so nothing half done can be sent back or run.
            let unfinished = message(&told).content.into_iter().filter_map(|part| match part {
                AssistantPart::ToolCall(call) => call.malformed,
                AssistantPart::Thinking { signature, .. } => signature.is_none().then(String::new),
                _ => None,
            });
            let malformed = usize::from(name == "max_tokens");
            assert!(unfinished.count() <= malformed, "{name} at {end}");
        }
    }
}

#[test]
fn events_that_are_missing_twice_or_in_another_order_never_panic_or_fake_an_end() {
    let mut seed = 3_u64;
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for (name, lines) in STREAMS {
        for _ in 0..300 {
            let mut events: Vec<_> = lines.lines().collect();
            for _ in 0..=chance(3) {
                let (from, to) = (chance(events.len()), chance(events.len()));
                match chance(3) {
                    0 => drop(events.remove(from)),
                    1 => events.insert(to, events[from]),
                    _ => events.swap(from, to),
                }
            }
            let stops = events.iter().filter(|event| event.contains("message_stop")).count();
            let (told, result) = decode([stream(&events).as_bytes()]);
            let told_stops = told.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count();
            assert_eq!(result.is_ok(), told_stops == 1, "{name}: {events:?}");
            assert!(told_stops <= stops.min(1), "{name}: {events:?}");
            message(&told);
        }
    }
}

#[test]
fn the_short_way_of_reading_gives_what_the_parser_gives() {
    let beginning = stream(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"n","input":{"a":1}}}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"server_tool_use","id":"s","input":{}}}"#,
    ]);
    let texts = [
        " token",
        "",
        "\\n",
        "a\\\"b\\\\",
        "\\u00e9",
        "ünï🦀",
        "\\/\\b\\f\\r\\t",
        "{\\\"a\\\": ",
        "  ",
        "\\",
        "\"",
        "\\x",
        "\u{7F}",
    ];
    let mut seed = 11_u64;
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut short = 0;
    for round in 0..12_000 {
        let (kind, field) = [
            ("text_delta", "text"),
            ("thinking_delta", "thinking"),
            ("input_json_delta", "partial_json"),
            ("x_delta", "x"),
        ][chance(4)];
        let index = [0, 1, 2, 3, 4][chance(5)];
        let (text, more) = (texts[chance(texts.len())], texts[chance(texts.len())]);
        let blanks = " ".repeat(chance(3));
        let mut json = format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{field}":"{text}{more}"}}{blanks}}}"#
        )
        .into_bytes();
        if chance(2) == 0 {
            let at = chance(json.len());
            match chance(4) {
                0 => drop(json.remove(at)),
                1 => json.insert(at, b" \"\\{}:,0a\x00\xFF\t"[chance(12)]),
                2 => json[at] = b" \"\\{}:,0a\x00\xFF\t"[chance(12)],
                _ => json.truncate(at),
            }
        }
        short += usize::from(fast::data(&json).is_some());
        // A blank at the beginning is nothing to JSON, and not the short way's.
        let read = |blank: &[u8]| {
            let frame = [b"event: content_block_delta\ndata: ", blank, json.as_slice(), b"\n\n"].concat();
            let mut decoder = Decoder::new();
            let mut events = Vec::new();
            decoder.feed(beginning.as_bytes(), &mut events).unwrap();
            let result = decoder.feed(&frame, &mut events).map_err(|error| error.kind());
            (events, result, decoder.skipped())
        };
        assert_eq!(read(b""), read(b" "), "round {round}: {}", String::from_utf8_lossy(&json));
    }
    assert!(short > 2000, "{short}");
}
