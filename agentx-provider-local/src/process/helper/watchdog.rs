use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
    process::{Signal, pidfd_send_signal},
};

/// Ends a helper that stands still, so that nobody waits for it for ever.
///
/// A timer for each command would cost each of them. This looks only now and then, and not at all while nobody waits.
#[derive(Debug)]
pub(super) struct Watchdog {
    process: OwnedFd,
    /// How long it is between two looks at whether any of those who wait was answered.
    patience: Duration,
    /// Wakes the one that sleeps.
    bell: OwnedFd,
    sleeps: AtomicBool,
    waiting: AtomicUsize,
    answered: AtomicUsize,
    has_bitten: AtomicBool,
}

/// Somebody waits for the helper's answer, until this is dropped.
#[derive(Debug)]
pub(super) struct Attended<'a>(&'a Watchdog);

impl Watchdog {
    pub(super) fn new(process: OwnedFd, patience: Duration) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (waiting, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (sleeps, has_bitten) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { process, patience, bell, sleeps, waiting, answered, has_bitten })
    }

    /// Looks whether the helper answers, from now on.
    pub(super) fn attend(&self) -> Attended<'_> {
        self.waiting.fetch_add(1, SeqCst);
        if self.sleeps.swap(false, SeqCst) {
            // It can't be full.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
        Attended(self)
    }

    /// Whether the helper stood still, and was ended for that.
    pub(super) fn has_bitten(&self) -> bool {
        self.has_bitten.load(SeqCst)
    }

    /// Kills the helper.
    pub(super) fn kill(&self) {
        // An error means that it has ended.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }

    /// Watches until the helper has ended.
    pub(super) fn watch(&self) {
        // It takes two looks: a host that was stopped meanwhile has yet to hear what was said.
        let mut was_silent = false;
        loop {
            let answered = self.answered.load(SeqCst);
            // Whoever comes after this look rings.
            self.sleeps.store(true, SeqCst);
            let somebody_waits = self.waiting.load(SeqCst) > 0;
            let time = somebody_waits.then_some(self.patience).and_then(|time| Timespec::try_from(time).ok());
            let mut ends =
                [PollFd::new(&self.process, PollFlags::IN), PollFd::new(&self.bell, PollFlags::IN)];
            if somebody_waits {
                self.sleeps.store(false, SeqCst);
            }
            let is_silent = match poll(&mut ends, time.as_ref()) {
                Ok(0) => self.waiting.load(SeqCst) > 0 && self.answered.load(SeqCst) == answered,
                Ok(_) | Err(Errno::INTR) => false,
                // Its end is waited for all the same.
                Err(_) => return,
            };
            if is_silent && was_silent {
                self.has_bitten.store(true, SeqCst);
                self.kill();
            }
            was_silent = is_silent;
            let [process, _] = ends;
            if !process.revents().is_empty() {
                return;
            }
            // Nothing there is no failure.
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
    }
}

impl Attended<'_> {
    /// The helper has answered.
    pub(super) fn answered(self) {
        self.0.answered.fetch_add(1, SeqCst);
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command},
        thread,
    };

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn asleep() -> (Child, OwnedFd) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        (child, process)
    }

    #[test]
    fn a_helper_that_answers_nobody_is_ended() {
        let (mut child, process) = asleep();
        let watchdog = Watchdog::new(process, Duration::from_millis(10)).unwrap();
        thread::scope(|scope| {
            let watch = scope.spawn(|| watchdog.watch());
            // Before it looks, or while it sleeps.
            let waiting = watchdog.attend();
            watch.join().unwrap();
            drop(waiting);
        });
        assert!(watchdog.has_bitten());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }

    #[test]
    fn a_helper_that_nobody_waits_for_is_left_alone() {
        let (mut child, process) = asleep();
        let watchdog = Watchdog::new(process, Duration::from_millis(1)).unwrap();
        thread::scope(|scope| {
            watchdog.attend().answered();
            let watch = scope.spawn(|| watchdog.watch());
            while !watchdog.sleeps.load(SeqCst) {
                thread::yield_now();
            }
            child.kill().unwrap();
            watch.join().unwrap();
        });
        assert!(!watchdog.has_bitten());
        child.wait().unwrap();
    }
}
