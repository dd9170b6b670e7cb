//! The system calls that the helper makes: with `launch.rs`, which runs in the child, the one place of it that is not
//! safe by itself. The declarations hold for 64-bit Linux with the common numbering, glibc and musl alike; `build.rs`
//! names these targets.
#![expect(unsafe_code, reason = "declares and calls the C library")]

pub(crate) mod call;
pub(crate) mod child;
mod packet;
pub(crate) mod start;

use std::{
    ffi::{CStr, c_char, c_int, c_long, c_uint, c_ulong, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

pub(crate) use self::packet::{receive, send_now};

pub(crate) const SIGKILL: i32 = 9;
pub(crate) const SIGTERM: i32 = 15;
pub(crate) const SIGCHLD: i32 = 17;
pub(crate) const SIGCONT: i32 = 18;
pub(crate) const SIGSTOP: i32 = 19;
/// The highest signal.
const SIGRTMAX: i32 = 64;

pub(crate) const EPERM: i32 = 1;
const EINTR: i32 = 4;
pub(crate) const EAGAIN: i32 = 11;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const EINVAL: i32 = 22;

/// A limit that has had no effect since Linux 2.4.25. Every descendant inherits it, anyone may lower it, and nobody
/// without privilege can raise it: the place for a tag.
pub(crate) const RLIMIT_LOCKS: u32 = 10;
pub(crate) const RLIMIT_NOFILE: u32 = 7;

const CLONE_VM: c_int = 0x0100;
const CLONE_CHILD_CLEARTID: c_int = 0x0020_0000;
pub(crate) const CLONE_NEWNS: c_int = 0x0002_0000;
pub(crate) const CLONE_NEWUSER: c_int = 0x1000_0000;
pub(crate) const CLONE_NEWPID: c_int = 0x2000_0000;
const EPOLLIN: u32 = 1;
const EPOLLRDHUP: u32 = 0x2000;
const EPOLL_CLOEXEC: c_int = 0o2_000_000;
const EPOLL_CTL_ADD: c_int = 1;
const F_DUPFD_CLOEXEC: c_int = 1030;
const MAP_ANONYMOUS: c_int = 0x20;
const MAP_PRIVATE: c_int = 2;
const MSG_CMSG_CLOEXEC: c_int = 0x4000_0000;
const MSG_CTRUNC: c_int = 0x08;
const MSG_DONTWAIT: c_int = 0x40;
const MSG_NOSIGNAL: c_int = 0x4000;
const MSG_TRUNC: c_int = 0x20;
const MS_NODEV: c_ulong = 4;
const MS_NOEXEC: c_ulong = 8;
const MS_NOSUID: c_ulong = 2;
const MS_PRIVATE: c_ulong = 1 << 18;
const MS_REC: c_ulong = 1 << 14;
const O_CLOEXEC: c_int = 0o2_000_000;
const O_RDWR: c_int = 2;
const PROT_READ: c_int = 1;
const PROT_WRITE: c_int = 2;
const SIG_DFL: usize = 0;
const P_ALL: c_int = 0;
const PR_SET_CHILD_SUBREAPER: c_int = 36;
const PR_SET_NAME: c_int = 15;
const PR_SET_PDEATHSIG: c_int = 1;
const SCM_RIGHTS: c_int = 1;
const SFD_CLOEXEC: c_int = 0o2_000_000;
const SFD_NONBLOCK: c_int = 0o4000;
const SIG_SETMASK: c_int = 2;
const SOL_SOCKET: c_int = 1;
const SYS_CLOSE_RANGE: c_long = 436;
const SYS_PIDFD_OPEN: c_long = 434;
const SYS_PIDFD_SEND_SIGNAL: c_long = 424;
const TIOCSCTTY: c_ulong = 0x540E;
const WALL: c_int = 0x4000_0000;
const WEXITED: c_int = 4;
const WNOHANG: c_int = 1;
const CLD_EXITED: c_int = 1;

/// As large as both C libraries' own; the kernel uses the first word.
#[repr(C)]
struct SignalSet([u64; 16]);

impl SignalSet {
    const ALL: Self = Self([u64::MAX; 16]);
    const CHILD: Self = Self([1 << (SIGCHLD - 1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Limit {
    soft: u64,
    hard: u64,
}

#[repr(C)]
struct IoVec {
    base: *mut c_void,
    length: usize,
}

/// Of 64 bits, where musl's `int` lengths with their padding are the lower half of glibc's.
#[repr(C)]
struct Message {
    name: *mut c_void,
    name_length: c_uint,
    parts: *mut IoVec,
    part_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

/// The head of a control message.
#[repr(C)]
struct ControlHead {
    length: usize,
    level: c_int,
    kind: c_int,
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    found: i16,
}

#[repr(C)]
struct SignalInfo {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    pid: c_int,
    uid: c_uint,
    status: c_int,
    rest: [c_int; 25],
}

#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
pub(crate) struct Event {
    events: u32,
    pub(crate) data: u64,
}

unsafe extern "C" {
    fn _exit(code: c_int) -> !;
    fn chdir(path: *const c_char) -> c_int;
    fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        argument: *mut c_void,
        ...
    ) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut Event, count: c_int, timeout: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn fork() -> c_int;
    fn getegid() -> c_uint;
    fn geteuid() -> c_uint;
    fn getpgid(pid: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn prlimit(pid: c_int, resource: c_uint, new: *const Limit, old: *mut Limit) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn recvmsg(socket: c_int, message: *mut Message, flags: c_int) -> isize;
    fn send(socket: c_int, bytes: *const c_void, length: usize, flags: c_int) -> isize;
    fn setsid() -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn signalfd(fd: c_int, mask: *const SignalSet, flags: c_int) -> c_int;
    fn sigprocmask(how: c_int, new: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn unshare(flags: c_int) -> c_int;
    fn waitid(kind: c_int, id: c_uint, info: *mut SignalInfo, options: c_int) -> c_int;
}

impl Event {
    pub(crate) const NONE: Self = Self { events: 0, data: 0 };
}

impl SignalInfo {
    const NONE: Self =
        Self { signal: 0, errno: 0, code: 0, padding: 0, pid: 0, uid: 0, status: 0, rest: [0; 25] };
}

/// The error of the last call.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(EINVAL)
}

fn check(outcome: c_int) -> Result<c_int, i32> {
    if outcome < 0 { Err(errno()) } else { Ok(outcome) }
}

fn own(outcome: c_int) -> Result<OwnedFd, i32> {
    let fd = check(outcome)?;
    // SAFETY: the call that gave it has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes this process what a helper is, before anything else: only the socket that it was given as standard input is
/// kept, out of the way and closed on execution; standard input, output and error are nothing; the working directory
/// pins no mount; a session of its own keeps the terminal's signals away; every signal is at its default, which is
/// what commands inherit, and blocked, so that nothing but the socket ends it.
pub(crate) fn settle_in() -> Result<OwnedFd, i32> {
    // SAFETY: plain calls with numbers and constant strings.
    unsafe {
        let control = own(fcntl(0, F_DUPFD_CLOEXEC, 3))?;
        let null = own(open(c"/dev/null".as_ptr(), O_RDWR | O_CLOEXEC))?;
        for standard in 0..3 {
            check(dup2(null.as_raw_fd(), standard))?;
        }
        drop(null);
        close_others(&control)?;
        check(chdir(c"/".as_ptr()))?;
        // An error means that it leads a session already.
        setsid();
        for number in 1..=SIGRTMAX {
            // An error means that this one can't be changed.
            signal(number, SIG_DFL);
        }
        check(sigprocmask(SIG_SETMASK, &SignalSet::ALL, ptr::null_mut()))?;
        check(prctl(PR_SET_NAME, c"agentx-helper".as_ptr()))?;
        Ok(control)
    }
}

/// Closes what the host has let through, the first three and `kept` aside.
fn close_others(kept: &OwnedFd) -> Result<(), i32> {
    let kept = kept.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, kept - 1), (kept + 1, c_uint::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: this program has opened nothing else yet.
        if unsafe { syscall(SYS_CLOSE_RANGE, first, last, 0) } < 0 {
            // Before Linux 5.9.
            let open: Vec<c_int> = std::fs::read_dir("/proc/self/fd")
                .map_err(|error| error.raw_os_error().unwrap_or(EINVAL))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .collect();
            for fd in open.into_iter().filter(|fd| (first..=last).contains(&fd.unsigned_abs())) {
                // SAFETY: as above; the listing's own handle is closed already, which is an error without effect.
                unsafe { close(fd) };
            }
        }
    }
    Ok(())
}

/// Becomes the parent of what its descendants leave behind.
pub(crate) fn adopt_orphans() -> Result<(), i32> {
    // SAFETY: takes numbers.
    check(unsafe { prctl(PR_SET_CHILD_SUBREAPER, 1_usize) }).map(drop)
}

/// Goes on as the first process of a new namespace of process ids, in mounts of its own, with its own `/proc`. The
/// process that was called waits for it and then ends, and is ended with it.
pub(crate) fn enter_pid_namespace() -> Result<(), i32> {
    // SAFETY: takes numbers.
    let (user, group) = unsafe { (geteuid(), getegid()) };
    // SAFETY: takes numbers; this process has one thread.
    if unsafe { unshare(CLONE_NEWPID | CLONE_NEWNS) } < 0 {
        // Without privilege this takes a namespace of users, in which everybody is who they were.
        // SAFETY: as above.
        check(unsafe { unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) })?;
        let write = |file, text: String| {
            std::fs::write(file, text).map_err(|error| error.raw_os_error().unwrap_or(EINVAL))
        };
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // SAFETY: this process has one thread, so that its copy is whole.
    let child = check(unsafe { fork() })?;
    if child > 0 {
        let mut info = SignalInfo::NONE;
        // SAFETY: nothing is used any more but the record. The child's is the only control socket now, so that the host
        // sees its end; and no signal but one that can't be held off ends this process before that.
        unsafe {
            syscall(SYS_CLOSE_RANGE, 3, c_uint::MAX, 0);
            while waitid(P_ALL, 0, &raw mut info, WEXITED | WALL) < 0 && errno() == EINTR {}
            _exit(0)
        }
    }
    // SAFETY: plain calls with numbers and constant strings.
    unsafe {
        check(prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong))?;
        let (none, proc) = (ptr::null(), c"proc".as_ptr());
        check(mount(none, c"/".as_ptr(), none, MS_REC | MS_PRIVATE, ptr::null()))?;
        let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        check(mount(proc, c"/proc".as_ptr(), proc, flags, ptr::null()))?;
    }
    Ok(())
}

/// A handle that becomes readable when a child has ended.
pub(crate) fn child_signals() -> Result<OwnedFd, i32> {
    // SAFETY: the set outlives the call.
    own(unsafe { signalfd(-1, &SignalSet::CHILD, SFD_CLOEXEC | SFD_NONBLOCK) })
}

/// Waits until there is something to read, at most so many milliseconds.
pub(crate) fn wait_readable(fd: &OwnedFd, millis: u16) {
    const POLLIN: i16 = 1;
    let mut poll_fd = PollFd { fd: fd.as_raw_fd(), events: POLLIN, found: 0 };
    // SAFETY: one record, which outlives the call. An error is an interruption.
    unsafe { poll(&raw mut poll_fd, 1, c_int::from(millis)) };
}

/// Takes what `child_signals` has to tell.
pub(crate) fn drain(signals: &OwnedFd) {
    // One record; however many children have ended, there is one of it.
    let mut record = [0_u8; 128];
    // SAFETY: the kernel writes into the record. An error means that there is nothing.
    unsafe { read(signals.as_raw_fd(), record.as_mut_ptr().cast(), record.len()) };
}

/// Waits for several handles.
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> Result<Self, i32> {
        // SAFETY: takes a number.
        own(unsafe { epoll_create1(EPOLL_CLOEXEC) }).map(Self)
    }

    /// Tells of `fd` by `data`, until `fd` is closed.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, data: u64) -> Result<(), i32> {
        let mut event = Event { events: EPOLLIN | EPOLLRDHUP, data };
        // SAFETY: the event outlives the call.
        let outcome = unsafe { epoll_ctl(self.0.as_raw_fd(), EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) };
        check(outcome).map(drop)
    }

    /// What there is, after at most so many milliseconds, or as long as it takes.
    pub(crate) fn wait<'a>(&self, events: &'a mut [Event], millis: Option<u16>) -> &'a [Event] {
        let count = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
        let timeout = millis.map_or(-1, c_int::from);
        // SAFETY: the kernel writes `count` events at most.
        let found = unsafe { epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), count, timeout) };
        // An error is an interruption.
        events.get(..usize::try_from(found).unwrap_or_default()).unwrap_or_default()
    }
}

