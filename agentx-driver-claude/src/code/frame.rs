use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// A frame that the CLI wrote. An open list: what this version does not know is [`Frame::Other`], as it came.
#[derive(Debug)]
#[non_exhaustive]
pub enum Frame {
    /// A conversation begins or goes on (`system/init`): the frame's whole JSON.
    Init(Value),
    /// A model call failed and is tried again (`system/api_retry`).
    Retry {
        /// Why, by the CLI's name for it, such as `overloaded`.
        error: String,
        /// The status of the API's answer, where there was one.
        status: Option<u16>,
    },
    /// An event of the model's answer, as the Messages API streams it.
    Stream {
        /// The event's JSON.
        event: Box<RawValue>,
        /// It belongs to a sub-agent of the CLI's own.
        nested: bool,
    },
    /// A block of the model's answer, or all of it: an API message.
    Assistant {
        /// The message.
        message: Box<RawValue>,
        /// It belongs to a sub-agent of the CLI's own.
        nested: bool,
    },
    /// A message in the user's name: results of tools, and the CLI's own notes.
    User {
        /// The message.
        message: Box<RawValue>,
        /// It belongs to a sub-agent of the CLI's own.
        nested: bool,
    },
    /// The CLI asks something.
    Request {
        /// The request's id, by which it is answered.
        id: String,
        /// What it asks.
        request: CliRequest,
    },
    /// The CLI no longer wants an answer to this request.
    Cancelled {
        /// The request's id.
        id: String,
    },
    /// The answer to a request of ours.
    Response {
        /// The request's id.
        id: String,
        /// What came of it: its value, or the CLI's own words.
        outcome: Result<Value, String>,
    },
    /// A turn is over.
    Result(Box<TurnResult>),
    /// Anything else, as it came.
    Other(Bytes),
}

/// What the CLI asks.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CliRequest {
    /// Whether a tool may run (`can_use_tool`).
    Permission {
        /// The call, where it is told.
        tool_use_id: Option<String>,
        /// The tool, by the CLI's name for it.
        tool: String,
        /// The tool's input.
        input: Value,
        /// The sub-agent of the CLI's own that calls it.
        agent: Option<String>,
    },
    /// What one of the hooks says that were named at the start (`hook_callback`).
    Hook {
        /// The hook.
        callback: String,
        /// What it is told.
        input: Value,
    },
    /// A message to one of our MCP servers (`mcp_message`).
    Mcp {
        /// The server.
        server: String,
        /// The message, in JSON-RPC.
        message: Value,
    },
    /// Anything else, as it came.
    Other {
        /// Its name.
        subtype: String,
        /// All of it.
        request: Value,
    },
}

/// How a turn of the CLI's ended. Judge it by `is_error` and `terminal_reason`, never by `subtype`: a refusal of the API
/// is a "success" there.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TurnResult {
    /// `success`, `error_during_execution`, `error_max_turns` and others.
    pub subtype: String,
    /// Whether it failed.
    pub is_error: bool,
    /// Why it ended, such as `completed` or `api_error`.
    pub terminal_reason: Option<String>,
    /// The status of the API's answer that ended it.
    pub api_status: Option<u16>,
    /// The last words, or what went wrong.
    pub text: Option<String>,
    /// What went wrong, where there is more than one thing.
    pub errors: Vec<String>,
    /// What the process has cost since it began, in US dollars, by the CLI's own price list.
    pub total_cost: Option<f64>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    parent_tool_use_id: Option<&'a RawValue>,
}

impl Frame {
    /// Reads a line; none where it is no JSON object.
    pub(super) fn parse(line: &Bytes) -> Option<Self> {
        let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else {
            // JSON without a type, or with one that is none, is a frame of a kind that we don't know.
            return serde_json::from_slice::<serde_json::Map<String, Value>>(line)
                .ok()
                .map(|_| Self::Other(line.clone()));
        };
        let nested = head.parent_tool_use_id.is_some_and(|parent| parent.get() != "null");
        let known = match (&*head.kind, head.event, head.message) {
            ("stream_event", Some(event), _) => Some(Self::Stream { event: event.to_owned(), nested }),
            ("assistant", _, Some(message)) => Some(Self::Assistant { message: message.to_owned(), nested }),
            ("user", _, Some(message)) => Some(Self::User { message: message.to_owned(), nested }),
            ("system" | "result" | "control_request" | "control_cancel_request" | "control_response", ..) => {
                serde_json::from_slice(line).ok().and_then(|whole| Self::of_value(&head.kind, whole))
            }
            _ => None,
        };
        Some(known.unwrap_or_else(|| Self::Other(line.clone())))
    }

    fn of_value(kind: &str, mut whole: Value) -> Option<Self> {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match kind {
            "system" => match whole.get("subtype").and_then(Value::as_str) {
                Some("init") => Some(Self::Init(whole)),
                Some("api_retry") => Some(Self::Retry {
                    error: text(&whole, "error").unwrap_or_default(),
                    status: status(&whole, "error_status"),
                }),
                _ => None,
            },
            "result" => Some(Self::Result(Box::new(TurnResult::of(&whole)))),
            "control_request" => {
                let id = text(&whole, "request_id")?;
                let request = CliRequest::of(whole.get_mut("request")?.take())?;
                Some(Self::Request { id, request })
            }
            "control_cancel_request" => Some(Self::Cancelled { id: text(&whole, "request_id")? }),
            _ => {
                let response = whole.get_mut("response")?;
                let id = text(response, "request_id")?;
                let outcome = match text(response, "subtype").as_deref() {
                    Some("success") => Ok(response.get_mut("response").map(Value::take).unwrap_or_default()),
                    _ => Err(text(response, "error").unwrap_or_else(|| "it said no more".to_owned())),
                };
                Some(Self::Response { id, outcome })
            }
        }
    }
}

