//! One agent of an image runs at a time, in whatever process.

use async_trait::async_trait;

use crate::{Result, SessionId, Timestamp};

/// Keeps leases: who may write a session.
///
/// A lease that was given back tells that nothing is open: no turn, no tool call, no queued message. A lease has an end
/// all the same, for the holder that dies. Its holder moves the end with each [`SessionRepository::append`](super::SessionRepository::append);
/// whoever comes after the end takes the lease over, with a greater token. From then on, an append with the old token
/// is refused: a holder that slept through the end of its lease can harm nothing. Clocks that disagree make a lease
/// shorter or longer, and never let two write.
#[async_trait]
pub trait LeaseRepository: std::fmt::Debug + Send + Sync + 'static {
    /// Takes the lease of a session that nobody holds, whose end has come, or whose token is `request.last`: the one
    /// that this holder had last. The token of the new lease is greater than any before; it is `last + 1` where nobody
    /// else had the lease in between.
    ///
    /// # Errors
    /// `Busy` while another holds it; `NotFound` for a missing session; whatever the store reports.
    async fn acquire_lease(&self, session: &SessionId, request: &LeaseRequest) -> Result<Lease>;

    /// The lease that is held, also one whose end has come and which nobody has taken over.
    ///
    /// # Errors
    /// `NotFound` for a missing session; whatever the store reports.
    async fn find_lease(&self, session: &SessionId) -> Result<Option<Lease>>;
}

/// Who wants a lease, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// Who asks: a name that no other process has.
    pub holder: String,
    /// The present moment.
    pub now: Timestamp,
    /// When the lease ends, unless it is moved.
    pub until: Timestamp,
    /// The token that this holder had last.
    pub last: Option<u64>,
}

impl LeaseRequest {
    /// A request of `holder`, who never had the lease.
    pub fn new(holder: impl Into<String>, now: Timestamp, until: Timestamp) -> Self {
        Self { holder: holder.into(), now, until, last: None }
    }

    /// Of one who had the lease, with this token.
    pub fn with_last(mut self, last: Option<u64>) -> Self {
        self.last = last;
        self
    }
}

/// The right to write a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// Grows each time that the lease is taken.
    pub token: u64,
    /// Who has it.
    pub holder: String,
    /// When it ends, unless its holder moves the end.
    pub until: Timestamp,
}

impl Lease {
    /// A lease.
    pub fn new(token: u64, holder: impl Into<String>, until: Timestamp) -> Self {
        Self { token, holder: holder.into(), until }
    }
}

/// How an append stands to the session's lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fence {
    /// It needs none: what anybody may add at any time.
    #[default]
    None,
    /// It is refused unless this lease is current, whose end it moves to `until`.
    Hold(Lease),
    /// It is refused unless the last lease had the token before this one's and was this holder's, and takes this lease.
    Retake(Lease),
    /// It is refused unless the session is new: nobody ever had its lease, and it has no event. It takes this lease, whose
    /// token is 1.
    Begin(Lease),
    /// It is refused unless this lease is current, and gives the lease back; while messages are queued, it holds on to it
    /// and moves the end to `until`.
    Release(Lease),
}

impl Fence {
    /// The lease that is current once the append is done, or was until then.
    pub fn lease(&self) -> Option<&Lease> {
        match self {
            Self::None => None,
            Self::Hold(lease) | Self::Retake(lease) | Self::Begin(lease) | Self::Release(lease) => {
                Some(lease)
            }
        }
    }
}
