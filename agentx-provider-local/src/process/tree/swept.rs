use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use agentx_resource::ExitStatus;
use rustix::{
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_open, waitid,
    },
};
use tokio::net::unix::pipe::Receiver;

use super::{
    Mark,
    procfs::Newer,
    sweep::{Sign, Sweep, wait_until_dead},
};

/// How long dropping a command waits for its first process to be dead, once it was killed.
const MAX_REAP: Duration = Duration::from_secs(2);

/// A command that the host itself has started: its first process, which leads a process group, and everything that came of it.
///
/// The first process stays a zombie until [`Swept::reap`]: so long, the kernel can't give its id to another process,
/// and signalling the group is safe.
#[derive(Debug)]
pub(in crate::process) struct Swept {
    pid: Pid,
    handle: OwnedFd,
    exit: Receiver,
    mark: Mark,
    sign: Sign,
    newer: Newer,
    /// Held while the group is signalled, since reaping frees the group's id.
    reaped: Mutex<bool>,
}

impl Swept {
    /// Takes over a child that was started into a process group of its own at `since` or later.
    ///
    /// # Errors
    /// When the system has no file handle left; the child is then killed.
    pub(in crate::process) fn adopt(
        mut child: std::process::Child,
        mark: Mark,
        since: Instant,
    ) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let handles = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(|handle| {
            // Nothing is read from it: a process handle is readable when the process has ended.
            let exit = Receiver::from_owned_fd_unchecked(handle.try_clone()?)?;
            Ok((handle, exit))
        });
        match handles {
            Ok((handle, exit)) => {
                let newer = Newer::than(child.id(), since);
                Ok(Self {
                    pid,
                    handle,
                    exit,
                    sign: Sign::Mark(mark.clone()),
                    mark,
                    newer,
                    reaped: Mutex::new(false),
                })
            }
            Err(error) => {
                // Unreaped, so that this is still the child's own group.
                kill_process_group(pid, Signal::KILL)?;
                child.wait()?;
                Err(error)
            }
        }
    }

    pub(super) fn id(&self) -> &str {
        self.mark.id()
    }

    /// How the first process has ended.
    pub(super) fn poll_exit(&self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        loop {
            let ready = ready!(self.exit.poll_read_ready(cx));
            let look = || self.exit()?.ok_or(io::ErrorKind::WouldBlock.into());
            return Poll::Ready(match ready.and_then(|()| self.exit.try_io(look)) {
                Ok(status) => status,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => ExitStatus::Lost,
            });
        }
    }

    /// How the first process has ended, if it has. Leaves it unreaped.
    ///
    /// # Errors
    /// When somebody else has reaped it, or the host ignores `SIGCHLD`, so that nobody can know.
    fn exit(&self) -> io::Result<Option<ExitStatus>> {
        Ok(self.wait(WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?.map(exit_status))
    }

    /// Whether the first process runs, as far as can be known.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.exit(), Ok(None))
    }

    /// Asks everything to end, also what was stopped.
    pub(super) fn ask(&self) {
        for signal in [Signal::TERM, Signal::CONT] {
            self.signal_group(signal);
        }
        // Nobody is told twice: a second request often means "at once".
        self.sweep().ask_outside_group();
    }

    /// Sends a signal to the process group.
    pub(super) fn signal(&self, signal: Signal) {
        self.signal_group(signal);
    }

    /// Ends everything and returns when it is dead. Blocks for a few milliseconds; at most for two seconds, when the
    /// kernel can't end a process.
    pub(super) fn kill(&self) {
        if self.is_reaped() {
            return;
        }
        self.signal_group(Signal::STOP);
        self.sweep().kill();
        // Without `/proc` nothing was found, but this needs none.
        self.signal_group(Signal::KILL);
    }

    /// Ends what outlived the first process inside its group, and says whether nothing else remains. Quick: where it
    /// says no, or can't tell, [`Swept::kill`] is due.
    pub(super) fn is_swept(&self) -> bool {
        self.signal_group(Signal::KILL);
        self.sweep().is_clean()
    }

    /// Takes the first process off the system's books. Call it when it has ended or was killed.
    pub(super) fn reap(&self) {
        let mut reaped = self.reaped();
        if *reaped {
            return;
        }
        *reaped = true;
        if wait_until_dead(&self.handle, Instant::now() + MAX_REAP) {
            // An error means that there is nothing left to reap.
            let _ = self.wait(WaitIdOptions::NOHANG);
        } else if let Ok(handle) = self.handle.try_clone() {
            // The kernel can't end it now. Whoever waits for it then costs a thread, and no caller.
            let _ = thread::Builder::new()
                .spawn(move || waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED));
        }
    }

    fn sweep(&self) -> Sweep<'_> {
        Sweep::new(&self.sign, Some((self.pid_number(), self.newer)))
    }

    fn pid_number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn signal_group(&self, signal: Signal) {
        let reaped = self.reaped();
        // An error of the look means that somebody else reaped it, and that the id may be another's by now.
        if !*reaped && self.exit().is_ok() {
            // An error means that nothing of the group is left.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    fn is_reaped(&self) -> bool {
        *self.reaped()
    }

    fn reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, options: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
        loop {
            match waitid(WaitId::PidFd(self.handle.as_fd()), options | WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// The last resort: whoever was to end it did not come to it.
impl Drop for Swept {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

fn exit_status(status: WaitIdStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Lost,
    }
}
