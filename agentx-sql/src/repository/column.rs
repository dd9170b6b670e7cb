//! How the fields of records become columns, and back.

use std::str::FromStr;

use agentx_core::{Error, ErrorKind, Result, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{MAX_INTEGER, Row, Value, rows::corrupt};

/// The deepest nesting that `serde_json` reads. What is deeper could be stored, and its session never be read again.
const MAX_JSON_DEPTH: usize = 127;

/// A number as a column keeps it: none above [`MAX_INTEGER`].
pub(super) fn clamped(number: u64) -> i64 {
    i64::try_from(number).map_or(MAX_INTEGER, |number| number.min(MAX_INTEGER))
}

pub(super) fn from_moment(operation: &'static str, moment: Timestamp) -> Result<Value> {
    let millis = moment.as_millis();
    match i64::try_from(millis) {
        Ok(millis) if millis <= MAX_INTEGER => Ok(Value::Integer(millis)),
        _ => Err(Error::new(ErrorKind::InvalidInput, operation)
            .with_message(format!("the moment {millis} is later than 2^53 milliseconds"))),
    }
}

pub(super) fn moment(row: Row<'_>, column: &str) -> Result<Timestamp> {
    natural(row, column).map(Timestamp::from_millis)
}

pub(super) fn natural(row: Row<'_>, column: &str) -> Result<u64> {
    u64::try_from(row.integer(column)?).map_err(|_| corrupt(column, "a negative number"))
}

pub(super) fn id<T: FromStr<Err = Error>>(row: Row<'_>, column: &str) -> Result<T> {
    row.text(column)?.parse().map_err(|error| corrupt(column, "not an id").with_source(error))
}

pub(super) fn from_json(operation: &'static str, value: &impl Serialize) -> Result<String> {
    let invalid = || Error::new(ErrorKind::InvalidInput, operation);
    let json = serde_json::to_string(value).map_err(|error| invalid().with_source(error))?;
    match depth(&json) {
        0..=MAX_JSON_DEPTH => Ok(json),
        depth => {
            let problem = format!("JSON nested {depth} deep; at most {MAX_JSON_DEPTH} can be read back");
            Err(invalid().with_message(problem))
        }
    }
}

/// How deep valid JSON text is nested, or something between that and [`MAX_JSON_DEPTH`].
fn depth(json: &str) -> usize {
    // Nearly all of it opens no more than may be nested, which is seen many bytes at a time.
    let opened = json.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opened <= MAX_JSON_DEPTH {
        return opened;
    }
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

pub(super) fn json<T: DeserializeOwned>(row: Row<'_>, column: &str) -> Result<T> {
    parse(column, row.text(column)?)
}

pub(super) fn optional_json<T: DeserializeOwned>(row: Row<'_>, column: &str) -> Result<Option<T>> {
    row.optional_text(column)?.map(|text| parse(column, text)).transpose()
}

fn parse<T: DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| corrupt(column, "not the JSON that belongs here").with_source(error))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_stored_can_be_read_again() {
        let nested = |depth: usize| (0..depth).fold(json!("[[\"{\\"), |value, _| json!([value]));
        let deepest = from_json("append", &nested(MAX_JSON_DEPTH)).unwrap();
        assert_eq!(parse::<Value>("content", &deepest).unwrap(), nested(MAX_JSON_DEPTH));

        let deeper = nested(MAX_JSON_DEPTH + 1);
        assert_eq!(from_json("append", &deeper).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(
            parse::<Value>("content", &deeper.to_string()).is_err(),
            "the bound is no lower than it must be"
        );

        let wide = vec![json!([{}]); MAX_JSON_DEPTH];
        assert_eq!(parse::<Vec<Value>>("content", &from_json("append", &wide).unwrap()).unwrap(), wide);
    }
}
