//! Which tool calls a person is asked for.

use std::collections::BTreeSet;

use agentx::{Decision, Permission, PermissionRequest, Result};
use async_trait::async_trait;

/// Asks before these tools run; all others run.
#[derive(Debug)]
pub(crate) struct AskBefore(pub(crate) BTreeSet<String>);

#[async_trait]
impl Permission for AskBefore {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        if self.0.contains(&request.call.name) {
            return Ok(Decision::Ask("This server asks before this tool runs.".to_owned()));
        }
        Ok(Decision::Allow)
    }
}
