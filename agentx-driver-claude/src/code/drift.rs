use std::collections::BTreeSet;

use serde_json::Value;

/// What this version of the driver has seen of the CLI: one name in each line, sorted.
const KNOWN: &str = include_str!("known.txt");

/// Finds what a CLI says that this version of the driver has not seen: kinds of frames, fields and capabilities.
///
/// The protocol changes with almost each version of the CLI. The driver carries through what it does not know; this shows
/// what that is, for whoever is to decide whether it matters.
///
/// ```
/// use agentx_driver_claude::code::Drift;
///
/// let mut drift = Drift::default();
/// drift.push(br#"{"type":"result","is_error":false,"mood":"good"}"#);
/// drift.push(br#"{"type":"hologram"}"#);
/// assert_eq!(drift.unknown().collect::<Vec<_>>(), ["hologram", "hologram.type", "result.mood"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    seen: BTreeSet<String>,
}

impl Drift {
    /// Takes a line that the CLI wrote. What is no frame is not looked at.
    pub fn push(&mut self, line: &[u8]) {
        let Ok(frame) = serde_json::from_slice::<Value>(line) else { return };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(kind) = text(&frame, "type") else { return };
        match kind.as_str() {
            "control_request" => {
                let request = frame.get("request").unwrap_or(&Value::Null);
                let subtype = text(request, "subtype").unwrap_or_default();
                self.object(&format!("{kind}/{subtype}"), request);
            }
            "control_response" => {
                let response = frame.get("response").unwrap_or(&Value::Null);
                self.object(&kind, response);
                let answer = response.get("response").unwrap_or(&Value::Null);
                // Of all answers, the one to `initialize` tells what the CLI is.
                if answer.get("pid").is_some() {
                    self.object("initialize", answer);
                    self.capabilities(answer);
                }
            }
            "stream_event" => {
                self.object(&kind, &frame);
                let event = frame.get("event").unwrap_or(&Value::Null);
                let name = text(event, "type").unwrap_or_default();
                self.object(&format!("{kind}/{name}"), event);
            }
            _ => {
                let subtype = text(&frame, "subtype").filter(|_| kind == "system");
                let name = subtype.map_or_else(|| kind.clone(), |subtype| format!("{kind}/{subtype}"));
                self.object(&name, &frame);
                self.capabilities(&frame);
            }
        }
    }

    /// All that was seen, in the form of the list of what is known.
    pub fn seen(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().map(String::as_str)
    }

    /// What was seen and is not known, sorted: `frame`, `frame.field` or `capability:name`.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let known: BTreeSet<&str> = KNOWN.lines().collect();
        self.seen().filter(move |name| !known.contains(name))
    }

    fn object(&mut self, name: &str, object: &Value) {
        self.seen.insert(name.to_owned());
        for field in object.as_object().into_iter().flat_map(serde_json::Map::keys) {
            self.seen.insert(format!("{name}.{field}"));
        }
    }

    fn capabilities(&mut self, frame: &Value) {
        let capabilities = frame.get("capabilities").and_then(Value::as_array);
        for capability in capabilities.into_iter().flatten().filter_map(Value::as_str) {
            self.seen.insert(format!("capability:{capability}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_frame_is_looked_into() {
        let mut drift = Drift::default();
        for line in [
            r#"{"type":"system","subtype":"x1","a":1,"capabilities":["y1"]}"#,
            r#"{"type":"control_request","request_id":"1","request":{"subtype":"x2","b":1}}"#,
            r#"{"type":"stream_event","event":{"type":"x3","c":1},"d1":2}"#,
            r#"{"type":"control_response","response":{"subtype":"success","response":{"pid":1,"e1":2,"capabilities":["y2"]}}}"#,
            "[not a frame]",
        ] {
            drift.push(line.as_bytes());
        }
        let unknown: Vec<_> = drift.unknown().collect();
        for name in [
            "capability:y1",
            "capability:y2",
            "control_request/x2.b",
            "initialize.e1",
            "stream_event.d1",
            "stream_event/x3.c",
            "system/x1",
        ] {
            assert!(unknown.contains(&name), "{name} in {unknown:?}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_has_nothing_twice() {
        let lines: Vec<_> = KNOWN.lines().collect();
        assert!(lines.is_sorted_by(|a, b| a < b));
    }
}
