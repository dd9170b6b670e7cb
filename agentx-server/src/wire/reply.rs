use serde_json::{Value, json};

use super::with_instance_ids;
use crate::{
    failure::Failure,
    service::{Answer, Object},
};

/// Which form of the protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Events, as the first generation has it.
    Event,
    /// JSON-RPC 2.0.
    Rpc,
}

/// What an answer has to name, so that its asker knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// The id of a request of JSON-RPC.
    Rpc(Value),
    /// The type and the id of a request of the first generation.
    Event { request: String, request_id: Value },
}

impl Asked {
    /// Whatever was said named nothing.
    pub(crate) fn nothing(wire: Wire) -> Self {
        match wire {
            Wire::Rpc => Self::Rpc(Value::Null),
            Wire::Event => Self::Event { request: String::new(), request_id: Value::Null },
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        match self {
            Self::Rpc(_) => Wire::Rpc,
            Self::Event { .. } => Wire::Event,
        }
    }
}

/// The answer to a request that was done, at `now` in milliseconds since 1970.
pub(crate) fn reply(asked: &Asked, answer: Answer, now: u64) -> String {
    let Answer { mut result, sessions, .. } = answer;
    with_instance_ids(&mut result);
    if !sessions.is_empty() {
        result.insert("__subscriptions".to_owned(), json!(sessions));
    }
    match asked {
        Asked::Rpc(id) => json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string(),
        Asked::Event { request, request_id } => {
            let response = format!("{}_response", request.strip_suffix("_request").unwrap_or(request));
            response_event(&response, request_id, flat(request, result), now)
        }
    }
}

/// The answer to a request that was not done.
pub(crate) fn failure(asked: &Asked, failure: &Failure, now: u64) -> String {
    match asked {
        Asked::Rpc(id) => {
            let error = json!({
                "code": failure.code.rpc(), "message": failure.message, "data": {"kind": failure.code.name()},
            });
            json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string()
        }
        Asked::Event { request, request_id } => match request.strip_suffix("_request") {
            Some(name) => {
                let data = [("error".to_owned(), json!(failure.message))].into_iter().collect();
                response_event(&format!("{name}_response"), request_id, data, now)
            }
            // It was no request: what it gets is no response.
            None => json!({
                "type": "system_error", "timestamp": now,
                "source": "command", "category": "error", "intent": "notification",
                "data": {"message": failure.message, "requestId": request_id, "severity": "error"},
            })
            .to_string(),
        },
    }
}

/// A frame in the wrapper of the first generation, whose clients confirm `id`.
pub(crate) fn acknowledged(id: &str, payload: &str) -> String {
    json!({"__msgId": id, "__payload": payload}).to_string()
}

fn response_event(name: &str, request_id: &Value, mut data: Object, now: u64) -> String {
    data.insert("requestId".to_owned(), request_id.clone());
    json!({
        "type": name, "timestamp": now,
        "source": "command", "category": "response", "intent": "result",
        "data": data,
    })
    .to_string()
}

/// A result as the first generation has it: an agent's members stand beside `exists`, and what is not there is left out.
fn flat(request: &str, mut result: Object) -> Object {
    if request == "agent_get_request"
        && let Some(Value::Object(agent)) = result.remove("agent")
    {
        result.extend(agent);
    }
    result.retain(|_, value| !value.is_null());
    if request == "container_get_request" && result.get("exists") == Some(&Value::Bool(false)) {
        result.remove("containerId");
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn asked(request: &str) -> Asked {
        Asked::Event { request: request.to_owned(), request_id: json!("req_1") }
    }

    fn answer(result: Value) -> Answer {
        let Value::Object(result) = result else { panic!("{result}") };
        Answer { result, ..Answer::default() }
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_answer_has_the_form_of_its_request() {
        let result = || answer(json!({"agentId": "a", "success": true}));
        let rpc = json!({"jsonrpc": "2.0", "id": 4,
            "result": {"agentId": "a", "instanceId": "a", "success": true}});
        assert_eq!(read(&reply(&Asked::Rpc(json!(4)), result(), 9)), rpc);
        let event = json!({"type": "agent_destroy_response", "timestamp": 9, "source": "command",
            "category": "response", "intent": "result",
            "data": {"requestId": "req_1", "agentId": "a", "instanceId": "a", "success": true}});
        assert_eq!(read(&reply(&asked("agent_destroy_request"), result(), 9)), event);
    }

    #[test]
    fn the_first_generation_has_an_agent_beside_its_existence() {
        let found = answer(json!({"agent": {"agentId": "a", "containerId": "c"}, "exists": true}));
        let data = read(&reply(&asked("agent_get_request"), found, 0))["data"].clone();
        let expected = json!({"requestId": "req_1", "agentId": "a", "instanceId": "a", "containerId": "c", "exists": true});
        assert_eq!(data, expected);
        let missing = answer(json!({"agent": null, "exists": false}));
        let data = read(&reply(&asked("agent_get_request"), missing, 0))["data"].clone();
        assert_eq!(data, json!({"requestId": "req_1", "exists": false}));
        let missing = answer(json!({"containerId": "c", "exists": false}));
        let data = read(&reply(&asked("container_get_request"), missing, 0))["data"].clone();
        assert_eq!(data, json!({"requestId": "req_1", "exists": false}));
    }

    #[test]
    fn a_failure_is_told_where_its_asker_looks() {
        let missing = Failure::not_found("Image", "x");
        let rpc = read(&failure(&Asked::Rpc(json!("a")), &missing, 0));
        let error = json!({"code": 404, "message": "Image not found: x", "data": {"kind": "not_found"}});
        assert_eq!(rpc, json!({"jsonrpc": "2.0", "id": "a", "error": error}));
        let event = read(&failure(&asked("image_get_request"), &missing, 0));
        assert_eq!(event["type"], "image_get_response");
        assert_eq!(event["data"], json!({"requestId": "req_1", "error": "Image not found: x"}));
        let noise = read(&failure(&asked("x"), &Failure::new(Code::MethodNotFound, "no"), 0));
        assert_eq!((&noise["type"], &noise["data"]["message"]), (&json!("system_error"), &json!("no")));
    }

    #[test]
    fn a_frame_is_carried_as_it_is() {
        let event = r#"{"type":"text_delta","data":{"text":"\"x\""}}"#;
        assert_eq!(read(&acknowledged("c_1", event))["__payload"], event);
    }
}
