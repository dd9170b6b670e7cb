//! Secrets, out of what is written.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::Secret;

/// What stands in place of a secret.
pub(super) const REDACTED: &[u8] = b"[redacted]";
/// Shorter values match ordinary words.
const SHORTEST: usize = 8;

/// Known secrets, in each form that a line may hold them in.
pub(super) struct Redactor {
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl Redactor {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.iter().map(Secret::expose).filter(|secret| secret.len() >= SHORTEST) {
            let json = Value::from(secret).to_string();
            let json = json.get(1..json.len() - 1).unwrap_or_default();
            // An encoder may have begun one or two bytes before it: what all three have in common is left out.
            forms.push(Zeroizing::new(secret.as_bytes().to_vec()));
            forms.push(Zeroizing::new(json.as_bytes().to_vec()));
            for lead in 0..3 {
                let bytes = Zeroizing::new([&vec![0; lead], secret.as_bytes()].concat());
                let encoded = Zeroizing::new(STANDARD.encode(&*bytes));
                let from = [0, 2, 3].get(lead).copied().unwrap_or(0);
                let to = bytes.len() * 8 / 6;
                forms.push(Zeroizing::new(encoded.as_bytes().get(from..to).unwrap_or_default().to_vec()));
            }
        }
        forms.retain(|form| form.len() >= SHORTEST);
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Replaces each secret in each text of `value`.
    pub(super) fn redact(&self, value: &mut Value) {
        if !self.is_empty() {
            each_text(value, &mut |bytes| self.replaced(bytes));
        }
    }

    pub(super) fn redact_text(&self, text: &mut String) {
        if let Some(bytes) = self.replaced(text.as_bytes()) {
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }

    fn replaced(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut at, mut out, mut found) = (0, Vec::new(), false);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.forms.iter().find(|form| rest.starts_with(form)) {
                Some(form) => {
                    found = true;
                    out.extend_from_slice(REDACTED);
                    at += form.len();
                }
                None => {
                    out.extend(rest.first());
                    at += 1;
                }
            }
        }
        found.then_some(out)
    }

    /// How many bytes at the end of `bytes` may be the beginning of a secret.
    pub(super) fn open_end(&self, bytes: &[u8]) -> usize {
        let longest = |form: &Zeroizing<Vec<u8>>| {
            let most = bytes.len().min(form.len() - 1);
            (1..=most)
                .rev()
                .find(|length| bytes.ends_with(form.get(..*length).unwrap_or_default()))
                .unwrap_or(0)
        };
        self.forms.iter().map(longest).max().unwrap_or(0)
    }

    /// Where the first secret in `bytes` begins and ends.
    pub(super) fn first_in(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        (0..bytes.len()).find_map(|at| {
            let rest = bytes.get(at..)?;
            let form = self.forms.iter().find(|form| rest.starts_with(form))?;
            Some((at, at + form.len()))
        })
    }
}

/// Calls `change` with each text of `value`, and puts what it gives in its place. Bytes in base64 are a text of theirs.
pub(super) fn each_text(value: &mut Value, change: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>) {
    match value {
        Value::String(text) => {
            if let Some(bytes) = change(text.as_bytes()) {
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => {
            let encoded = fields.get("base64").and_then(Value::as_str).filter(|_| fields.len() == 1);
            match encoded.and_then(|text| STANDARD.decode(text).ok()) {
                Some(bytes) => {
                    if let Some(changed) = change(&bytes) {
                        *value = super::codec::bytes_to_record(&changed);
                    }
                }
                None => fields.values_mut().for_each(|field| each_text(field, change)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_is_replaced() {
        let redactor = Redactor::new(&[Secret::new("pass\"word-1")]);
        for lead in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{lead}pass\"word-1, and more"));
            let mut value = json!({
                "plain": "it is pass\"word-1!",
                "json": r#"{"key":"pass\"word-1"}"#,
                "encoded": encoded,
                "bytes": {"base64": STANDARD.encode([b"\xff".as_slice(), b"pass\"word-1"].concat())},
            });
            redactor.redact(&mut value);
            let text = value.to_string();
            assert_eq!(value["plain"], "it is [redacted]!");
            assert_eq!(value["json"], r#"{"key":"[redacted]"}"#);
            assert!(!text.contains("word-1") && !text.contains(&encoded), "{text}");
            let bytes = STANDARD.decode(value["bytes"]["base64"].as_str().unwrap()).unwrap();
            assert_eq!(bytes, [b"\xff".as_slice(), REDACTED].concat());
        }
    }
}
