use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    procfs::{self, Look},
    sweep::{Sign, wait_until_dead},
};

/// How long a sweep may take, when the kernel can't end a process, or new ones come faster than they are found.
const MAX_TIME: Duration = Duration::from_secs(4);

/// Ends everything whose tag has these upper bits, all but the lowest `bits`, and returns when it is dead. Blocks for
/// four seconds at most.
///
/// All of it shows its tag, so that each is killed as soon as it is seen, the youngest first: these may soon have
/// started another and be gone. When everything that a look listed was there to be looked at, or was before, and none
/// of it had the tag, none is left: what lives was listed, or was started by something that was.
pub(in crate::process) fn sweep_tagged(prefix: u64, bits: u32) {
    let sign = Sign::Tag { prefix, bits };
    let deadline = Instant::now() + MAX_TIME;
    let mut seen = HashSet::new();
    let mut buffer = Vec::new();
    while Instant::now() < deadline {
        let mut missed = false;
        let mut killed = Vec::new();
        let mut pids = procfs::list_all().unwrap_or_default();
        pids.sort_unstable_by(|one, other| other.cmp(one));
        for pid in pids {
            if !seen.insert(pid) {
                continue;
            }
            // Opened before the look, so that what is killed is what was looked at, or nothing.
            let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let handle = id.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
            match (Look::at(pid, &sign, &mut buffer), handle) {
                (Look::Marked, Some(handle)) => match pidfd_send_signal(&handle, Signal::KILL) {
                    Ok(()) => killed.push(handle),
                    // It has become another user's.
                    Err(Errno::PERM) => {}
                    Err(_) => missed = true,
                },
                (Look::Unmarked, _) => {}
                (_, handle) => {
                    missed = true;
                    if handle.is_some_and(|handle| !wait_until_dead(&handle, Instant::now())) {
                        seen.remove(&pid);
                    }
                }
            }
        }
        if killed.is_empty() && !missed {
            return;
        }
        for handle in killed {
            wait_until_dead(&handle, deadline);
        }
    }
}
