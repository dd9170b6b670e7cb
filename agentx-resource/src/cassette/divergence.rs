//! Where a replay leaves its recording.

use std::{error::Error as StdError, fmt};

use serde_json::Value;

use crate::Error;

/// How many characters of a value are shown.
const SHOWN: usize = 160;

pub(super) const OTHER_STEP: &str =
    "the program does something else here, or does its steps in another order or number";
pub(super) const OTHER_PORT: &str = "nothing of this name was recorded: it is new, or was renamed";
pub(super) const SHORTER: &str = "the program ended earlier than when it was recorded";
pub(super) const STANDS_STILL: &str =
    "the program no longer asks for this, or waits for something else first (fewer tools at a time?)";

/// Where a replay asked for something else than what was recorded: the source of an error of the kind
/// [`ErrorKind::Diverged`](crate::ErrorKind::Diverged).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// The event of the cassette that should have come, counted from 1.
    pub event: u64,
    /// Its line in the file, counted from 1.
    pub line: u64,
    /// What should have come, for people.
    pub expected: String,
    /// What came instead, for people.
    pub came: String,
    /// The first field that differs, where both are questions of one kind.
    pub difference: Option<Difference>,
    /// What has probably changed, for people.
    pub hint: &'static str,
}

impl Divergence {
    /// The divergence that an error tells of, itself or by one of its sources.
    pub fn of(error: &Error) -> Option<&Self> {
        let mut source = StdError::source(error);
        while let Some(error) = source {
            if let Some(divergence) = error.downcast_ref() {
                return Some(divergence);
            }
            source = error.source();
        }
        None
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, line, expected, came, difference, hint } = self;
        write!(f, "at event {event} (line {line}): ")?;
        match difference {
            // The rest of the question is as it was.
            Some(difference) => {
                write!(f, "{}: {difference}", expected.split(" with ").next().unwrap_or_default())?;
            }
            None => write!(f, "expected {expected}; came {came}")?,
        }
        write!(f, "; {hint}")
    }
}

impl StdError for Divergence {}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Where it is: `messages[2].content[0].text`.
    pub field: String,
    /// What was recorded, cut to what differs; `nothing` where it was not there.
    pub expected: String,
    /// What came.
    pub came: String,
}

impl Difference {
    /// The first difference of two values.
    pub(super) fn between(expected: &Value, came: &Value) -> Option<Self> {
        find(&mut String::new(), expected, came)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {} and is {}", self.field, self.expected, self.came)
    }
}

fn find(path: &mut String, expected: &Value, came: &Value) -> Option<Difference> {
    let length = path.len();
    let mut inner = |step: &str, expected: Option<&Value>, came: Option<&Value>| {
        path.push_str(step);
        let found = match (expected, came) {
            (Some(expected), Some(came)) => find(path, expected, came),
            (expected, came) => {
                let text = |value: Option<&Value>| {
                    value.map_or("nothing".to_owned(), |value| shown(&value.to_string()))
                };
                Some(Difference {
                    field: path.trim_start_matches('.').to_owned(),
                    expected: text(expected),
                    came: text(came),
                })
            }
        };
        path.truncate(length);
        found
    };
    match (expected, came) {
        _ if expected == came => None,
        (Value::Object(expected), Value::Object(came)) => {
            let new = came.keys().filter(|key| !expected.contains_key(*key));
            expected
                .keys()
                .chain(new)
                .find_map(|key| inner(&format!(".{key}"), expected.get(key), came.get(key)))
        }
        (Value::Array(expected), Value::Array(came)) => (0..expected.len().max(came.len()))
            .find_map(|index| inner(&format!("[{index}]"), expected.get(index), came.get(index))),
        (Value::String(expected), Value::String(came)) => {
            let same = expected.char_indices().zip(came.chars()).find(|((_, a), b)| a != b);
            let at = same.map_or(expected.len().min(came.len()), |((at, _), _)| at);
            // Some characters of what is the same lead to what is not.
            let from =
                expected.get(..at).and_then(|head| head.char_indices().rev().nth(20)).map_or(0, |(at, _)| at);
            let part = |text: &str| {
                let lead = if from > 0 { "…" } else { "" };
                format!("{:?}", format!("{lead}{}", shown(text.get(from..).unwrap_or_default())))
            };
            Some(Difference {
                field: path.trim_start_matches('.').to_owned(),
                expected: part(expected),
                came: part(came),
            })
        }
        _ => Some(Difference {
            field: path.trim_start_matches('.').to_owned(),
            expected: shown(&expected.to_string()),
            came: shown(&came.to_string()),
        }),
    }
}

/// A call, for people.
pub(super) fn shown_call(operation: &str, on: &str, request: &Value) -> String {
    format!("{operation} of {on:?} with {}", shown(&request.to_string()))
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What has probably changed where a question of this kind differs in this field.
pub(super) fn hint(operation: &str, request: &Value, difference: Option<&Difference>) -> &'static str {
    let field = difference.map_or("", |difference| difference.field.as_str());
    let begins = |prefix: &str| field.starts_with(prefix);
    let role = || {
        let index: usize = field.strip_prefix("messages[")?.split(']').next()?.parse().ok()?;
        request.get("messages")?.get(index)?.get("role")?.as_str()
    };
    match operation {
        "model.call" if begins("system") => "the system prompt changed",
        "model.call" if begins("tools") => "the tools that the model is told of changed",
        "model.call" if begins("settings") => "the settings of the model changed",
        "model.call" => match role() {
            Some("user") => "what the user says changed",
            Some("tool") => "a tool answers otherwise, or tools end in another order",
            _ => "the conversation goes another way",
        },
        "process.spawn" if begins("script") || begins("program") || begins("args") => {
            "another command is run"
        }
        "process.spawn" => "the command runs in another way",
        _ if begins("path") || begins("from") || begins("to") => "another file is meant",
        _ if begins("data") => "something else is written",
        _ => "the question is another one",
    }
}
