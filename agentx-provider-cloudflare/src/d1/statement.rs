//! Statements as the REST API takes them: its parameters are strings, and nothing else.
//!
//! So a parameter that is no text travels as text, and what stands in its place in the statement makes of it what it
//! was: exactly, also an integer above 2^53, and without an affinity, as a parameter has none.

use agentx_resource::ErrorKind;
use agentx_sql::{Statement, Value};
use serde::Serialize;

use super::scan::{Piece, scan};
use crate::api::Failure;

/// A statement and its parameters.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Query {
    sql: String,
    params: Vec<String>,
}

/// A batch, which the API runs as one transaction.
#[derive(Debug, Serialize)]
pub(super) struct Batch<'a> {
    pub(super) batch: Vec<&'a Query>,
}

pub(super) fn queries(statements: &[Statement]) -> Result<Vec<Query>, Failure> {
    statements.iter().map(Query::new).collect()
}

/// Whether the batch can't change anything. A statement that this does not recognise counts as a change.
pub(super) fn reads(statements: &[Statement]) -> bool {
    statements.iter().all(|statement| words(statement).next().is_some_and(|word| is(word, "SELECT")))
}

/// Whether each statement of the batch plainly gives no rows. One that this does not recognise counts as giving some.
pub(super) fn is_silent(statements: &[Statement]) -> bool {
    const SILENT: [&str; 7] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"];
    statements.iter().all(|statement| {
        let first = words(statement).next();
        first.is_some_and(|word| SILENT.iter().any(|silent| is(word, silent)))
            && !words(statement).any(|word| is(word, "RETURNING"))
    })
}

fn words(statement: &Statement) -> impl Iterator<Item = &str> {
    statement.sql.trim_start().split(|each: char| !each.is_ascii_alphanumeric() && each != '_')
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

impl Query {
    fn new(statement: &Statement) -> Result<Self, Failure> {
        let refused = |problem: String| Failure::new(ErrorKind::InvalidInput, problem);
        let pieces = scan(&statement.sql).map_err(|problem| refused(problem.to_owned()))?;
        let params = statement.params.iter().map(Param::new).collect::<Result<Vec<_>, _>>()?;
        let mut query = Self { sql: String::with_capacity(statement.sql.len() + 64), params: Vec::new() };
        // Where a parameter stands in `query.params`, from 1 on, once it does.
        let mut places = vec![None; params.len()];
        let mut expected = 0;
        for piece in pieces {
            let number = match piece {
                Piece::Text(text) => {
                    query.sql.push_str(text);
                    continue;
                }
                Piece::Param(number) => number,
            };
            expected = expected.max(number);
            let index = number.wrapping_sub(1);
            let (Some(param), Some(place)) = (params.get(index), places.get_mut(index)) else { continue };
            match &param.text {
                None => query.sql.push_str("NULL"),
                Some(text) => {
                    let place = *place.get_or_insert_with(|| {
                        query.params.push(text.clone());
                        query.params.len()
                    });
                    query.sql.push_str(param.before);
                    query.sql.push_str(&format!("?{place}"));
                    query.sql.push_str(param.after);
                }
            }
        }
        if expected != params.len() {
            let given = params.len();
            return Err(refused(format!("the statement has {expected} parameters, {given} are given")));
        }
        Ok(query)
    }
}

/// A parameter as text, and what makes of the text what it was.
struct Param {
    before: &'static str,
    text: Option<String>,
    after: &'static str,
}

impl Param {
    fn new(value: &Value) -> Result<Self, Failure> {
        // The sign takes the affinity away that a cast would have in a comparison.
        let (before, text, after) = match value {
            Value::Null => ("", None, ""),
            Value::Text(text) => ("", Some(text.clone()), ""),
            Value::Integer(value) => ("(+CAST(", Some(value.to_string()), " AS INTEGER))"),
            // As SQLite itself does.
            Value::Real(value) if value.is_nan() => ("", None, ""),
            Value::Real(value) if value.is_infinite() => {
                return Err(Failure::new(ErrorKind::InvalidInput, "D1 can't give back an infinite number"));
            }
            Value::Real(value) => ("(+CAST(", Some(format!("{value:e}")), " AS REAL))"),
            Value::Blob(bytes) => ("unhex(", Some(hex(bytes)), ")"),
        };
        Ok(Self { before, text, after })
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(statement: &Statement) -> (String, Vec<String>) {
        let query = Query::new(statement).unwrap();
        (query.sql, query.params)
    }

    fn of(statement: &Statement) -> (String, String) {
        let (sql, params) = query(statement);
        (sql, params.join("|"))
    }

    #[test]
    fn every_parameter_travels_as_text() {
        let statement = Statement::new("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind("a")
            .bind(Value::Null)
            .bind(i64::MIN)
            .bind(0.1)
            .bind(vec![0, 255]);
        assert_eq!(
            query(&statement),
            (
                "INSERT INTO t VALUES (?1, NULL, (+CAST(?2 AS INTEGER)), (+CAST(?3 AS REAL)), unhex(?4))"
                    .to_owned(),
                ["a", "-9223372036854775808", "1e-1", "00ff"].map(str::to_owned).to_vec()
            )
        );
    }

    #[test]
    fn a_parameter_that_is_named_twice_travels_once() {
        let statement = Statement::new("SELECT ?2, ?1, ?2").bind(7).bind("b");
        assert_eq!(of(&statement), ("SELECT ?1, (+CAST(?2 AS INTEGER)), ?1".to_owned(), "b|7".to_owned()));
    }

    #[test]
    fn a_wrong_number_of_parameters_is_refused() {
        for (sql, given) in [("SELECT 1", 1), ("SELECT ?1", 0), ("SELECT ?2", 1), ("SELECT '?1'", 1)] {
            let mut statement = Statement::new(sql);
            statement.params = vec![Value::Null; given];
            let failure = Query::new(&statement).unwrap_err();
            assert_eq!((failure.kind, failure.effect), (ErrorKind::InvalidInput, crate::api::Effect::None));
            assert!(failure.message.contains("parameters"), "{sql}: {}", failure.message);
        }
    }

    #[test]
    fn a_number_that_would_not_come_back_is_refused_or_null() {
        assert_eq!(of(&Statement::new("SELECT ?1").bind(f64::NAN)).0, "SELECT NULL");
        let infinite = Statement::new("SELECT ?1").bind(f64::INFINITY);
        assert_eq!(Query::new(&infinite).unwrap_err().kind, ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_not_plainly_a_read_is_a_change_and_what_is_not_plainly_silent_gives_rows() {
        let reads = |sql: &'static str| reads(&[Statement::new("SELECT 1"), Statement::new(sql)]);
        assert!(reads("SELECT 1") && reads("  select\n1"));
        for silent in ["INSERT INTO t VALUES (1)", " update t SET n = 1", "CREATE TABLE t (n)"] {
            assert!(is_silent(&[Statement::new(silent)]), "{silent}");
        }
        for telling in [
            "DELETE FROM t RETURNING n",
            "insert into t select 1 returning\tn",
            "WITH x AS (SELECT 1) SELECT 1",
            "SELECT 1",
            "PRAGMA x",
            "",
        ] {
            assert!(
                !is_silent(&[Statement::new("CREATE TABLE t (n)"), Statement::new(telling)]),
                "{telling}"
            );
        }
        for change in ["DELETE FROM t", "WITH x AS (SELECT 1) DELETE FROM t", "SELECTED", "", "-- SELECT"] {
            assert!(!reads(change), "{change}");
        }
    }
}
