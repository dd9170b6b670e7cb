//! What a session's turns have spent, as their ends tell.

use std::time::Duration;

use super::core::AgentCore;
use crate::{Budget, EventData, EventPage, Ledger, Result, Spent};

const PAGE: usize = 1000;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct SessionSpent {
    /// The last event that counts.
    seen: u64,
    spent: Spent,
}

/// The ledger that a session's next turn lies within. What other processes have stored since the last one counts: only
/// events behind that are read.
pub(super) async fn ledger(agent: &AgentCore) -> Result<Ledger> {
    let shared = &agent.shared;
    let Some(budget) = &shared.session_budget else {
        return Ok(Ledger::new(Budget::unbounded(), Spent::default()));
    };
    let mut known = agent.take_spent();
    loop {
        let page = EventPage::after(known.seen, PAGE);
        let events = shared.repositories.sessions.list_events(&agent.context.session_id, page).await?;
        let full = events.len() >= PAGE;
        for stored in events {
            known.seen = stored.seq;
            if let EventData::TurnResponse { spent, usage, duration, .. } = stored.event.data {
                known.spent += spent.unwrap_or_else(|| {
                    let mut spent = Spent::default();
                    (spent.turns, spent.duration) = (1, Duration::from_millis(duration));
                    spent.add_call(usage, None);
                    spent
                });
            }
        }
        if !full {
            break;
        }
    }
    let ledger = Ledger::new(budget.clone(), known.spent);
    agent.keep_spent(known);
    Ok(ledger)
}
