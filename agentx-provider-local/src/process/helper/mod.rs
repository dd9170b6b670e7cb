//! The small process that starts the commands, seen from here.

mod end;
mod line;
mod request;
mod sender;
mod start;
#[cfg_attr(not(test), expect(dead_code, reason = "each side uses its half"))]
pub(super) mod wire;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Semaphore};

use self::{end::End, wire::NUMBER_BITS};
pub(super) use self::{
    line::{Line, NotLaunched},
    request::{Command, Handles, List},
    start::{Program, program, start},
    wire::Stage,
};
use super::isolation::Proxy;

/// How many requests may be under way to a helper. With the largest of packets they fit into the socket, so that
/// sending never waits.
const MAX_UNDER_WAY: usize = 16;

/// A helper process. Dropping it ends everything that it has started, and the process itself.
#[derive(Debug)]
pub(super) struct Helper {
    control: OwnedFd,
    first_tag: u64,
    next: AtomicU32,
    under_way: Semaphore,
    end: Arc<End>,
    /// The way of its commands to the network, where that is not the host's.
    proxy: Option<Proxy>,
}

impl Helper {
    fn new(control: OwnedFd, first_tag: u64, end: Arc<End>, proxy: Option<Proxy>) -> Self {
        let under_way = Semaphore::new(MAX_UNDER_WAY);
        Self { control, first_tag, next: AtomicU32::new(0), under_way, end, proxy }
    }

    /// Sees to it that what its commands need of the host is there.
    ///
    /// # Errors
    /// When the host has no handles left.
    pub(super) fn attend(&self, runtime: &Handle) -> io::Result<()> {
        self.proxy.as_ref().map_or(Ok(()), |proxy| proxy.serve(runtime))
    }

    /// Whether it is there no more.
    pub(super) fn is_over(&self) -> bool {
        self.end.has_come()
    }

    /// The number of the next command.
    fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) & ((1 << NUMBER_BITS) - 1)
    }
}
