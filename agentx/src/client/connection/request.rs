use agentx_core::{ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Connection;
use crate::client::failure;

/// Something that is asked of a server.
pub(in crate::client) struct Request {
    pub(super) method: &'static str,
    /// What it is called in errors.
    pub(super) operation: &'static str,
    pub(super) params: Value,
    /// Whether doing it twice is as good as doing it once.
    pub(super) is_repeatable: bool,
}

impl Request {
    /// Asked again where the connection is lost before the answer.
    pub(in crate::client) fn repeatable(
        method: &'static str,
        operation: &'static str,
        params: Value,
    ) -> Self {
        Self { method, operation, params, is_repeatable: true }
    }

    /// `Lost` where the connection is lost before the answer.
    pub(in crate::client) fn once(method: &'static str, operation: &'static str, params: Value) -> Self {
        Self { method, operation, params, is_repeatable: false }
    }

    /// The answer's members.
    pub(in crate::client) async fn ask(self, connection: &Connection) -> Result<Map<String, Value>> {
        let operation = self.operation;
        match connection.call(self).await? {
            Value::Object(answer) => Ok(answer),
            _ => Err(failure::error(ErrorKind::Corrupt, operation).with_message("the answer is no object")),
        }
    }

    /// The answer, read as this.
    pub(in crate::client) async fn ask_as<T: DeserializeOwned>(self, connection: &Connection) -> Result<T> {
        let operation = self.operation;
        read(operation, connection.call(self).await?)
    }

    /// One member of the answer, read as this.
    pub(in crate::client) async fn ask_member<T: DeserializeOwned>(
        self,
        connection: &Connection,
        name: &str,
    ) -> Result<T> {
        let operation = self.operation;
        let member = self.ask(connection).await?.remove(name);
        read(operation, member.unwrap_or_default())
    }
}

fn read<T: DeserializeOwned>(operation: &'static str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| {
        let unreadable = failure::error(ErrorKind::Corrupt, operation);
        unreadable.with_message("the answer is not what it must be").with_source(error)
    })
}
