use std::{borrow::Cow, fmt};

use agentx_core::{Error, ErrorKind, Result};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::messages::error::failure;

/// A block that only the provider understands, from its start to its end. What no delta touches stays to the byte.
#[derive(Debug)]
pub(super) struct OpaqueBlock {
    /// The block as it began.
    start: String,
    /// The text of an `input` that came in pieces.
    input: String,
    /// Fields that grew or were set by deltas, each as its text so far, or as the JSON that it was set to.
    changed: Vec<(String, Change)>,
    limit: usize,
    size: usize,
}

#[derive(Debug)]
enum Change {
    Text(String),
    Json(String),
}

impl OpaqueBlock {
    pub(super) fn new(start: &str, limit: usize) -> Self {
        Self { start: start.to_owned(), input: String::new(), changed: Vec::new(), limit, size: start.len() }
    }

    /// Adds a piece of the input's JSON text.
    pub(super) fn input(&mut self, piece: &str) -> Result<()> {
        self.grow(piece.len())?;
        self.input.push_str(piece);
        Ok(())
    }

    /// Takes a delta of a kind that is not known: a string is added to the field of its name, as all known deltas
    /// do, and anything else replaces it.
    pub(super) fn merge(&mut self, delta: &str) -> Result<()> {
        self.grow(delta.len())?;
        let fields: Fields<'_> = serde_json::from_str(delta).map_err(|error| corrupt(&error))?;
        for (name, value) in fields.0.into_iter().filter(|(name, _)| name != "type") {
            let text = serde_json::from_str::<Cow<'_, str>>(value.get()).ok();
            let change =
                self.changed.iter_mut().find(|(changed, _)| *changed == name).map(|(_, change)| change);
            match (change, text) {
                (Some(Change::Text(so_far)), Some(piece)) => so_far.push_str(&piece),
                (Some(change), _) => *change = Change::Json(value.get().to_owned()),
                (None, Some(piece)) => {
                    let so_far = self.text_of(&name)?.unwrap_or_default();
                    self.changed.push((name.into_owned(), Change::Text(so_far + &piece)));
                }
                (None, None) => {
                    self.changed.push((name.into_owned(), Change::Json(value.get().to_owned())));
                }
            }
        }
        Ok(())
    }

    /// The block's JSON text; `None` where its input was cut off, since no model would take it back.
    pub(super) fn finish(mut self) -> Result<Option<String>> {
        if !self.input.is_empty() {
            if serde_json::from_str::<&RawValue>(&self.input).is_err() {
                return Ok(None);
            }
            self.changed.push(("input".to_owned(), Change::Json(self.input)));
        }
        if self.changed.is_empty() {
            return Ok(Some(self.start));
        }
        let fields: Fields<'_> = serde_json::from_str(&self.start).map_err(|error| corrupt(&error))?;
        let mut object = Object::default();
        for (name, value) in fields.0 {
            match self.changed.iter().position(|(changed, _)| *changed == name) {
                Some(at) => object.push(&name, &self.changed.swap_remove(at).1.into_json()),
                None => object.push(&name, value.get()),
            }
        }
        for (name, change) in self.changed {
            object.push(&name, &change.into_json());
        }
        Ok(Some(object.finish()))
    }

    /// The text that the block had in this field at its start.
    fn text_of(&self, name: &str) -> Result<Option<String>> {
        let fields: Fields<'_> = serde_json::from_str(&self.start).map_err(|error| corrupt(&error))?;
        let value = fields.0.into_iter().find(|(field, _)| field == name).map(|(_, value)| value);
        Ok(value.and_then(|value| serde_json::from_str(value.get()).ok()))
    }

    fn grow(&mut self, by: usize) -> Result<()> {
        self.size += by;
        if self.size <= self.limit {
            return Ok(());
        }
        Err(failure(ErrorKind::LimitExceeded, format!("a block has more than {} bytes", self.limit)))
    }
}

impl Change {
    fn into_json(self) -> String {
        match self {
            Self::Text(text) => quoted(&text),
            Self::Json(json) => json,
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn corrupt(error: &serde_json::Error) -> Error {
    failure(ErrorKind::Corrupt, format!("a block can't be read: {error}"))
}

/// An object's fields in their order, each value to the byte.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.push((Cow::Owned(name), value));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(FieldsVisitor).map(Fields)
    }
}

/// Writes a JSON object of values that are JSON already.
#[derive(Default)]
struct Object(String);

impl Object {
    fn push(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_deltas_stays_to_the_byte() {
        let json = r#"{ "type":"redacted_thinking",  "data":"\u0041", "n": 1.50 }"#;
        assert_eq!(OpaqueBlock::new(json, 1000).finish().unwrap().unwrap(), json);
    }

    #[test]
    fn an_input_in_pieces_replaces_the_empty_one() {
        let mut block = OpaqueBlock::new(r#"{"type":"server_tool_use","input":{},"x":1.50}"#, 1000);
        block.input(r#"{"query": "#).unwrap();
        block.input(r#""é"}"#).unwrap();
        assert_eq!(
            block.finish().unwrap().unwrap(),
            r#"{"type":"server_tool_use","input":{"query": "é"},"x":1.50}"#
        );
    }

    #[test]
    fn unknown_deltas_grow_the_field_of_their_name() {
        let mut block = OpaqueBlock::new(r#"{"type":"compaction","content":null,"a":"x"}"#, 1000);
        block.merge(r#"{"type":"compaction_delta","content":"one \"q\" "}"#).unwrap();
        block.merge(r#"{"type":"compaction_delta","content":"two","a":"y","new":[1]}"#).unwrap();
        assert_eq!(
            block.finish().unwrap().unwrap(),
            r#"{"type":"compaction","content":"one \"q\" two","a":"xy","new":[1]}"#
        );
    }

    #[test]
    fn an_input_that_is_cut_off_is_left_out_and_one_without_end_is_an_error() {
        let mut block = OpaqueBlock::new(r#"{"type":"server_tool_use","input":{}}"#, 100);
        block.input(r#"{"query"#).unwrap();
        assert_eq!(block.finish().unwrap(), None);

        let mut block = OpaqueBlock::new("{}", 100);
        let error = (0..20).find_map(|_| block.input("xxxxxxxxxx").err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}
