//! Where the API is to keep what it has read.

use super::wire::{Block, Body, CacheControl, Role, Tool};

/// The most marks that the API takes in one request.
const MARKS: usize = 4;

/// Marks four places: the end of what never changes (tools and system prompt), the end of this request, and the ends of
/// those before it.
///
/// The API keeps what it has read up to each mark. It finds it again where a later request has a mark at the same
/// place, or one less than 20 blocks behind it. So the end of the last request is marked again, however much was
/// added since; and so are those before, for a request that failed before the API kept anything.
pub(super) fn mark(body: &mut Body<'_>, mark: CacheControl) {
    let mut left = MARKS - usize::from(mark_constant(body, mark)) - already_marked(body);
    // What a user says, or a tool answers, is where a request ends.
    for message in body.messages.iter_mut().rev().filter(|message| message.role == Role::User) {
        if left == 0 {
            return;
        }
        if let Some(place) = message.content.iter_mut().rev().find_map(Block::cache_control) {
            *place = Some(mark);
            left -= 1;
        }
    }
}

/// Marks the end of the system prompt, or of the tools where there is none; whether there was anything to mark.
fn mark_constant(body: &mut Body<'_>, mark: CacheControl) -> bool {
    let place = match body.system.last_mut() {
        Some(system) => system.cache_control(),
        None => body.tools.iter_mut().rev().find_map(|tool| match tool {
            Tool::Host(tool) => Some(&mut tool.cache_control),
            Tool::Server(_) => None,
        }),
    };
    place.map(|place| *place = Some(mark)).is_some()
}

/// The marks that the provider's own tools were given.
fn already_marked(body: &Body<'_>) -> usize {
    let marked = |tool: &&Tool<'_>| matches!(tool, Tool::Server(tool) if tool.get("cache_control").is_some());
    body.tools.iter().filter(marked).count().min(MARKS - 1)
}
