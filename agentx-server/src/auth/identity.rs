use agentx_core::Timestamp;

use crate::Owner;

/// Who asks, and until when that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// What it may touch.
    pub scope: Scope,
    /// When this ends by itself, such as that of a token; connections and streams end then, too.
    pub until: Option<Timestamp>,
}

/// What somebody may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What belongs to this owner.
    Owner(Owner),
    /// The tenants, at `/v1/tenants`, and `/metrics`; nothing that belongs to any of them.
    Admin,
}

impl Identity {
    /// An owner, until it is revoked.
    pub fn owner(owner: Owner) -> Self {
        Self { scope: Scope::Owner(owner), until: None }
    }

    /// Whoever manages the tenants, until it is revoked.
    pub fn admin() -> Self {
        Self { scope: Scope::Admin, until: None }
    }

    /// Until this moment and no longer.
    pub fn with_until(mut self, until: Option<Timestamp>) -> Self {
        self.until = until;
        self
    }

    /// Whether it holds at this moment.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
