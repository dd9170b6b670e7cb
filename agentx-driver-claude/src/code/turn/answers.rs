use std::{borrow::Cow, mem};

use agentx_core::{ModelEvent, Result};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::messages::Decoder;

/// The model of messages that the CLI makes up itself, to tell of a failure.
const SYNTHETIC: &str = "<synthetic>";

/// From the CLI's frames to the events of the model's answers.
///
/// An answer comes as the events of the API's stream, and once more, block by block, as messages. Where the stream broke
/// off and the CLI asked again without one, it comes as messages alone.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The answer that is being streamed.
    open: Option<Open>,
    /// The id of the answer that was streamed to its end.
    streamed: String,
    /// The blocks of an answer that was not streamed.
    whole: Option<Whole>,
}

#[derive(Debug)]
struct Open {
    id: String,
    decoder: Decoder,
    has_reason: bool,
}

#[derive(Debug)]
struct Whole {
    message: Map,
    content: Vec<Value>,
}

type Map = serde_json::Map<String, Value>;

#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<MessageHead<'a>>,
    #[serde(borrow)]
    delta: Option<DeltaHead<'a>>,
}

#[derive(Deserialize)]
struct MessageHead<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct DeltaHead<'a> {
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

impl Answers {
    /// Takes an event of the stream.
    pub(super) fn event(&mut self, event: &RawValue, out: &mut Vec<ModelEvent>) -> Result<()> {
        self.flush(out)?;
        let Ok(head) = serde_json::from_str::<EventHead<'_>>(event.get()) else {
            return Ok(());
        };
        match &*head.kind {
            "message_start" => {
                self.retract("the answer began anew", out);
                let id = head.message.map(|message| message.id.into_owned()).unwrap_or_default();
                self.open = Some(Open { id, decoder: Decoder::new(), has_reason: false });
            }
            "message_delta" if head.delta.is_some_and(|delta| delta.stop_reason.is_some()) => {
                if let Some(open) = &mut self.open {
                    open.has_reason = true;
                }
            }
            // The CLI closes a stream that broke off; it asks once more, and that answer stands in place of this.
            "message_stop" if self.open.as_ref().is_some_and(|open| !open.has_reason) => {
                self.retract("the answer broke off", out);
            }
            _ => {}
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        feed(&mut open.decoder, event.get(), out)?;
        if open.decoder.is_complete() {
            self.streamed = mem::take(&mut open.id);
            self.open = None;
        }
        Ok(())
    }

    /// Takes an answer, or a block of one.
    pub(super) fn message(&mut self, message: &RawValue, out: &mut Vec<ModelEvent>) -> Result<()> {
        let Ok(mut message) = serde_json::from_str::<Map>(message.get()) else { return Ok(()) };
        let text = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or_default();
        let id = text("id");
        let is_streamed = id == self.streamed || self.open.as_ref().is_some_and(|open| open.id == id);
        if is_streamed || text("model") == SYNTHETIC {
            return Ok(());
        }
        let goes_on = self.whole.as_ref().is_some_and(|whole| whole.message.get("id") == message.get("id"));
        if !goes_on {
            self.flush(out)?;
            self.retract("the answer broke off", out);
            self.whole = Some(Whole { message: Map::new(), content: Vec::new() });
        }
        if let Some(whole) = &mut self.whole {
            if let Some(Value::Array(content)) = message.remove("content") {
                whole.content.extend(content);
            }
            whole.message = message;
        }
        Ok(())
    }

    /// Ends an answer that was not streamed: anything else than a block of it came.
    pub(super) fn flush(&mut self, out: &mut Vec<ModelEvent>) -> Result<()> {
        let Some(Whole { mut message, content }) = self.whole.take() else { return Ok(()) };
        let calls = content.iter().any(|block| block.get("type").is_some_and(|kind| kind == "tool_use"));
        let reason = match message.get("stop_reason") {
            Some(reason @ Value::String(_)) => reason.clone(),
            _ => json!(if calls { "tool_use" } else { "end_turn" }),
        };
        let usage = message.remove("usage").unwrap_or_default();
        message.insert("content".to_owned(), content.into());
        let mut decoder = Decoder::new();
        for event in [
            json!({"type": "message_start", "message": message}),
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}),
            json!({"type": "message_stop"}),
        ] {
            feed(&mut decoder, &event.to_string(), out)?;
        }
        Ok(())
    }

    /// Takes back what was told of an answer that is not complete.
    pub(super) fn retract(&mut self, reason: &str, out: &mut Vec<ModelEvent>) {
        if self.open.take().is_some() {
            out.push(ModelEvent::Restarted { reason: reason.to_owned() });
        }
    }
}

