use std::{fmt, marker::PhantomData};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Tool, ToolContext, ToolDefinition};
use crate::{Error, ErrorKind, Result, ToolOutput};

/// A [`Tool`] made of an async function; see [`tool_fn`].
pub struct ToolFn<F, I> {
    definition: ToolDefinition,
    function: F,
    input: PhantomData<fn() -> I>,
}

/// Makes a tool of an async function. Its input is what `I` deserialises from the model's JSON; an input that does
/// not fit is told to the model, and the function is not called.
///
/// ```
/// use agentx_core::{Result, tool_fn};
/// use serde::Deserialize;
/// use serde_json::json;
///
/// #[derive(Deserialize)]
/// struct Add { a: i64, b: i64 }
///
/// let schema = json!({
///     "type": "object",
///     "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
///     "required": ["a", "b"],
/// });
/// let tool = tool_fn("add", "Adds two numbers.", schema, async |input: Add| Ok((input.a + input.b).to_string()));
/// # let _ = tool;
/// ```
pub fn tool_fn<I, O, F, Fut>(
    name: impl Into<String>,
    description: impl Into<String>,
    input_schema: Value,
    function: F,
) -> ToolFn<F, I>
where
    F: Fn(I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send,
    I: DeserializeOwned + Send + 'static,
    O: Into<ToolOutput>,
{
    ToolFn { definition: ToolDefinition::new(name, description, input_schema), function, input: PhantomData }
}

#[async_trait]
impl<I, O, F, Fut> Tool for ToolFn<F, I>
where
    F: Fn(I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send,
    I: DeserializeOwned + Send + 'static,
    O: Into<ToolOutput>,
{
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, _context: ToolContext) -> Result<ToolOutput> {
        let input = serde_json::from_value(input).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, "call tool")
                .with_path(&self.definition.name)
                .with_message(error.to_string())
        })?;
        Ok((self.function)(input).await?.into())
    }
}

impl<F, I> fmt::Debug for ToolFn<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFn").field("name", &self.definition.name).finish_non_exhaustive()
    }
}