impl CliRequest {
    fn of(mut request: Value) -> Option<Self> {
        let subtype = request.get("subtype")?.as_str()?.to_owned();
        let text = |key: &str| request.get(key).and_then(Value::as_str).map(str::to_owned);
        let known =
            match subtype.as_str() {
                "can_use_tool" => {
                    let (tool_use_id, agent) = (text("tool_use_id"), text("agent_id"));
                    text("tool_name")
                        .zip(request.get("input").cloned())
                        .map(|(tool, input)| Self::Permission { tool_use_id, tool, input, agent })
                }
                "hook_callback" => text("callback_id").map(|callback| {
                    let input = request.get("input").cloned().unwrap_or_default();
                    Self::Hook { callback, input }
                }),
                "mcp_message" => text("server_name").map(|server| {
                    let message = request.get_mut("message").map(Value::take).unwrap_or_default();
                    Self::Mcp { server, message }
                }),
                _ => None,
            };
        Some(known.unwrap_or(Self::Other { subtype, request }))
    }
}

impl TurnResult {
    fn of(whole: &Value) -> Self {
        let text = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let errors = whole.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            subtype: text("subtype").unwrap_or_default(),
            // A result that does not say so is none.
            is_error: whole.get("is_error").and_then(Value::as_bool).unwrap_or(true),
            terminal_reason: text("terminal_reason"),
            api_status: status(whole, "api_error_status"),
            text: text("result"),
            errors: errors.iter().filter_map(|error| error.as_str().map(str::to_owned)).collect(),
            total_cost: whole.get("total_cost_usd").and_then(Value::as_f64),
        }
    }
}

fn status(value: &Value, key: &str) -> Option<u16> {
    value.get(key).and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(frame: &Value) -> Frame {
        Frame::parse(&Bytes::from(frame.to_string())).unwrap()
    }

    #[test]
    fn what_is_no_object_is_no_frame_and_what_is_unknown_is_carried_through() {
        for line in ["", "[SandboxDebug] x", "[1]", "12", "\"type\"", "{\"type\":\"user\"", "\u{fffd}"] {
            assert!(Frame::parse(&Bytes::from(line.to_owned())).is_none(), "{line}");
        }
        let unknown = [
            json!({"type": "rate_limit_event", "n": 1}),
            json!({"type": "system", "subtype": "status"}),
            json!({"type": 7}),
            json!({"no": "type"}),
            json!({"type": "stream_event"}),
            json!({"type": "control_request", "request": {"subtype": "can_use_tool"}}),
            json!({"type": "control_response", "response": 3}),
        ];
        for frame in unknown {
            match parse(&frame) {
                Frame::Other(line) => assert_eq!(line, frame.to_string()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn requests_and_responses_are_read() {
        let ask = |request: Value| match parse(
            &json!({"type": "control_request", "request_id": "7", "request": request}),
        ) {
            Frame::Request { id, request } if id == "7" => request,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            ask(
                json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": {"a": 1}, "tool_use_id": "t"})
            ),
            CliRequest::Permission {
                tool_use_id: Some("t".into()),
                tool: "Bash".into(),
                input: json!({"a": 1}),
                agent: None
            }
        );
        assert_eq!(
            ask(json!({"subtype": "mcp_message", "server_name": "s", "message": {"id": 1}})),
            CliRequest::Mcp { server: "s".into(), message: json!({"id": 1}) }
        );
        let strange = json!({"subtype": "elicitation", "x": [1]});
        assert_eq!(
            ask(strange.clone()),
            CliRequest::Other { subtype: "elicitation".into(), request: strange }
        );
        let answer = |response: Value| match parse(&json!({"response": response, "type": "control_response"}))
        {
            Frame::Response { id, outcome } if id == "1" => outcome,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            answer(json!({"subtype": "success", "request_id": "1", "response": {"mode": "plan"}})),
            Ok(json!({"mode": "plan"}))
        );
        assert_eq!(answer(json!({"subtype": "success", "request_id": "1"})), Ok(Value::Null));
        assert_eq!(answer(json!({"subtype": "error", "request_id": "1", "error": "no"})), Err("no".into()));
    }

    #[test]
    fn a_result_without_a_word_on_its_success_is_a_failure() {
        let result = |frame: Value| match parse(&frame) {
            Frame::Result(result) => *result,
            other => panic!("{other:?}"),
        };
        assert!(result(json!({"type": "result", "subtype": "success"})).is_error);
        let read = result(
            json!({"subtype": "success", "is_error": true, "api_error_status": 400, "type": "result",
            "terminal_reason": "api_error", "result": "API Error: 400 bad", "total_cost_usd": 0.5, "errors": ["x", 1]}),
        );
        assert_eq!(
            (read.api_status, read.errors, read.total_cost),
            (Some(400), vec!["x".to_owned()], Some(0.5))
        );
    }
}
