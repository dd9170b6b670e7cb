//! What an owner sends in a day.

use std::{sync::Arc, time::Duration};

use agentx_core::Timestamp;

use super::{Account, Quotas, full};
use crate::{
    Owner,
    failure::Failure,
    tenant::{Tenants, Usage, now},
};

/// How long counts wait before they are stored. So much of them is lost with the process.
const FLUSH: Duration = Duration::from_secs(2);

/// The messages and bytes of a day. They are counted here and stored behind: a message is not a write more.
#[derive(Debug, Default)]
pub(super) struct Sent(tokio::sync::Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// None before the store was asked.
    usage: Option<Usage>,
    /// Whether somebody is going to store it.
    is_flushing: bool,
}

impl Account {
    /// Counts so many messages and bytes, or none of them. Of two that ask for the last one, one has it.
    pub(crate) async fn send(
        self: &Arc<Self>,
        owner: &Owner,
        quotas: &Quotas,
        tenants: Option<&Tenants>,
        (messages, bytes): (u64, u64),
    ) -> Result<(), Failure> {
        let mut state = self.sent.0.lock().await;
        let today = Usage::of_day(now());
        let usage = match (state.usage, tenants) {
            (Some(usage), _) if usage.day >= today.day => usage,
            (_, Some(tenants)) => tenants.usage(owner, today.day).await?,
            (_, None) => today,
        };
        let mut sent = usage;
        sent.messages = sent.messages.saturating_add(messages);
        sent.bytes = sent.bytes.saturating_add(bytes);
        state.usage = Some(usage);
        let too_many = |limit: u64, what| Err(full(limit, what).after(until_tomorrow(now())));
        if sent.messages > quotas.messages_per_day {
            return too_many(quotas.messages_per_day, "messages in a day");
        }
        if sent.bytes > quotas.bytes_per_day {
            return too_many(quotas.bytes_per_day, "bytes in a day");
        }
        state.usage = Some(sent);
        if let (Some(tenants), false) = (tenants, state.is_flushing) {
            state.is_flushing = true;
            let (account, owner, tenants) = (self.clone(), owner.clone(), tenants.clone());
            drop(tokio::spawn(async move {
                tokio::time::sleep(FLUSH).await;
                let mut state = account.sent.0.lock().await;
                state.is_flushing = false;
                if let Some(usage) = state.usage
                    && let Err(error) = tenants.save_usage(&owner, usage).await
                {
                    tracing::warn!(%error, "what a tenant used can't be stored");
                }
            }));
        }
        Ok(())
    }

    /// What it sent today, as far as this process knows.
    pub(crate) async fn used(&self) -> Option<Usage> {
        self.sent.0.lock().await.usage
    }
}

fn until_tomorrow(now: Timestamp) -> Duration {
    let day = Duration::from_hours(24);
    let millis = u64::try_from(day.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis - now.as_millis() % millis)
}
