//! Tools: what a model may call.

mod approval;
mod function;
mod permission;
mod scope;
mod set;

use std::{fmt, sync::Arc};

use agentx_resource::Clock;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::scope::{Teller, Told, TurnScope};
pub use self::{
    approval::{ApprovalRequest, Approvals, Resumed, ResumedCall},
    function::{ToolFn, tool_fn},
    permission::{AllowAll, Decision, Permission, PermissionRequest},
    set::ToolSet,
};
use crate::{Result, ToolOutput};

/// Something that a model may call.
///
/// What goes wrong is told to the model, which can try something else: an `Err` becomes
/// [`ToolOutput::ErrorText`], and so does a panic. Dropping the future of `call` ends the work. Of an output only the
/// first 8 MiB are used.
#[async_trait]
pub trait Tool: fmt::Debug + Send + Sync + 'static {
    /// What the model is told of the tool. Constant over the tool's life.
    fn definition(&self) -> &ToolDefinition;

    /// Runs the tool. `input` is a JSON object that the model wrote: hostile until checked.
    ///
    /// # Errors
    /// What the model is to be told of a failure.
    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput>;
}

#[async_trait]
impl<T: Tool + ?Sized> Tool for Arc<T> {
    fn definition(&self) -> &ToolDefinition {
        (**self).definition()
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        (**self).call(input, context).await
    }
}

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolDefinition {
    /// The tool's name: at most 128 ASCII letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// A JSON schema of its input, of type `object`.
    pub input_schema: Value,
    /// What else the model's API is told of it, by its names there, such as `strict` or `defer_loading`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

impl ToolDefinition {
    /// A definition.
    pub fn new(name: impl Into<String>, description: impl Into<String>, input_schema: Value) -> Self {
        Self { name: name.into(), description: description.into(), input_schema, options: Map::new() }
    }

    /// With an option of the model's API.
    pub fn with_option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }
}

/// Where a tool call comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolContext {
    /// The call's id.
    pub call_id: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The turn that the call belongs to, where a loop made the call.
    pub(crate) scope: Option<TurnScope>,
}

impl ToolContext {
    /// A context.
    pub fn new(call_id: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { call_id: call_id.into(), clock, scope: None }
    }

    pub(crate) fn with_scope(mut self, scope: TurnScope) -> Self {
        self.scope = Some(scope);
        self
    }
}
