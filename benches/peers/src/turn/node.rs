//! Anthropic's SDK for Node, in a process of its own.

use agentx_benches::{Result, measure::Variant, rows::turn::Turns};

use crate::node::Node;

pub(super) fn variant(turns: &Turns) -> Result<Variant> {
    let node = Node::start("turn.mjs", &turns.base_url())?;
    Ok(node.variant("Anthropic's SDK for Node, in its process"))
}
