//! What confines a command, or the helper with all that it starts.
//!
//! The host describes it in words of its own (bytes, and handles beside them), which the helper passes to
//! [`Policy::parse`]. A policy of a command is applied in the child, after its working directory was entered and its
//! limits were set, right before its program is executed; one of the helper itself is applied when the helper starts,
//! and everything inherits it.

use std::{ffi::c_int, os::fd::OwnedFd};

use crate::sys;

/// A policy that is ready to be applied.
pub(crate) struct Policy {
    /// Kept open until it was applied.
    _handles: Vec<OwnedFd>,
}

impl Policy {
    /// Reads a policy and makes everything ready that takes memory. No words are no policy.
    ///
    /// # Errors
    /// The system's number of what prevents it.
    pub(crate) fn parse(words: &[u8], handles: Vec<OwnedFd>) -> Result<Self, i32> {
        if words.is_empty() { Ok(Self { _handles: handles }) } else { Err(sys::EINVAL) }
    }

    /// The namespaces that a command's process is created in, as flags of `clone`.
    #[expect(clippy::unused_self, reason = "no policy is known yet")]
    pub(crate) fn namespaces(&self) -> c_int {
        0
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "no policy is known yet")]
    /// Confines the calling process. In a child, this runs where nothing may allocate, lock or panic.
    ///
    /// # Errors
    /// The system's number of what prevents it.
    pub(crate) fn apply(&self) -> Result<(), i32> {
        Ok(())
    }
}
