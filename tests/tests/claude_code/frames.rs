//! Frames: many, long, broken, unknown.

use agentx_core::{BlockChange, DriverEvent, ErrorKind, ModelEvent, Outcome, Retry};

use super::{ANSWER, HELLO, READ, RESULT, driver, failed, run};

/// The model's text in these events.
fn text(events: &[DriverEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::Model(ModelEvent::Block { change: BlockChange::Text(text), .. }) => {
                Some(text.as_str())
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_thousand_fast_frames_come_whole_and_in_order() {
    let stream = r#"
        event() { printf '{"type":"stream_event","parent_tool_use_id":null,"event":%s}\n' "$1"; }
        event '{"type":"message_start","message":{"id":"1","model":"m"}}'
        event '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
        i=0; while [ $i -lt 1000 ]; do i=$((i+1))
            printf '{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%d "}}}\n' $i
        done
        event '{"type":"content_block_stop","index":0}'
        event '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1000}}'
        event '{"type":"message_stop"}'
    "#;
    let (events, end) =
        run(&driver(&[HELLO, READ, stream, RESULT].concat(), |settings| settings), "Count.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");
    let numbers = text(&events);
    assert!(numbers.split_whitespace().eq((1..=1000).map(|number| number.to_string())), "{numbers}");
    assert_eq!(end.spent.unwrap().usage.output_tokens, 1000);
}

#[tokio::test]
async fn what_is_no_frame_or_is_unknown_is_passed_over() {
    let noise = r#"
        echo '[SandboxDebug] not a frame'; echo; printf '\377\376\n'; echo '[1,2]'; echo 'null'
        echo '{"type":"rate_limit_event","n":1}'; echo '{"type":{}}'; echo '{"type":"result"'
        echo '{"type":"stream_event","event":{"type":"message_start"},"parent_tool_use_id":"of a sub-agent"}'
        echo '{"type":"stream_event","event":7}'; echo '{"type":"assistant","message":7}'
        echo '{"type":"control_cancel_request","request_id":"unheard of"}'
        echo '{"type":"control_response","response":{"request_id":"unheard of"}}'
        echo '{"type":"keep_alive"}'
    "#;
    let script = [HELLO, noise, READ, noise, ANSWER, noise, RESULT].concat();
    let (events, end) = run(&driver(&script, |settings| settings), "Hello.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");
    assert_eq!(text(&events), "Hi.");
}

#[tokio::test]
async fn a_request_that_is_unknown_is_refused_and_one_that_nobody_can_judge_is_denied() {
    // Each answer goes into the model's text.
    let ask = r#"
        echo '{"type":"control_request","request_id":"a","request":{"subtype":"elicitation"}}'
        read -r one
        echo '{"type":"control_request","request_id":"b","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{},"tool_use_id":"t","agent_id":"sub"}}'
        read -r two
        echo '{"type":"control_request","request_id":"c","request":{"subtype":"mcp_message","server_name":"agentx","message":{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}}}'
        read -r three
        said=$(printf '%s %s %s' "$one" "$two" "$three" | tr -d '"\\')
        printf '{"type":"assistant","message":{"id":"1","model":"m","content":[{"type":"text","text":"%s"}],"stop_reason":"end_turn"}}\n' "$said"
    "#;
    let (events, end) =
        run(&driver(&[HELLO, READ, ask, RESULT].concat(), |settings| settings), "Hello.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");
    let said = text(&events);
    for part in ["error:not supported,request_id:a", "behavior:deny", "isError:true"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test]
async fn twelve_mebibytes_in_a_frame_are_read_and_what_is_beyond_the_bound_is_an_error() {
    let large = r#"
        printf '{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"'
        head -c 12582912 /dev/zero | tr '\0' x
        printf '"}]}}\n'
    "#;
    let script = [HELLO, READ, large, ANSWER, RESULT].concat();
    let (events, end) = run(&driver(&script, |settings| settings), "Hello.").await;
    assert!(matches!(end.outcome, Outcome::Completed), "{end:?}");
    assert_eq!(text(&events), "Hi.");
    let (_, end) = run(&driver(&script, |settings| settings.with_frame_limit(1 << 20)), "Hello.").await;
    let error = failed(end);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.to_string().contains("1048576"), "{error}");
}

#[tokio::test]
async fn a_cli_that_dies_within_a_frame_or_without_a_result_is_lost() {
    for (end, words) in [
        (r#"printf '{"type":"res'; exit 0"#, "within a frame (exit code 0)"),
        ("exit 0", "ended (exit code 0)"),
        ("echo 'out of memory' >&2; exit 9", "(exit code 9); its last words: out of memory"),
        ("kill -KILL $$", "ended by signal 9"),
    ] {
        let (events, told) =
            run(&driver(&[HELLO, READ, ANSWER, end].concat(), |settings| settings), "Hello.").await;
        let error = failed(told);
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Truncated, Retry::After(None)),
            "{end}: {error}"
        );
        assert!(error.to_string().contains(words), "{end}: {error}");
        assert_eq!(text(&events), "Hi.", "{end}: what came before is told");
    }
}

#[tokio::test]
async fn a_success_without_an_answer_is_none() {
    let (_, end) = run(&driver(&[HELLO, READ, RESULT].concat(), |settings| settings), "Hello.").await;
    assert_eq!(failed(end).kind(), ErrorKind::Corrupt);
}
