use async_trait::async_trait;

use super::{MemoryRepositories, Session, error};
use crate::{Error, ErrorKind, Fence, Lease, LeaseRepository, LeaseRequest, Result, Retry, SessionId};

impl Session {
    /// Fails where the fence does not hold.
    pub(super) fn check(&self, session: &SessionId, fence: &Fence) -> Result<()> {
        let Some(lease) = fence.lease() else { return Ok(()) };
        let holds = match (fence, &self.lease) {
            (Fence::Begin(_), last) => last.is_none() && self.events.is_empty(),
            (_, None) => false,
            (Fence::Retake(_), Some((last, _))) => {
                last.holder == lease.holder && last.token + 1 == lease.token
            }
            (_, Some((last, held))) => *held && last.holder == lease.holder && last.token == lease.token,
        };
        if holds { Ok(()) } else { Err(stale(session)) }
    }

    /// Moves, takes or gives back the lease, and tells whether it was given back.
    pub(super) fn settle(&mut self, fence: &Fence) -> bool {
        let Some(lease) = fence.lease() else { return false };
        let released = matches!(fence, Fence::Release(_)) && self.queue.is_empty();
        self.lease = Some((lease.clone(), !released));
        released
    }
}

fn stale(session: &SessionId) -> Error {
    error(ErrorKind::ConditionFailed, "append", session).with_message("the lease is not current")
}

#[async_trait]
impl LeaseRepository for MemoryRepositories {
    async fn acquire_lease(&self, session: &SessionId, request: &LeaseRequest) -> Result<Lease> {
        let mut store = self.lock();
        let stored = store.session("acquire lease", session)?;
        let token = match &stored.lease {
            Some((last, held)) if *held && last.until > request.now && Some(last.token) != request.last => {
                return Err(error(ErrorKind::Busy, "acquire lease", session)
                    .with_message(format!("{} has it until {}", last.holder, last.until))
                    .with_retry(Retry::After(Some(last.until.since(request.now)))));
            }
            Some((last, _)) => last.token + 1,
            None => 1,
        };
        let lease = Lease::new(token, request.holder.clone(), request.until);
        stored.lease = Some((lease.clone(), true));
        Ok(lease)
    }

    async fn find_lease(&self, session: &SessionId) -> Result<Option<Lease>> {
        let mut store = self.lock();
        let stored = store.session("find lease", session)?;
        Ok(stored.lease.as_ref().filter(|(_, held)| *held).map(|(lease, _)| lease.clone()))
    }
}
