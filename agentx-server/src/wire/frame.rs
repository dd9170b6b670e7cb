use std::collections::BTreeMap;

use agentx_core::Cursor;
use serde_json::Value;

use super::{Asked, Wire, parse_cursor};
use crate::{
    failure::{Code, Failure},
    service::{Method, Object},
};

/// How many requests one batch has at most.
const BATCH: usize = 256;

/// How many values one frame or body has at most. Each takes up to some hundred bytes of memory, and as little as two of
/// what is sent.
const VALUES: usize = 1 << 16;

/// One thing that a client says.
#[derive(Debug)]
pub(crate) enum Frame {
    /// It wants something done.
    Request(Request),
    /// It speaks about the connection, in this form of the protocol; `asked` where it wants an answer all the same.
    Control { control: Control, wire: Wire, asked: Option<Asked> },
    /// What it said makes no sense, and this is the answer.
    Bad(Asked, Failure),
}

/// Something that a client wants done.
#[derive(Debug)]
pub(crate) struct Request {
    /// What the answer names; none where no answer is wanted.
    pub(crate) asked: Option<Asked>,
    pub(crate) method: Method,
    pub(crate) params: Object,
}

/// What a client says about its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// It listens to a session, from behind this place on, or from now on.
    Subscribe { topic: String, after: Option<Cursor> },
    /// It does so no longer.
    Unsubscribe { topic: String },
    /// It has what it was sent.
    Acknowledged,
    /// Who it is: what would have been headers.
    Auth { headers: BTreeMap<String, String> },
}

/// What one text frame says. `wire` is what the connection spoke before: it chooses the form of an answer to noise.
pub(crate) fn frames(text: &str, wire: Wire) -> Vec<Frame> {
    if let Err(failure) = check_values(text.as_bytes()) {
        return vec![Frame::Bad(Asked::nothing(wire), failure)];
    }
    match serde_json::from_str(text) {
        Ok(Value::Array(batch)) if batch.is_empty() || batch.len() > BATCH => {
            let message = format!("a batch has 1 to {BATCH} requests");
            vec![Frame::Bad(Asked::nothing(Wire::Rpc), Failure::new(Code::InvalidRequest, message))]
        }
        Ok(Value::Array(batch)) => batch.into_iter().map(|value| of_value(value, Wire::Rpc)).collect(),
        Ok(value) => vec![of_value(value, wire)],
        Err(error) => {
            let message = format!("Parse error: {error}");
            vec![Frame::Bad(Asked::nothing(wire), Failure::new(Code::Parse, message))]
        }
    }
}

/// Refuses JSON of too many values before any of them takes memory.
pub(crate) fn check_values(json: &[u8]) -> Result<(), Failure> {
    let (mut values, mut in_string, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    if values <= VALUES {
        return Ok(());
    }
    Err(Failure::new(Code::TooLarge, format!("no more than {VALUES} values are taken at once")))
}

fn of_value(value: Value, wire: Wire) -> Frame {
    match value {
        Value::Object(object) if object.contains_key("jsonrpc") => of_rpc(object),
        Value::Object(object) => of_event(object),
        _ => {
            let failure = Failure::new(Code::InvalidRequest, "Invalid request: a frame is an object");
            Frame::Bad(Asked::nothing(wire), failure)
        }
    }
}

/// A frame of the later generations.
fn of_rpc(mut object: Object) -> Frame {
    let id = object.remove("id");
    let is_id = matches!(&id, None | Some(Value::Null | Value::String(_) | Value::Number(_)));
    let asked = Asked::Rpc(id.clone().filter(|_| is_id).unwrap_or(Value::Null));
    let bad = |asked, code, message: String| Frame::Bad(asked, Failure::new(code, message));
    if !is_id || object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let message = "Invalid request: it is not JSON-RPC 2.0".to_owned();
        return bad(asked, Code::InvalidRequest, message);
    }
    let Some(Value::String(name)) = object.remove("method") else {
        return bad(asked, Code::InvalidRequest, "Invalid request: it has no method".to_owned());
    };
    let params = match object.remove("params") {
        // Clients write null for none.
        None | Some(Value::Null) => Object::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return bad(asked, Code::InvalidParams, "Invalid params: not an object".to_owned()),
    };
    let text = |key: &str| params.get(key).and_then(Value::as_str).map(str::to_owned);
    let control = match name.as_str() {
        "subscribe" => match text("topic").map(|topic| subscribe(topic, &params)).transpose() {
            Ok(control) => control,
            Err(failure) => return Frame::Bad(asked, failure),
        },
        "unsubscribe" => text("topic").map(|topic| Control::Unsubscribe { topic }),
        "control.ack" => Some(Control::Acknowledged),
        "auth" => Some(Control::Auth { headers: headers(&params) }),
        _ => {
            return match Method::of_name(&name) {
                Some(method) => Frame::Request(Request { asked: id.map(Asked::Rpc), method, params }),
                None => bad(asked, Code::MethodNotFound, format!("Method not found: {}", short(&name))),
            };
        }
    };
    match control {
        Some(control) => Frame::Control { control, wire: Wire::Rpc, asked: id.map(Asked::Rpc) },
        None => bad(asked, Code::InvalidParams, "Invalid params: no topic".to_owned()),
    }
}

