//! How the fields of records become columns, and back.

use std::str::FromStr;

use agentx_core::{Error, ErrorKind, Result, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{MAX_INTEGER, Row, Value, rows::corrupt};

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
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::InvalidInput, operation).with_source(error))
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
