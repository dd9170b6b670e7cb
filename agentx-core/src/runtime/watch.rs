//! Looks on while another process has a session, and takes it up when that one is gone.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable},
};

use super::{core::AgentCore, shift};
use crate::{Error, Result, Retry};

/// How often the store is asked how the session stands, at the least.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks on from now, unless somebody does already. It ends with the other's lease, and with the agent.
pub(super) fn begin(agent: &Arc<AgentCore>) {
    let (watch, registration) = AbortHandle::new_pair();
    if agent.is_elsewhere(watch) {
        let task = look_on(Arc::downgrade(agent));
        agent.shared.host.spawn.spawn(Abortable::new(task, registration).map(drop).boxed());
    }
}

async fn look_on(agent: Weak<AgentCore>) {
    loop {
        let Some(agent) = agent.upgrade() else { return };
        let wait = match look(&agent).await {
            Ok(Some(wait)) => wait,
            Ok(None) => return,
            Err(error) if is_passing(&error) => INTERVAL,
            Err(error) => {
                agent.is_free();
                return shift::tell(&agent, &error);
            }
        };
        let passed = agent.shared.host.clock.sleep(wait);
        drop(agent);
        passed.await;
    }
}

/// Whether the store may answer when it is asked again.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(error.retry(), Retry::After(_))
}

/// How long to wait until the next look; none where there is nothing to wait for any more.
async fn look(agent: &Arc<AgentCore>) -> Result<Option<Duration>> {
    let (repositories, session) = (&agent.shared.repositories, &agent.context.session_id);
    let lease = repositories.leases.find_lease(session).await?;
    agent.bus.announce(repositories.sessions.last_event(session).await?);
    let left = lease.map(|lease| lease.until.since(agent.shared.host.now()));
    match left {
        // It was given back: nothing is open.
        None => agent.is_free(),
        Some(Duration::ZERO) => {
            agent.is_free();
            shift::start_waiting_work(agent);
        }
        Some(left) => return Ok(Some(left.min(INTERVAL))),
    }
    Ok(None)
}