/// How a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) pid: u32,
    pub(crate) signalled: bool,
    /// The code, or the signal.
    pub(crate) value: i32,
}

/// Takes a child that has ended off the books.
///
/// # Errors
/// `ECHILD` when there are no children at all.
pub(crate) fn reap() -> Result<Option<Ended>, i32> {
    let mut info = SignalInfo::NONE;
    // SAFETY: the kernel fills the record.
    check(unsafe { waitid(P_ALL, 0, &raw mut info, WEXITED | WNOHANG | WALL) })?;
    Ok((info.pid != 0).then_some(Ended {
        pid: info.pid.unsigned_abs(),
        signalled: info.code != CLD_EXITED,
        value: info.status,
    }))
}

/// Signals a process, or the group `-target`. Only for what can't be another's meanwhile: unreaped children.
pub(crate) fn signal_to(target: i32, signal: i32) -> Result<(), i32> {
    // SAFETY: takes numbers.
    check(unsafe { kill(target, signal) }).map(drop)
}

/// A handle to the process that has this id now.
pub(crate) fn open_process(pid: u32) -> Option<OwnedFd> {
    // SAFETY: takes numbers.
    let fd = unsafe { syscall(SYS_PIDFD_OPEN, pid, 0) };
    own(c_int::try_from(fd).ok()?).ok()
}

