//! How answers are written down.

mod fs;
mod process;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Error, ErrorKind, Result, Retry};

/// An answer that can be written to a cassette, and read back as the same.
pub trait Recordable: Sized + Send {
    /// As JSON.
    fn to_record(&self) -> Value;

    /// From JSON.
    ///
    /// # Errors
    /// `Corrupt` for JSON that is no such answer.
    fn from_record(record: Value) -> Result<Self>;
}

/// JSON that is no answer of the kind that is needed.
pub(super) fn unreadable(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "replay").with_message(format!("it is no {what}"))
}

/// The fields of a record.
pub(super) struct Fields {
    what: &'static str,
    record: Value,
}

impl Fields {
    pub(super) fn of(what: &'static str, record: Value) -> Self {
        Self { what, record }
    }

    /// The field, where it is there.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.record.get_mut(key).map(Value::take).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String> {
        self.text_if(key)?.ok_or_else(|| unreadable(self.what))
    }

    pub(super) fn text_if(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(unreadable(self.what)),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<u64> {
        self.number_if(key)?.ok_or_else(|| unreadable(self.what))
    }

    pub(super) fn number_if(&mut self, key: &str) -> Result<Option<u64>> {
        self.take(key).map(|value| value.as_u64().ok_or_else(|| unreadable(self.what))).transpose()
    }

    pub(super) fn is(&mut self, key: &str) -> bool {
        self.take(key) == Some(Value::Bool(true))
    }

    pub(super) fn read<T: Recordable>(&mut self, key: &str) -> Result<T> {
        T::from_record(self.take(key).ok_or_else(|| unreadable(self.what))?)
    }

    pub(super) fn read_if<T: Recordable>(&mut self, key: &str) -> Result<Option<T>> {
        self.take(key).map(T::from_record).transpose()
    }
}

/// Bytes: as text where they are one, in base64 where not.
pub(super) fn bytes_to_record(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

impl Recordable for Bytes {
    fn to_record(&self) -> Value {
        bytes_to_record(self)
    }

    fn from_record(record: Value) -> Result<Self> {
        let encoded = match record {
            Value::String(text) => return Ok(Self::from(text)),
            record => Fields::of("bytes", record).text("base64")?,
        };
        STANDARD.decode(encoded).map(Self::from).map_err(|_| unreadable("base64"))
    }
}

impl Recordable for () {
    fn to_record(&self) -> Value {
        Value::Bool(true)
    }

    fn from_record(_: Value) -> Result<Self> {
        Ok(())
    }
}

impl Recordable for String {
    fn to_record(&self) -> Value {
        Value::from(self.as_str())
    }

    fn from_record(record: Value) -> Result<Self> {
        match record {
            Value::String(text) => Ok(text),
            _ => Err(unreadable("text")),
        }
    }
}

impl<T: Recordable> Recordable for Option<T> {
    fn to_record(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_record)
    }

    fn from_record(record: Value) -> Result<Self> {
        if record.is_null() { Ok(None) } else { T::from_record(record).map(Some) }
    }
}

impl<T: Recordable> Recordable for BTreeMap<String, T> {
    fn to_record(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), value.to_record())).collect()
    }

    fn from_record(record: Value) -> Result<Self> {
        match record {
            Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| Ok((key, T::from_record(value)?))).collect()
            }
            _ => Err(unreadable("map")),
        }
    }
}

/// Nanoseconds since 1970; before that, less than none.
impl Recordable for SystemTime {
    fn to_record(&self) -> Value {
        let nanos = match self.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Value::from(nanos)
    }

    fn from_record(record: Value) -> Result<Self> {
        let nanos = record.as_i64().ok_or_else(|| unreadable("time"))?;
        let distance = Duration::from_nanos(nanos.unsigned_abs());
        let time =
            if nanos < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.ok_or_else(|| unreadable("time"))
    }
}

/// Its sources stay behind: what it says of itself is kept.
impl Recordable for Error {
    fn to_record(&self) -> Value {
        let mut record = json!({"kind": self.kind().as_str(), "operation": self.operation()});
        let retry = match self.retry() {
            Retry::Never => Value::Null,
            Retry::Exhausted => Value::from("exhausted"),
            Retry::After(None) => Value::from("later"),
            Retry::After(Some(time)) => {
                json!({"nanos": u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)})
            }
        };
        let rest = [
            ("path", self.path().map_or(Value::Null, Value::from)),
            ("provider", Value::from(self.provider())),
            ("message", Value::from(self.message())),
            ("retry", retry),
        ];
        if let Value::Object(fields) = &mut record {
            let told = rest.into_iter().filter(|(_, value)| !value.is_null() && value != "");
            fields.extend(told.map(|(key, value)| (key.to_owned(), value)));
        }
        record
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("error", record);
        let name = fields.text("kind")?;
        let kind = ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let mut error =
            Self::new(kind.ok_or_else(|| unreadable("kind of error"))?, fields.text("operation")?);
        if let Some(path) = fields.text_if("path")? {
            error = error.with_path(path);
        }
        if let Some(provider) = fields.text_if("provider")? {
            error = error.with_provider(provider);
        }
        if let Some(message) = fields.text_if("message")? {
            error = error.with_message(message);
        }
        let retry = match fields.take("retry") {
            None => Retry::Never,
            Some(Value::String(word)) if word == "exhausted" => Retry::Exhausted,
            Some(Value::String(word)) if word == "later" => Retry::After(None),
            Some(time) => {
                Retry::After(Some(Duration::from_nanos(Fields::of("time to wait", time).number("nanos")?)))
            }
        };
        Ok(error.with_retry(retry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_times_come_back_as_they_were() {
        let retries =
            [Retry::Never, Retry::Exhausted, Retry::After(None), Retry::After(Some(Duration::from_nanos(7)))];
        for kind in ErrorKind::ALL {
            for retry in retries {
                let error = Error::new(kind, "read").with_path("/a").with_provider("p").with_message("m");
                let error = error.with_retry(retry);
                let back = Error::from_record(error.to_record()).unwrap();
                assert_eq!(format!("{back:?}"), format!("{error:?}"));
            }
        }
        for nanos in [0, 1, 1_763_817_654_123_456_789] {
            for time in [UNIX_EPOCH + Duration::from_nanos(nanos), UNIX_EPOCH - Duration::from_nanos(nanos)] {
                assert_eq!(SystemTime::from_record(time.to_record()).unwrap(), time);
            }
        }
        for bytes in [&b"text"[..], b"", b"\xff\x00"] {
            let bytes = Bytes::copy_from_slice(bytes);
            assert_eq!(Bytes::from_record(bytes.to_record()).unwrap(), bytes);
        }
    }
}
