//! A transcript without what differs between any two runs.

use std::collections::HashMap;

use serde_json::Value;

/// Fields that hold a moment or a duration.
pub(crate) const TIMES: [&str; 2] = ["timestamp", "duration"];

/// The mapped transcript.
pub(crate) fn normal(transcript: &Value, names: &[(&str, &str)]) -> Value {
    let mut ids = HashMap::new();
    mapped(transcript, names, &mut ids)
}

fn mapped(value: &Value, roots: &[(&str, &str)], ids: &mut HashMap<String, usize>) -> Value {
    match value {
        Value::String(text) => Value::String(ids_mapped(&rooted(text, roots), ids)),
        Value::Array(items) => items.iter().map(|item| mapped(item, roots, ids)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let time = TIMES.contains(&name.as_str());
                (name.clone(), if time { 0.into() } else { mapped(value, roots, ids) })
            })
            .collect(),
        other => other.clone(),
    }
}

fn rooted(text: &str, roots: &[(&str, &str)]) -> String {
    roots.iter().fold(text.to_owned(), |text, (root, name)| text.replace(root, name))
}

/// Each UUID of the text by its number.
fn ids_mapped(text: &str, ids: &mut HashMap<String, usize>) -> String {
    const LENGTH: usize = 32;
    let (mut mapped, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match rest.get(..LENGTH).filter(|part| is_uuid(part)) {
            Some(id) => {
                let next = ids.len();
                let number = *ids.entry(id.to_owned()).or_insert(next);
                mapped.push_str(&format!("<id {number}>"));
                rest = &rest[LENGTH..];
            }
            None => {
                mapped.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    mapped
}

/// Of version 7, as this project writes them: without dashes.
fn is_uuid(part: &str) -> bool {
    part.char_indices().all(|(place, each)| match place {
        12 => each == '7',
        _ => each.is_ascii_digit() || ('a'..='f').contains(&each),
    })
}

#[test]
fn nothing_else_is_mapped() {
    let transcript = serde_json::json!({
        "id": "msg_01890a5dac96774bbcceb302099a8057", "timestamp": 7, "count": 7,
        "again": "01890a5dac96774bbcceb302099a8057 in /tmp/x/a", "not": "01890a5dac96774b",
    });
    let expected = serde_json::json!({
        "id": "msg_<id 0>", "timestamp": 0, "count": 7, "again": "<id 0> in /ROOT/a", "not": "01890a5dac96774b",
    });
    assert_eq!(normal(&transcript, &[("/tmp/x", "/ROOT")]), expected);
}