/// Signals a process by its handle.
pub(crate) fn signal_by_handle(process: &OwnedFd, signal: i32) {
    // SAFETY: takes numbers and no record. An error means that it has ended, or is another user's.
    unsafe { syscall(SYS_PIDFD_SEND_SIGNAL, process.as_raw_fd(), signal, ptr::null::<c_void>(), 0) };
}

/// The process group of a process.
pub(crate) fn group_of(pid: u32) -> Option<u32> {
    // SAFETY: takes a number.
    u32::try_from(unsafe { getpgid(i32::try_from(pid).ok()?) }).ok()
}

/// The hard limit that carries a process's tag.
///
/// # Errors
/// `ESRCH` when there is no such process, `EPERM` when it is another user's.
pub(crate) fn tag_of(pid: u32) -> Result<u64, i32> {
    let mut limit = Limit { soft: 0, hard: 0 };
    let pid = c_int::try_from(pid).map_err(|_| EINVAL)?;
    // SAFETY: the kernel fills the record.
    check(unsafe { prlimit(pid, RLIMIT_LOCKS, ptr::null(), &raw mut limit) })?;
    Ok(limit.hard)
}

/// Lets this program open as many files as it may at all, and says how many that is. Each command takes one of it, and
/// is given limits of its own.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = Limit { soft: 0, hard: 0 };
    // SAFETY: the records outlive the calls. An error leaves the limit as it is.
    unsafe {
        prlimit(0, RLIMIT_NOFILE, ptr::null(), &raw mut limit);
        limit.soft = limit.hard;
        prlimit(0, RLIMIT_NOFILE, &raw const limit, ptr::null_mut());
    }
    limit.hard
}
