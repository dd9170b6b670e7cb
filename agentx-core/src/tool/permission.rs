use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Result, ToolCall};

/// Decides which tool calls may run.
///
/// It fails closed: an `Err` or a panic denies the call, and the model is told so. The calls of one answer are put to it
/// one after another, and none runs before all are decided: what takes a person's time answers [`Decision::Ask`].
///
/// ```
/// use agentx_core::{Decision, Permission, PermissionRequest, Result};
/// use async_trait::async_trait;
///
/// #[derive(Debug)]
/// struct NoShell;
///
/// #[async_trait]
/// impl Permission for NoShell {
///     async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
///         Ok(match request.call.name.as_str() {
///             "bash" => Decision::Deny("There is no shell here.".to_owned()),
///             _ => Decision::Allow,
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait Permission: fmt::Debug + Send + Sync + 'static {
    /// Decides on one call, before anything of it has happened.
    ///
    /// # Errors
    /// Any error denies the call.
    async fn decide(&self, request: PermissionRequest) -> Result<Decision>;
}

/// A call that waits for a decision.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermissionRequest {
    /// The call.
    pub call: ToolCall,
}

impl PermissionRequest {
    /// Asks for this call.
    pub fn new(call: ToolCall) -> Self {
        Self { call }
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// It may run.
    Allow,
    /// It may run with this input instead.
    AllowWith(Value),
    /// It may not run; the model is told why.
    Deny(String),
    /// Somebody else is to decide; the text tells them why they are asked. Other calls run meanwhile. Where nobody can be
    /// asked, the call is denied.
    Ask(String),
}

/// Allows every call: for agents whose tools are harmless or confined by themselves. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

#[async_trait]
impl Permission for AllowAll {
    async fn decide(&self, _request: PermissionRequest) -> Result<Decision> {
        Ok(Decision::Allow)
    }
}
