//! Reads results as `/raw` gives them.

use std::fmt;

use agentx_resource::ErrorKind;
use agentx_sql::{MAX_INTEGER, Rows, Value};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::usage::D1Usage;
use crate::api::Failure;

/// What one statement gave.
#[derive(Debug, Deserialize)]
pub(super) struct StatementResult {
    success: bool,
    results: Table,
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// What the statement is billed for.
#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(default)]
    rows_read: u64,
    #[serde(default)]
    rows_written: u64,
}

#[derive(Debug)]
struct Cell(Value);

/// The rows of each of `expected` statements, and what they are billed for.
pub(super) fn rows(results: Vec<StatementResult>, expected: usize) -> Result<(Vec<Rows>, D1Usage), Failure> {
    let corrupt = |problem: String| Failure::new(ErrorKind::Corrupt, problem).unknown();
    if results.len() != expected {
        return Err(corrupt(format!("{} results of {expected} statements", results.len())));
    }
    let mut usage = D1Usage { batches: 1, statements: expected as u64, ..D1Usage::default() };
    let mut all = Vec::with_capacity(expected);
    for StatementResult { success, results: Table { columns, rows }, meta } in results {
        if !success || rows.iter().any(|row| row.len() != columns.len()) {
            return Err(corrupt("a result that does not fit its columns, or is none".to_owned()));
        }
        match meta {
            Some(meta) => {
                usage.rows_read = usage.rows_read.saturating_add(meta.rows_read);
                usage.rows_written = usage.rows_written.saturating_add(meta.rows_written);
            }
            None => usage.unmetered = 1,
        }
        let rows = rows.into_iter().map(|row| row.into_iter().map(|cell| cell.0).collect()).collect();
        all.push(Rows::new(columns, rows));
    }
    Ok((all, usage))
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor).map(Self)
    }
}

struct CellVisitor;

/// A number comes as JavaScript has it. Beyond [`MAX_INTEGER`] it may stand for another integer, and so is no integer
/// here: as a float it is exactly what was sent.
impl<'de> Visitor<'de> for CellVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a number, text or bytes")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    #[expect(clippy::cast_precision_loss, reason = "it was a float before it was written as an integer")]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        let exact = (-MAX_INTEGER..=MAX_INTEGER).contains(&number);
        Ok(if exact { Value::Integer(number) } else { Value::Real(number as f64) })
    }

    #[expect(clippy::cast_precision_loss, reason = "it was a float before it was written as an integer")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        let exact = i64::try_from(number).ok().filter(|number| *number <= MAX_INTEGER);
        Ok(exact.map_or(Value::Real(number as f64), Value::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Real(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(number) = items.next_element::<u64>()? {
            bytes.push(u8::try_from(number).map_err(|_| A::Error::custom("a byte above 255"))?);
        }
        Ok(Value::Blob(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Effect;

    fn read(json: &str, expected: usize) -> Result<(Vec<Rows>, D1Usage), Failure> {
        rows(serde_json::from_str(json).unwrap(), expected)
    }

    #[test]
    fn every_type_comes_back_and_no_integer_is_made_up() {
        let json = r#"[{"success": true, "meta": {"rows_read": 3, "rows_written": 2, "duration": 0.1}, "results":
            {"columns": ["a", "a", "b", "c", "d", "e", "f"],
             "rows": [[null, -1, 9007199254740992, 0.1, "x", [0, 255], []]]}}]"#;
        let (all, usage) = read(json, 1).unwrap();
        let expected = vec![
            Value::Null,
            Value::Integer(-1),
            Value::Real(9_007_199_254_740_992.0),
            Value::Real(0.1),
            "x".into(),
            vec![0, 255].into(),
            vec![].into(),
        ];
        assert_eq!(all[0].rows, [expected]);
        assert_eq!((usage.rows_read, usage.rows_written, usage.unmetered), (3, 2, 0));
        let error = all[0].first().unwrap().integer("b").unwrap_err();
        assert!(error.to_string().contains("an integer expected, a float found"), "{error}");
    }

    #[test]
    fn a_result_that_does_not_fit_says_that_the_outcome_is_unknown() {
        let one = r#"{"success": true, "results": {"columns": ["a"], "rows": [[1]]}}"#;
        let wide = r#"{"success": true, "results": {"columns": ["a"], "rows": [[1, 2]]}}"#;
        let failed = r#"{"success": false, "results": {"columns": [], "rows": []}}"#;
        for (json, expected) in [(one, 2), (wide, 1), (failed, 1)] {
            let failure = read(&format!("[{json}]"), expected).unwrap_err();
            assert_eq!((failure.kind, failure.effect), (ErrorKind::Corrupt, Effect::Unknown));
        }
        assert_eq!(read(&format!("[{one}]"), 1).unwrap().1.unmetered, 1, "without its meta");
        for cell in ["{}", "true", "[256]", "[-1]", r#"["x"]"#] {
            let json =
                format!(r#"[{{"success": true, "results": {{"columns": ["a"], "rows": [[{cell}]]}}}}]"#);
            assert!(serde_json::from_str::<Vec<StatementResult>>(&json).is_err(), "{cell}");
        }
    }
}
