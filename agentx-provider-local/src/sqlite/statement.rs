//! Runs one statement.

use agentx_resource::{Error, ErrorKind, Result};
use agentx_sql::{Rows, Statement, Value};
use rusqlite::{
    Connection, Row,
    types::{ToSqlOutput, ValueRef},
};

use super::error::{PROVIDER, error, told};

const OPERATION: &str = "execute";

/// Whether a statement changes nothing. One that SQLite does not understand counts as a change: running it will tell.
pub(super) fn reads(connection: &Connection, statement: &Statement) -> bool {
    connection.prepare_cached(&statement.sql).is_ok_and(|prepared| prepared.readonly())
}

pub(super) fn run(connection: &Connection, database: &str, statement: &Statement) -> Result<Rows> {
    let told = |source| told(source, OPERATION, database);
    let refused = |problem| Err(error(ErrorKind::InvalidInput, OPERATION, database, problem));
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(told)?;
    // Neither changes anything nor gives anything: it controls the transaction or the connection.
    if prepared.readonly() && prepared.column_count() == 0 {
        return refused(
            "a batch is a transaction already, and holds only what reads or changes data".to_owned(),
        );
    }
    let (expected, given) = (prepared.parameter_count(), statement.params.len());
    if expected != given {
        return refused(format!("the statement has {expected} parameters, {given} are given"));
    }
    for (index, value) in (1..).zip(&statement.params) {
        prepared.raw_bind_parameter(index, borrowed(value)).map_err(told)?;
    }

    let mut columns = Vec::new();
    let mut values = Vec::new();
    let mut rows = prepared.raw_query();
    while let Some(row) = rows.next().map_err(told)? {
        if values.is_empty() {
            columns = row.as_ref().column_names().into_iter().map(str::to_owned).collect();
        }
        values.push(read(row, database, &columns)?);
    }
    drop(rows);
    if values.is_empty() {
        columns = prepared.column_names().into_iter().map(str::to_owned).collect();
    }
    Ok(Rows::new(columns, values))
}

fn read(row: &Row<'_>, database: &str, columns: &[String]) -> Result<Vec<Value>> {
    let value = |(index, column): (usize, &String)| match row.get_ref(index) {
        Ok(value) => owned(value).map_err(|source| not_text(database, column).with_source(source)),
        Err(source) => Err(told(source, OPERATION, database)),
    };
    columns.iter().enumerate().map(value).collect()
}

fn not_text(database: &str, column: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION)
        .with_path(database)
        .with_provider(PROVIDER)
        .with_message(format!("the text in the column {column} is not UTF-8"))
}

fn borrowed(value: &Value) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(value) => ValueRef::Integer(*value),
        Value::Real(value) => ValueRef::Real(*value),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

fn owned(value: ValueRef<'_>) -> Result<Value, std::str::Utf8Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(text) => Value::Text(str::from_utf8(text)?.to_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}