/// A frame of the first generation.
fn of_event(mut object: Object) -> Frame {
    let told = |control| Frame::Control { control, wire: Wire::Event, asked: None };
    if object.contains_key("__ack") {
        return told(Control::Acknowledged);
    }
    let event_type = object.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match event_type.as_str() {
        "subscribe" => {
            if let Some(topic) = object.get("sessionId").and_then(Value::as_str) {
                return match subscribe(topic.to_owned(), &object) {
                    Ok(control) => told(control),
                    Err(failure) => Frame::Bad(Asked::nothing(Wire::Event), failure),
                };
            }
        }
        "auth" => return told(Control::Auth { headers: headers(&object) }),
        _ => {}
    }
    let mut params = match object.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Object::new(),
    };
    let request_id = params.remove("requestId").unwrap_or(Value::Null);
    let asked = Asked::Event { request: event_type.clone(), request_id };
    match Method::of_request(&event_type) {
        Some(method) => Frame::Request(Request { asked: Some(asked), method, params }),
        None => {
            let message = format!("Unknown request: {}", short(&event_type));
            Frame::Bad(asked, Failure::new(Code::MethodNotFound, message))
        }
    }
}

/// A place that can't be read is refused: from now on instead would be a gap that nobody is told of.
fn subscribe(topic: String, params: &Object) -> Result<Control, Failure> {
    let after = match params.get("afterCursor") {
        None | Some(Value::Null) => None,
        Some(place) => {
            let place = place.as_str().and_then(parse_cursor);
            Some(place.ok_or_else(|| Failure::params("afterCursor is no cursor of this server"))?)
        }
    };
    Ok(Control::Subscribe { topic, after })
}

fn headers(params: &Object) -> BTreeMap<String, String> {
    let headers = params.get("headers").and_then(Value::as_object);
    let pairs = headers.into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned()))).collect()
}

