use agentx_core::{Error, ErrorKind, Result};

use crate::Value;

/// What a statement gives back: columns by name, and rows. Empty for a statement that has no result.
///
/// ```
/// use agentx_sql::{Rows, Value};
///
/// let rows = Rows::new(vec!["id".to_owned()], vec![vec![Value::Integer(7)]]);
/// assert_eq!(rows.first().unwrap().integer("id")?, 7);
/// assert_eq!(rows.first().unwrap().text("id").unwrap_err().path(), Some("id"));
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows: a value for each column.
    pub rows: Vec<Vec<Value>>,
}

/// One row. A getter fails with `Corrupt` and the column's name where the column is missing or holds something else.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl Rows {
    /// Rows of these columns.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Value>>) -> Self {
        Self { columns, rows }
    }

    /// The rows in their order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }

    /// The first row.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }
}

impl<'a> Row<'a> {
    /// The value of a column.
    ///
    /// # Errors
    /// `Corrupt` for a missing column.
    pub fn get(&self, column: &str) -> Result<&'a Value> {
        let place = self.columns.iter().position(|name| name == column);
        place.and_then(|place| self.values.get(place)).ok_or_else(|| corrupt(column, "no such column"))
    }

    /// An integer, also one that travelled as text.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn integer(&self, column: &str) -> Result<i64> {
        match self.get(column)? {
            Value::Integer(value) => Ok(*value),
            Value::Text(text) => text.parse().map_err(|_| corrupt(column, "the text is not an integer")),
            other => Err(mismatch(column, "an integer", other)),
        }
    }

    /// A float, also one that travelled as an integer, as JSON writes `1.0`.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn real(&self, column: &str) -> Result<f64> {
        match self.get(column)? {
            Value::Real(value) => Ok(*value),
            #[expect(clippy::cast_precision_loss, reason = "it was a float before it travelled")]
            Value::Integer(value) => Ok(*value as f64),
            other => Err(mismatch(column, "a float", other)),
        }
    }

    /// Text.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn text(&self, column: &str) -> Result<&'a str> {
        match self.get(column)? {
            Value::Text(text) => Ok(text),
            other => Err(mismatch(column, "text", other)),
        }
    }

    /// Text, or none for null.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn optional_text(&self, column: &str) -> Result<Option<&'a str>> {
        match self.get(column)? {
            Value::Null => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    /// Bytes.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn blob(&self, column: &str) -> Result<&'a [u8]> {
        match self.get(column)? {
            Value::Blob(bytes) => Ok(bytes),
            other => Err(mismatch(column, "bytes", other)),
        }
    }
}

fn mismatch(column: &str, expected: &str, found: &Value) -> Error {
    corrupt(column, format!("{expected} expected, {} found", found.type_name()))
}

pub(crate) fn corrupt(column: &str, problem: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, "read column").with_path(column).with_message(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_getter_takes_its_type_and_names_the_column_otherwise() {
        let columns = ["i", "t", "n", "b", "r", "cut"].map(str::to_owned).to_vec();
        let values =
            vec![Value::Integer(1), "9007199254740993".into(), Value::Null, vec![0, 255].into(), 0.5.into()];
        let rows = Rows::new(columns, vec![values]);
        let row = rows.first().unwrap();
        assert_eq!(row.integer("i").unwrap(), 1);
        assert_eq!(row.integer("t").unwrap(), 9_007_199_254_740_993, "above 2^53 it travels as text");
        assert_eq!(row.optional_text("n").unwrap(), None);
        assert_eq!(row.blob("b").unwrap(), [0, 255]);
        assert!((row.real("r").unwrap() - 0.5).abs() < f64::EPSILON);

        let problem = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            error.to_string()
        };
        assert_eq!(
            problem(row.text("n").unwrap_err()),
            r#"read column "n": corrupt: text expected, null found"#
        );
        assert_eq!(
            problem(row.integer("b").unwrap_err()),
            r#"read column "b": corrupt: an integer expected, bytes found"#
        );
        assert_eq!(problem(row.get("x").unwrap_err()), r#"read column "x": corrupt: no such column"#);
        assert_eq!(problem(row.get("cut").unwrap_err()), r#"read column "cut": corrupt: no such column"#);
    }
}