fn feed(decoder: &mut Decoder, event: &str, out: &mut Vec<ModelEvent>) -> Result<()> {
    let mut bytes = Vec::with_capacity(event.len() + 8);
    bytes.extend_from_slice(b"data: ");
    bytes.extend_from_slice(event.as_bytes());
    bytes.extend_from_slice(b"\n\n");
    decoder.feed(&bytes, out)
}

#[cfg(test)]
mod tests {
    use agentx_core::{MessageAssembler, StopReason};

    use super::*;

    enum In {
        Event(Value),
        Message(Value),
    }
    use In::{Event, Message};

    fn run(frames: Vec<In>) -> Vec<ModelEvent> {
        let mut answers = Answers::default();
        let mut out = Vec::new();
        for frame in frames {
            match frame {
                Event(event) => {
                    answers.event(&serde_json::value::to_raw_value(&event).unwrap(), &mut out).unwrap();
                }
                Message(message) => {
                    answers.message(&serde_json::value::to_raw_value(&message).unwrap(), &mut out).unwrap();
                }
            }
        }
        answers.flush(&mut out).unwrap();
        out
    }

    fn text(events: &[ModelEvent]) -> String {
        let mut message = MessageAssembler::new();
        for event in events {
            message.push(event);
        }
        message.finish().text()
    }

    fn start(id: &str) -> In {
        Event(
            json!({"type": "message_start", "message": {"id": id, "model": "m", "usage": {"input_tokens": 3}}}),
        )
    }

    fn said(text: &str) -> [In; 2] {
        [
            Event(
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
            Event(
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            ),
        ]
    }

    fn end() -> [In; 3] {
        [
            Event(json!({"type": "content_block_stop", "index": 0})),
            Event(
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
            ),
            Event(json!({"type": "message_stop"})),
        ]
    }

    fn message(id: &str, model: &str, content: &Value) -> In {
        Message(json!({"id": id, "model": model, "content": content, "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 2}}))
    }

    fn restarts(events: &[ModelEvent]) -> usize {
        events.iter().filter(|event| matches!(event, ModelEvent::Restarted { .. })).count()
    }

    fn stops(events: &[ModelEvent]) -> usize {
        events.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count()
    }

    #[test]
    fn a_streamed_answer_is_told_once() {
        let mut frames = vec![start("1")];
        frames.extend(said("hello"));
        frames.push(message("1", "m", &json!([{"type": "text", "text": "hello"}])));
        frames.extend(end());
        frames.push(message("1", "m", &json!([{"type": "text", "text": "hello"}])));
        let events = run(frames);
        assert_eq!((text(&events).as_str(), stops(&events), restarts(&events)), ("hello", 1, 0));
    }

    #[test]
    fn an_answer_that_broke_off_is_taken_back_and_comes_whole() {
        for closed in [true, false] {
            let mut frames = vec![start("1")];
            frames.extend(said("hal"));
            if closed {
                frames.push(Event(json!({"type": "message_stop", "abandoned_blocks": [0]})));
            }
            frames.push(message("2", "m", &json!([{"type": "text", "text": "whole"}])));
            let call = json!([{"type": "tool_use", "id": "t", "name": "x", "input": {"a": 1}}]);
            frames.push(message("2", "m", &call));
            let events = run(frames);
            assert_eq!(
                (text(&events).as_str(), stops(&events), restarts(&events)),
                ("whole", 1, 1),
                "{closed}"
            );
            let mut message = MessageAssembler::new();
            for event in &events {
                message.push(event);
            }
            let message = message.finish();
            assert_eq!(message.tool_calls().next().unwrap().input, json!({"a": 1}));
            assert_eq!(message.usage.unwrap().output_tokens, 2);
        }
    }

    #[test]
    fn an_answer_that_begins_anew_takes_back_what_was_told() {
        let mut frames = vec![start("1")];
        frames.extend(said("hal"));
        frames.push(start("2"));
        frames.extend(said("whole"));
        frames.extend(end());
        let events = run(frames);
        assert_eq!((text(&events).as_str(), stops(&events), restarts(&events)), ("whole", 1, 1));
        assert!(matches!(events.last(), Some(ModelEvent::Stop(StopReason::EndTurn))));
    }

    #[test]
    fn what_the_cli_makes_up_is_not_the_models() {
        let events = run(vec![message("9", SYNTHETIC, &json!([{"type": "text", "text": "API Error: 400"}]))]);
        assert_eq!(events, []);
    }
}
