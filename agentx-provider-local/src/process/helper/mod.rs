//! The small process that starts the commands, seen from here.

mod end;
mod line;
mod lines;
mod request;
mod sender;
mod start;
mod watchdog;
#[cfg_attr(not(test), expect(dead_code, reason = "each side uses its half"))]
pub(super) mod wire;

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::net::{Shutdown, shutdown};
use tokio::{runtime::Handle, sync::Semaphore};

use self::{end::End, lines::IdleLines, watchdog::Watchdog, wire::NUMBER_BITS};
pub(super) use self::{
    line::{Line, MAX_SILENCE, NotLaunched},
    request::{Command, Handles, List},
    start::{NoHelper, Program, program, start},
    wire::Stage,
};
use super::isolation::{Proxy, StandIns};

/// How many requests may be under way to a helper. With the largest of packets they fit into the socket, so that
/// sending never waits.
const MAX_UNDER_WAY: usize = 16;

/// How long dropping a command, or the helper of a control group, waits until nothing of it is left: longer than the
/// helper tries to end it.
const MAX_END: Duration = Duration::from_secs(4);

/// A helper process. Dropping it ends everything that it has started, and the process itself.
#[derive(Debug)]
pub(super) struct Helper {
    control: OwnedFd,
    watchdog: Arc<Watchdog>,
    /// No more commands are given to it.
    retired: AtomicBool,
    first_tag: u64,
    next: AtomicU32,
    under_way: Semaphore,
    lines: IdleLines,
    end: Arc<End>,
    attached: Attached,
}

/// What a helper has beside itself.
#[derive(Debug, Default)]
struct Attached {
    /// The way of its commands to the network, where that is not the host's.
    proxy: Option<Proxy>,
    /// What its commands' protected paths need on the host: its commands may outlive the `LocalProcess`.
    _stand_ins: Option<Arc<StandIns>>,
    /// Its commands are in a control group, which goes with it.
    has_group: bool,
    limits: Limits,
}

/// The system's limits of a helper as they were when it was ready: a command of the same user may change them.
#[derive(Debug, Default)]
struct Limits {
    path: PathBuf,
    text: String,
}

impl Limits {
    fn of(pid: u32) -> Self {
        let path = PathBuf::from(format!("/proc/{pid}/limits"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        Self { path, text }
    }

    /// Whether others hold now.
    fn are_changed(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text != self.text)
    }
}

impl Helper {
    fn new(
        control: OwnedFd,
        watchdog: Arc<Watchdog>,
        first_tag: u64,
        end: Arc<End>,
        attached: Attached,
    ) -> Self {
        Self {
            control,
            watchdog,
            retired: AtomicBool::new(false),
            first_tag,
            next: AtomicU32::new(0),
            under_way: Semaphore::new(MAX_UNDER_WAY),
            lines: IdleLines::default(),
            end,
            attached,
        }
    }

    /// Sees to it that what its commands need of the host is there.
    ///
    /// # Errors
    /// When the host has no handles left.
    pub(super) fn attend(&self, runtime: &Handle) -> io::Result<()> {
        self.attached.proxy.as_ref().map_or(Ok(()), |proxy| proxy.serve(runtime))
    }

    /// Whether it is there no more, or stands still.
    pub(super) fn is_over(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || self.end.has_come()
    }

    /// Whether a command has taken from it what it needs to start others.
    fn is_maimed(&self) -> bool {
        self.attached.limits.are_changed()
    }

    /// Gives it no more commands.
    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Ends a helper that stands still: a program or a directory does not let it go. All its commands end with it.
    fn abandon(&self) {
        self.retire();
        self.watchdog.kill();
    }

    /// The number of the next command.
    fn next_number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) & ((1 << NUMBER_BITS) - 1)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // A host that ends right after this would leave the group behind.
        if self.attached.has_group {
            // An error means that the helper is there no more.
            let _ = shutdown(&self.control, Shutdown::Both);
            self.end.wait(Instant::now() + MAX_END);
        }
    }
}
