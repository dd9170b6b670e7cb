use std::{borrow::Cow, fmt, fmt::Write as _, sync::Arc};

use agentx_resource::Secret;
use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Shorter values would match ordinary words.
const SHORTEST: usize = 8;
const REDACTED: &[u8] = b"[redacted]";

/// Finds known secret values, as they are and in the encodings in which they usually travel.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Option<Arc<Needles>>);

struct Needles {
    automaton: AhoCorasick,
    longest: usize,
}

impl Redactor {
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut needles: Vec<String> =
            secrets.into_iter().flat_map(|secret| forms(secret.expose())).collect();
        needles.retain(|needle| needle.len() >= SHORTEST);
        let longest = needles.iter().map(String::len).max().unwrap_or(0);
        if longest == 0 {
            return Self(None);
        }
        let automaton = AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&needles);
        // It fails only for needles of gigabytes, which no output of a tool can contain.
        Self(automaton.ok().map(|automaton| Arc::new(Needles { automaton, longest })))
    }

    pub(crate) fn bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match &self.0 {
            Some(needles) if needles.automaton.is_match(bytes) => {
                let mut stream = self.stream();
                let mut clean = stream.push(bytes);
                clean.extend(stream.finish());
                clean.into()
            }
            _ => bytes.into(),
        }
    }

    pub(crate) fn text(&self, text: String) -> String {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            // Needles are whole characters, so what remains is text.
            Cow::Owned(clean) => String::from_utf8_lossy(&clean).into_owned(),
        }
    }

    /// For text that comes in pieces, in which a value may be split.
    pub(crate) fn stream(&self) -> RedactStream {
        RedactStream { needles: self.0.clone(), held: Vec::new() }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({})", if self.0.is_some() { "secrets" } else { "nothing" })
    }
}

/// Text on its way. What may be the beginning of a secret value is held back until more is known; that is never more
/// than the longest value.
pub(crate) struct RedactStream {
    needles: Option<Arc<Needles>>,
    held: Vec<u8>,
}

impl RedactStream {
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(needles) = self.needles.clone() else { return piece.to_vec() };
        self.held.extend_from_slice(piece);
        // A value that begins before here lies in what is held, with its last byte.
        let decided = self.held.len().saturating_sub(needles.longest - 1);
        self.take(&needles, decided)
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        match self.needles.take() {
            Some(needles) => self.take(&needles, self.held.len()),
            None => Vec::new(),
        }
    }

    fn take(&mut self, needles: &Needles, decided: usize) -> Vec<u8> {
        let mut clean = Vec::with_capacity(decided);
        let mut done = 0;
        for found in needles.automaton.find_iter(&self.held) {
            if found.start() >= decided {
                break;
            }
            clean.extend_from_slice(self.held.get(done..found.start()).unwrap_or_default());
            clean.extend_from_slice(REDACTED);
            // Lines keep their numbers.
            let value = self.held.get(found.range()).unwrap_or_default();
            clean.extend(value.iter().filter(|byte| **byte == b'\n'));
            done = found.end();
        }
        if done < decided {
            clean.extend_from_slice(self.held.get(done..decided).unwrap_or_default());
            done = decided;
        }
        self.held.drain(..done);
        clean
    }
}

/// A value and its usual encodings. In base64, a value that begins in the middle of a longer text has three forms,
/// whose first and last character may depend on its neighbours.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned(), percent_encoded(value)];
    if let Ok(json) = serde_json::to_string(value) {
        forms.push(json.trim_start_matches('"').strip_suffix('"').unwrap_or(&json).to_owned());
    }
    for (before, unknown) in [(0, 0), (1, 2), (2, 3)] {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let known = bytes.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.extend(encoded.get(unknown..known).map(str::to_owned));
        }
    }
    forms.retain(|form| value.len() >= SHORTEST && !form.is_empty());
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-\"key\"/with+signs";

    fn redactor() -> Redactor {
        Redactor::new([Secret::new(KEY), Secret::new("two\nlines-of-it"), Secret::new("short")])
    }

    #[test]
    fn a_value_is_found_wherever_it_is_split() {
        let text = format!("a {KEY}{KEY} b sk-\"ke two\nlines-of-it c");
        let expected = "a [redacted][redacted] b sk-\"ke [redacted]\n c";
        for size in 1..text.len() {
            let mut stream = redactor().stream();
            let mut clean = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                clean.extend(stream.push(piece));
            }
            clean.extend(stream.finish());
            assert_eq!(String::from_utf8(clean).unwrap(), expected, "pieces of {size}");
        }
        assert_eq!(redactor().text(text), expected);
    }

    #[test]
    fn encoded_values_are_found() {
        let json = serde_json::json!({ "key": KEY }).to_string();
        assert_eq!(redactor().text(json), r#"{"key":"[redacted]"}"#);
        assert_eq!(redactor().text(format!("?k={}&x=1", percent_encoded(KEY))), "?k=[redacted]&x=1");
        for prefix in ["", "u", "us", "use", "user:"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{prefix}{KEY}\n"));
            let clean = redactor().text(encoded.clone());
            assert!(clean.contains("[redacted]"), "{prefix}: {encoded} -> {clean}");
            assert!(clean.len() < prefix.len() * 2 + 22, "{clean}");
        }
    }

    #[test]
    fn ordinary_text_and_short_values_stay() {
        for text in ["", "short", "sk-\"key\"", "ünïcode"] {
            assert_eq!(redactor().text(text.to_owned()), text);
        }
        assert!(matches!(redactor().bytes(b"plain"), Cow::Borrowed(_)));
    }
}
