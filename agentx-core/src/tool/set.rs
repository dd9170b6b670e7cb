use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{Tool, ToolDefinition};
use crate::{Error, ErrorKind, Result};

/// The tools of a turn, in the order in which a model is told of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct ToolSet {
    tools: Arc<Vec<Arc<dyn Tool>>>,
    definitions: Arc<[ToolDefinition]>,
}

impl ToolSet {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// These tools.
    ///
    /// # Errors
    /// `AlreadyExists` for two tools of one name; `InvalidInput` for a name or a schema that no model API takes: each
    /// request of a turn would be refused.
    pub fn of(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self> {
        let tools: Vec<_> = tools.into_iter().collect();
        let definitions: Arc<[ToolDefinition]> = tools.iter().map(|tool| tool.definition().clone()).collect();
        for (index, definition) in definitions.iter().enumerate() {
            let name = &definition.name;
            let invalid =
                |why| Error::new(ErrorKind::InvalidInput, "add tool").with_path(name).with_message(why);
            if !valid_name(name) {
                return Err(invalid("a tool's name is 1 to 128 ASCII letters, digits, _ and -"));
            }
            if let Some(why) = fault(&definition.input_schema) {
                return Err(invalid(why));
            }
            if definitions.iter().take(index).any(|earlier| earlier.name == *name) {
                return Err(Error::new(ErrorKind::AlreadyExists, "add tool").with_path(name));
            }
        }
        Ok(Self { tools: Arc::new(tools), definitions })
    }

    /// These tools and then `more`.
    ///
    /// # Errors
    /// Those of [`ToolSet::of`].
    pub fn with(&self, more: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self> {
        Self::of(self.tools.iter().cloned().chain(more))
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.definition().name == name)
    }

    /// The same tools, each wrapped into another of the same definition.
    #[cfg(feature = "tracing")]
    pub(crate) fn wrapped(&self, wrap: impl Fn(Arc<dyn Tool>) -> Arc<dyn Tool>) -> Self {
        let tools = self.tools.iter().cloned().map(wrap).collect();
        Self { tools: Arc::new(tools), definitions: self.definitions.clone() }
    }

    /// What a model is told of them.
    pub fn definitions(&self) -> Arc<[ToolDefinition]> {
        self.definitions.clone()
    }
}

fn valid_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// What is wrong with a schema of an input, as far as all model APIs agree.
fn fault(schema: &Value) -> Option<&'static str> {
    let is = |key, of: fn(&Value) -> bool| schema.get(key).is_none_or(of);
    let texts = |list: &Value| list.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    match schema.get("type").and_then(Value::as_str) {
        Some("object") if !is("properties", Value::is_object) => {
            Some("the properties of its schema are no object")
        }
        Some("object") if !is("required", texts) => Some("what its schema requires is no list of names"),
        Some("object") => None,
        _ => Some("its schema is not of type object"),
    }
}

impl fmt::Debug for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.definitions.iter().map(|definition| &definition.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tool_fn;

    #[test]
    fn a_schema_that_no_api_takes_is_refused_with_the_tools_name() {
        let of = |schema: Value| {
            let tool: Arc<dyn Tool> =
                Arc::new(tool_fn("look", "Looks.", schema, async |_: Value| Ok("seen")));
            // A tool that is shared is a tool.
            ToolSet::of([Arc::new(tool) as Arc<dyn Tool>])
        };
        of(json!({"type": "object"})).unwrap();
        of(json!({"type": "object", "properties": {"a": {}}, "required": ["a"]})).unwrap();
        for schema in [
            json!(null),
            json!(7),
            json!([]),
            json!({}),
            json!({"type": "string"}),
            json!({"type": ["object", "null"]}),
            json!({"type": "object", "properties": 7}),
            json!({"type": "object", "required": "a"}),
            json!({"type": "object", "required": [7]}),
        ] {
            let error = of(schema.clone()).unwrap_err();
            assert_eq!((error.kind(), error.path()), (ErrorKind::InvalidInput, Some("look")), "{schema}");
        }
    }
}
