//! What the API says beside a block that has a form of its own in the domain: kept as a block of the provider's behind
//! it, so that nothing is lost when the block goes back. The API itself knows none of these kinds.

use agentx_core::{BlockChange, BlockKind, ModelEvent};

use crate::messages::error::PROVIDER;

/// The citations of the text before it.
pub(in crate::messages) const CITATIONS: &str = "agentx_citations";
/// Who called the tool of the call before it, where it was not the model itself.
pub(in crate::messages) const CALLER: &str = "agentx_caller";
/// The container in which the provider's tools ran.
pub(in crate::messages) const CONTAINER: &str = "agentx_container";

pub(super) fn citations(citations: &[String]) -> String {
    format!(r#"{{"type":"{CITATIONS}","citations":[{}]}}"#, citations.join(","))
}

pub(super) fn caller(tool_use_id: &str, caller: &str) -> String {
    let id = serde_json::Value::from(tool_use_id);
    format!(r#"{{"type":"{CALLER}","tool_use_id":{id},"caller":{caller}}}"#)
}

pub(super) fn container(container: &str) -> String {
    format!(r#"{{"type":"{CONTAINER}","container":{container}}}"#)
}

/// The events of a block that comes whole.
pub(super) fn tell(index: u32, json: String, out: &mut Vec<ModelEvent>) {
    let kind = BlockKind::Opaque { provider: PROVIDER.to_owned(), json };
    out.push(ModelEvent::Block { index, change: BlockChange::Start(kind) });
    out.push(ModelEvent::Block { index, change: BlockChange::Stop });
}
