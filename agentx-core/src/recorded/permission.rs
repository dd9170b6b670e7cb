use std::sync::Arc;

use agentx_resource::cassette::Cassette;
use async_trait::async_trait;
use serde_json::json;

use super::{not_live, to_value};
use crate::{Decision, Permission, PermissionRequest, Result};

/// A permission whose decisions are on a cassette: for one that asks somebody. One that decides by itself need not be.
#[derive(Debug)]
pub struct RecordedPermission {
    cassette: Cassette,
    live: Option<Arc<dyn Permission>>,
}

impl RecordedPermission {
    /// The agent's permission on a cassette. `make` is called to record.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new(cassette: &Cassette, make: impl FnOnce() -> Result<Arc<dyn Permission>>) -> Result<Self> {
        let live = if cassette.is_replay() { None } else { Some(make()?) };
        Ok(Self { cassette: cassette.clone(), live })
    }
}

#[async_trait]
impl Permission for RecordedPermission {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        let question = json!({"call": to_value(&request.call)});
        let call = self.cassette.call("permission.decide", "", question).await?;
        call.answer(async { self.live.as_ref().ok_or_else(not_live)?.decide(request).await }).await
    }
}
