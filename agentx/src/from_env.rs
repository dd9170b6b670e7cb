//! Claude, from what the environment says.

use std::sync::Arc;

use agentx_core::Result;
use agentx_driver_claude::messages::{MessagesModel, ReqwestTransport};
use agentx_provider_local::ApiKey;

use crate::SystemClock;

/// Claude over the Messages API, with the key in the variable `ANTHROPIC_API_KEY`, at `ANTHROPIC_BASE_URL` where that is
/// set. The key is read anew at each call.
///
/// # Errors
/// Those of [`ReqwestTransport::new`]. A missing key is an error of the first call.
pub fn claude_from_env() -> Result<MessagesModel> {
    let key = ApiKey::from_env("ANTHROPIC_API_KEY").with_base_url_from_env("ANTHROPIC_BASE_URL");
    Ok(MessagesModel::new(Arc::new(key), ReqwestTransport::new()?, Arc::new(SystemClock)))
}
