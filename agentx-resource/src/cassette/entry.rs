//! The lines of a cassette.

use serde_json::{Map, Value, json};

use crate::{Error, ErrorKind, Result};

/// The version of the format. A later one is refused.
const VERSION: u64 = 1;
/// How many lines stand before the first entry.
pub(super) const HEADER_LINES: usize = 1;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// What is constant over a port's life. It stands outside of the order.
    Constant { operation: String, on: String, value: Value },
    /// What was there at once.
    Value { operation: String, value: Value },
    /// Something was asked.
    Call { call: u64, operation: String, on: String, request: Value },
    /// It was answered.
    Answer { call: u64, answer: Answer },
    /// A wait of so many nanoseconds was over, the so many-th of this length that began.
    Sleep { nanos: u64, nth: u64 },
    /// A place in the order.
    Mark { name: String },
}

/// One answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Value(Value),
    Error(Value),
    /// There are no more.
    Over,
}

/// The first line.
pub(super) fn header() -> String {
    format!("{}\n", json!({"cassette": VERSION}))
}

/// The last line, behind so many entries.
pub(super) fn end(count: u64) -> String {
    format!("{{\"n\":{},\"end\":true}}\n", count + 1)
}

impl Entry {
    /// The line of the `n`-th entry. The number comes first, and what is long last.
    pub(super) fn line(&self, n: u64) -> String {
        let text = |text: &str| Value::from(text).to_string();
        match self {
            Self::Constant { operation, on, value } => {
                format!("{{\"n\":{n},\"is\":{},\"on\":{},\"ok\":{value}}}\n", text(operation), text(on))
            }
            Self::Value { operation, value } => {
                format!("{{\"n\":{n},\"op\":{},\"ok\":{value}}}\n", text(operation))
            }
            Self::Call { call, operation, on, request } => format!(
                "{{\"n\":{n},\"call\":{call},\"op\":{},\"on\":{},\"request\":{request}}}\n",
                text(operation),
                text(on)
            ),
            Self::Answer { call, answer: Answer::Value(value) } => {
                format!("{{\"n\":{n},\"of\":{call},\"ok\":{value}}}\n")
            }
            Self::Answer { call, answer: Answer::Error(error) } => {
                format!("{{\"n\":{n},\"of\":{call},\"error\":{error}}}\n")
            }
            Self::Answer { call, answer: Answer::Over } => {
                format!("{{\"n\":{n},\"of\":{call},\"over\":true}}\n")
            }
            Self::Sleep { nanos, nth } => {
                format!("{{\"n\":{n},\"op\":\"clock.sleep\",\"nanos\":{nanos},\"nth\":{nth}}}\n")
            }
            Self::Mark { name } => format!("{{\"n\":{n},\"mark\":{}}}\n", text(name)),
        }
    }

    fn read(mut line: Map<String, Value>) -> Option<Self> {
        let mut take = |key: &str| line.remove(key);
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        if let Some(name) = take("mark") {
            return Some(Self::Mark { name: text(name)? });
        }
        if let Some(operation) = take("is") {
            return Some(Self::Constant {
                operation: text(operation)?,
                on: text(take("on")?)?,
                value: take("ok")?,
            });
        }
        if let Some(call) = take("call") {
            let (operation, on) = (text(take("op")?)?, text(take("on")?)?);
            return Some(Self::Call { call: call.as_u64()?, operation, on, request: take("request")? });
        }
        if let Some(call) = take("of") {
            let answer = match (take("ok"), take("error"), take("over")) {
                (Some(value), None, None) => Answer::Value(value),
                (None, Some(error), None) => Answer::Error(error),
                (None, None, Some(Value::Bool(true))) => Answer::Over,
                _ => return None,
            };
            return Some(Self::Answer { call: call.as_u64()?, answer });
        }
        let operation = text(take("op")?)?;
        match take("nanos") {
            Some(nanos) if operation == "clock.sleep" => {
                Some(Self::Sleep { nanos: nanos.as_u64()?, nth: take("nth")?.as_u64()? })
            }
            Some(_) => None,
            None => Some(Self::Value { operation, value: take("ok")? }),
        }
    }
}

/// The entries of a cassette, and whether it has its end. A last line without its line end was being written when the
/// recording was cut off, and is left out.
pub(super) fn parse(text: &str) -> Result<(Vec<Entry>, bool)> {
    let lines = text.split_inclusive('\n').enumerate().map(|(index, line)| (index + 1, line));
    let mut lines = lines.filter_map(|(number, line)| Some((number, line.strip_suffix('\n')?)));
    let Some((_, header)) = lines.next() else {
        return if text.starts_with('{') || text.is_empty() {
            Ok((Vec::new(), false))
        } else {
            Err(corrupt(1, "it is no cassette"))
        };
    };
    version(header)?;
    let mut entries = Vec::new();
    let mut calls = 0;
    for (number, line) in lines.by_ref() {
        let fields: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| corrupt(number, &error.to_string()))?;
        let n = (entries.len() + 1) as u64;
        if fields.get("n").and_then(Value::as_u64) != Some(n) {
            return Err(corrupt(number, &format!("event {n} should stand here")));
        }
        if fields.get("end") == Some(&Value::Bool(true)) {
            return match lines.next() {
                None => Ok((entries, true)),
                Some((number, _)) => Err(corrupt(number, "it stands behind the end")),
            };
        }
        let entry = Entry::read(fields).ok_or_else(|| corrupt(number, "it is no event"))?;
        match &entry {
            Entry::Call { call, .. } if *call != calls + 1 => {
                return Err(corrupt(number, &format!("call {} should stand here", calls + 1)));
            }
            Entry::Call { call, .. } => calls = *call,
            Entry::Answer { call, .. } if *call == 0 || *call > calls => {
                return Err(corrupt(number, &format!("it answers call {call}, which was never asked")));
            }
            _ => {}
        }
        entries.push(entry);
    }
    Ok((entries, false))
}

fn version(header: &str) -> Result<()> {
    let header: Value = serde_json::from_str(header).map_err(|error| corrupt(1, &error.to_string()))?;
    match header.get("cassette").and_then(Value::as_u64) {
        Some(VERSION) => Ok(()),
        Some(version) if version > VERSION => {
            Err(Error::new(ErrorKind::Unsupported, "replay").with_message(format!(
                "it was recorded by a later version: it has format {version}, and {VERSION} is known here"
            )))
        }
        _ => Err(corrupt(1, "it is no cassette")),
    }
}

/// The error of a line that can't be read.
pub(super) fn corrupt(line: usize, problem: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "replay").with_message(format!("line {line}: {problem}"))
}
