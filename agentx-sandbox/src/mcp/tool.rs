use agentx_core::{Result, Tool, ToolContext, ToolDefinition, ToolOutput};
use async_trait::async_trait;
use serde_json::Value;

use super::{McpConnection, listing::Offer};

/// A tool of a server, as it was offered. It keeps the connection.
#[derive(Debug)]
pub(super) struct McpTool {
    offer: Offer,
    connection: McpConnection,
}

impl McpTool {
    pub(super) fn new(offer: Offer, connection: McpConnection) -> Self {
        Self { offer, connection }
    }
}

#[async_trait]
impl Tool for McpTool {
    fn definition(&self) -> &ToolDefinition {
        &self.offer.definition
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        self.connection.call(&self.offer, input, &context.call_id).await
    }
}
