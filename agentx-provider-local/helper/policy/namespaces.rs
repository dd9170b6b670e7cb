//! Namespaces and privileges.
#![expect(unsafe_code, reason = "calls the C library")]

use std::{
    ffi::{CString, c_int, c_uint},
    io,
};

use super::{
    Failure,
    plan::{Namespaces, Network},
    sys::{self, Errno},
};

unsafe extern "C" {
    fn fork() -> c_int;
    fn geteuid() -> c_uint;
    fn getegid() -> c_uint;
}

const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_DUMPABLE: usize = 4;
const PR_CAPBSET_READ: usize = 23;
const PR_CAPBSET_DROP: usize = 24;
const PR_SET_SECUREBITS: usize = 28;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_CAP_AMBIENT: usize = 47;
const PR_CAP_AMBIENT_CLEAR_ALL: usize = 4;
/// Root gets no capabilities by being root, none are kept over a change of user, none are raised; all for good.
const SECUREBITS: usize = 0b1110_1111;

/// Moves this program into namespaces of its own, as their first process. The caller's process stays behind, waits for
/// it and ends as it ends.
pub(crate) fn enter(namespaces: &Namespaces) -> Result<(), Failure> {
    // SAFETY: take nothing.
    let (uid, gid) = unsafe { (geteuid(), getegid()) };
    let network = if namespaces.network == Network::Host { 0 } else { sys::CLONE_NEWNET };
    let flags = sys::CLONE_NEWUSER | sys::CLONE_NEWPID | of_a_command() | network;
    sys::unshare(flags).map_err(Failure::of("make namespaces"))?;
    // Needed before an ordinary user may map a group. An old kernel has no such file.
    match map("/proc/self/setgroups", "deny") {
        Err(failure) if failure.errno != Errno::ENOENT => return Err(failure),
        _ => {}
    }
    map("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    map("/proc/self/gid_map", &format!("{gid} {gid} 1"))?;
    // SAFETY: this program has one thread, so that its copy is whole.
    match unsafe { fork() } {
        0 => die_with_parent().map_err(Failure::of("be ended with the parent"))?,
        child if child > 0 => stay_behind(child),
        _ => return Err(Failure::of("fork")(last_error())),
    }
    sys::set_host_name(c"sandbox").map_err(Failure::of("name the host"))
}

/// The namespaces that a command can have of its own, those of pids and the network aside.
pub(crate) fn of_a_command() -> usize {
    sys::CLONE_NEWNS | sys::CLONE_NEWIPC | sys::CLONE_NEWUTS
}

pub(crate) fn forbid_new_privileges() -> sys::Result<()> {
    sys::process_control(PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).map(drop)
}

/// Nothing that is executed from here on gets a capability, whoever owns it. This program keeps its own.
pub(crate) fn forbid_capabilities() -> sys::Result<()> {
    sys::process_control(PR_CAP_AMBIENT, [PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0])?;
    // An ordinary user has no right to this, and nothing to lose by it: no new privileges are given already.
    if sys::process_control(PR_SET_SECUREBITS, [SECUREBITS, 0, 0, 0]).is_ok() {
        for capability in 0..64 {
            match sys::process_control(PR_CAPBSET_READ, [capability, 0, 0, 0]) {
                Ok(1) => sys::process_control(PR_CAPBSET_DROP, [capability, 0, 0, 0]).map(drop)?,
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// No user namespace can be made within this one, not even by who knows how to get past the filter: without one there
/// is no right to any other namespace, nor to a mount.
pub(crate) fn forbid_users() -> sys::Result<()> {
    // The one that commands see is read-only.
    let proc = sys::new_mount(c"proc", &[], sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV)?;
    let limit = sys::open(proc.raw(), c"sys/user/max_user_namespaces", sys::O_WRONLY, 0)?;
    sys::write(limit.raw(), b"0").map(drop)
}

pub(crate) fn die_with_parent() -> sys::Result<()> {
    sys::process_control(PR_SET_PDEATHSIG, [sys::SIGKILL as usize, 0, 0, 0]).map(drop)
}

pub(crate) fn hide_memory() -> sys::Result<()> {
    sys::process_control(PR_SET_DUMPABLE, [0; 4]).map(drop)
}

fn stay_behind(child: i32) -> ! {
    sys::close_all();
    let status = sys::wait(child).unwrap_or(0xff00);
    // As a shell tells it, where a signal ended the child.
    let signal = status % 0x80;
    let code = if signal == 0 { status >> 8 & 0xff } else { 128 + signal };
    sys::exit(code)
}

fn map(path: &str, text: &str) -> Result<(), Failure> {
    let c_path = CString::new(path).map_err(|_| Failure::of("map users")(Errno::EINVAL))?;
    let write = || {
        let file = sys::open(sys::AT_FDCWD, &c_path, sys::O_WRONLY, 0)?;
        sys::write(file.raw(), text.as_bytes())
    };
    write().map(drop).map_err(Failure::at("write", &c_path))
}

fn last_error() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(Errno::EINVAL.0))
}