/// What is repeated of a client's words, in characters.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(frame: &Value) -> Frame {
        let mut all = frames(&frame.to_string(), Wire::Rpc);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn code(frame: &Value) -> (i64, Value) {
        match one(frame) {
            Frame::Bad(Asked::Rpc(id), failure) => (failure.code.rpc(), id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_generations_are_told_apart_frame_by_frame() {
        let rpc =
            json!({"jsonrpc": "2.0", "id": 1, "method": "runtime.image.get", "params": {"imageId": "i"}});
        let Frame::Request(request) = one(&rpc) else { panic!() };
        assert_eq!((request.method, request.asked), (Method::ImageGet, Some(Asked::Rpc(json!(1)))));
        let event = json!({"type": "image_get_request", "data": {"imageId": "i", "requestId": "req_1"}});
        let Frame::Request(request) = one(&event) else { panic!() };
        let asked = Asked::Event { request: "image_get_request".to_owned(), request_id: json!("req_1") };
        assert_eq!((request.method, request.asked), (Method::ImageGet, Some(asked)));
        assert_eq!(Value::Object(request.params), json!({"imageId": "i"}));
    }

    #[test]
    fn what_makes_no_sense_has_an_answer() {
        assert_eq!(code(&json!({"jsonrpc": "2.0", "id": 9})), (-32600, json!(9)));
        assert_eq!(code(&json!({"jsonrpc": "1.0", "id": 9, "method": "image.get"})), (-32600, json!(9)));
        assert_eq!(code(&json!({"jsonrpc": "2.0", "id": {}, "method": "image.get"})), (-32600, Value::Null));
        assert_eq!(code(&json!({"jsonrpc": "2.0", "id": "a", "method": "image.no"})), (-32601, json!("a")));
        assert_eq!(
            code(&json!({"jsonrpc": "2.0", "id": 1, "method": "image.get", "params": [1]})),
            (-32602, json!(1))
        );
        assert_eq!(code(&json!({"jsonrpc": "2.0", "id": 1, "method": "subscribe"})), (-32602, json!(1)));
        for place in [json!("yesterday"), json!(4), json!("4.x"), json!("-1")] {
            let params = json!({"topic": "s", "afterCursor": place});
            let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params});
            assert_eq!(code(&subscribe), (-32602, json!(1)), "{place}");
            let first = one(&json!({"type": "subscribe", "sessionId": "s", "afterCursor": place}));
            assert!(matches!(first, Frame::Bad(Asked::Event { .. }, _)), "{place}");
        }
        assert_eq!(code(&json!(7)), (-32600, Value::Null));
        for text in ["", "{", "\u{0}", &"[".repeat(50_000)] {
            let Some(Frame::Bad(_, failure)) = frames(text, Wire::Rpc).pop() else { panic!("{text}") };
            assert_eq!(failure.code, Code::Parse);
        }
        for frame in [json!({"type": 5}), json!({"type": "text_delta", "data": {}}), json!({})] {
            let Frame::Bad(Asked::Event { .. }, failure) = one(&frame) else { panic!("{frame}") };
            assert_eq!(failure.code, Code::MethodNotFound);
        }
    }

    /// A few bytes each, which would take a hundred times that in memory.
    #[test]
    fn a_frame_has_a_bounded_number_of_values() {
        let refused = |text: &str| {
            matches!(frames(text, Wire::Rpc).as_slice(),
                [Frame::Bad(_, failure)] if failure.code == Code::TooLarge)
        };
        assert!(refused(&format!("[{}0]", r#"{"":0},"#.repeat(VALUES / 2))));
        // What is in a string is one value.
        let text = r#"\"[{,"#.repeat(VALUES);
        assert!(!refused(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"image.get","params":{{"a":"{text}"}}}}"#
        )));
    }

    #[test]
    fn null_parameters_are_none() {
        let frame = json!({"jsonrpc": "2.0", "id": 1, "method": "container.list", "params": null});
        assert!(matches!(one(&frame), Frame::Request(request) if request.params.is_empty()));
    }

    #[test]
    fn a_batch_is_its_requests_and_has_a_bound() {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "container.list"});
        assert_eq!(frames(&json!([list, list, 7]).to_string(), Wire::Rpc).len(), 3);
        for batch in [json!([]), json!(vec![list; BATCH + 1])] {
            assert!(matches!(frames(&batch.to_string(), Wire::Rpc).as_slice(), [Frame::Bad(..)]));
        }
    }

    #[test]
    fn controls_are_understood_in_both_forms() {
        let subscribe = Control::Subscribe { topic: "s".to_owned(), after: parse_cursor("4.1") };
        let forms = [
            json!({"type": "subscribe", "sessionId": "s", "afterCursor": "4.1"}),
            json!({"jsonrpc": "2.0", "method": "subscribe", "params": {"topic": "s", "afterCursor": "4.1"}}),
        ];
        for form in forms {
            assert!(matches!(one(&form), Frame::Control { control, .. } if control == subscribe), "{form}");
        }
        let auth = Control::Auth { headers: [("authorization".to_owned(), "Bearer k".to_owned())].into() };
        let forms = [
            json!({"type": "auth", "headers": {"Authorization": "Bearer k", "n": 1}}),
            json!({"jsonrpc": "2.0", "method": "auth", "params": {"headers": {"authorization": "Bearer k"}}}),
        ];
        for form in forms {
            assert!(matches!(one(&form), Frame::Control { control, .. } if control == auth), "{form}");
        }
    }
}
