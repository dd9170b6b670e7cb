//! The system calls that a policy is made of.
//!
//! They are issued directly and touch neither `errno` nor anything else of the C library: most of them run in a child
//! that shares this program's memory, some of them while this program runs on.
#![expect(
    unsafe_code,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a system call takes and gives whole registers"
)]

use core::{
    ffi::{CStr, c_int, c_void},
    sync::atomic::{AtomicUsize, Ordering},
};

pub(crate) use crate::sys::call::{Errno, Result};
use crate::sys::call::{call, number};

/// What opens the calls that the filter locks. The command itself never has it: it neither shares this memory nor may
/// look into it.
static KEY: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn set_key(key: u64) {
    KEY.store(key as usize, Ordering::Relaxed);
}

/// The sixth argument of such a call, which takes fewer itself.
fn key() -> usize {
    KEY.load(Ordering::Relaxed)
}

#[derive(Debug)]
pub(crate) struct Fd(c_int);

impl Fd {
    pub(crate) fn own(raw: c_int) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(&self) -> c_int {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: no pointers.
        let _ = unsafe { call(number::CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}

pub(crate) const AT_FDCWD: c_int = -100;
pub(crate) const O_RDONLY: c_int = 0;
pub(crate) const O_WRONLY: c_int = 1;
pub(crate) const O_CREAT: c_int = 0o100;
pub(crate) const O_EXCL: c_int = 0o200;
pub(crate) const O_PATH: c_int = 0o10_000_000;
pub(crate) const O_CLOEXEC: c_int = 0o2_000_000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: c_int = 0o200_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: c_int = 0o40_000;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 4;
pub(crate) const RESOLVE_BENEATH: u64 = 8;

pub(crate) const CLONE_VM: usize = 0x100;
pub(crate) const CLONE_PIDFD: usize = 0x1000;
pub(crate) const CLONE_NEWNS: usize = 0x2_0000;
pub(crate) const CLONE_NEWUTS: usize = 0x400_0000;
pub(crate) const CLONE_NEWIPC: usize = 0x800_0000;
pub(crate) const CLONE_NEWUSER: usize = 0x1000_0000;
pub(crate) const CLONE_NEWPID: usize = 0x2000_0000;
pub(crate) const CLONE_NEWNET: usize = 0x4000_0000;

pub(crate) const MOUNT_ATTR_RDONLY: u64 = 1;
pub(crate) const MOUNT_ATTR_NOSUID: u64 = 2;
pub(crate) const MOUNT_ATTR_NODEV: u64 = 4;
pub(crate) const MOUNT_ATTR_NOEXEC: u64 = 8;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;

pub(crate) const SIGKILL: i32 = 9;

pub(crate) fn open(dir: c_int, path: &CStr, flags: c_int, mode: u32) -> Result<Fd> {
    let flags = (flags | O_CLOEXEC) as usize;
    // SAFETY: `path` ends in NUL and lives through the call.
    let fd = unsafe { call(number::OPENAT, [dir as usize, at(path), flags, mode as usize, 0, 0]) }?;
    Ok(Fd(fd as c_int))
}

/// Opens by name with a promise about the way there.
pub(crate) fn open2(dir: c_int, path: &CStr, flags: c_int, resolve: u64) -> Result<Fd> {
    let how: [u64; 3] = [(flags | O_CLOEXEC) as u64, 0, resolve];
    for _ in 0..16 {
        // SAFETY: `path` ends in NUL, `how` is as long as told.
        let opened = unsafe {
            call(number::OPENAT2, [dir as usize, at(path), how.as_ptr() as usize, size_of_val(&how), 0, 0])
        };
        match opened {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return Ok(Fd(opened? as c_int)),
        }
    }
    Err(Errno::EAGAIN)
}

pub(crate) fn write(fd: c_int, data: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads within `data`.
    unsafe { call(number::WRITE, [fd as usize, data.as_ptr() as usize, data.len(), 0, 0, 0]) }
}

pub(crate) fn read(fd: c_int, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes within `buffer`.
    unsafe { call(number::READ, [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

pub(crate) fn identity(fd: c_int) -> Result<(u64, u64, u32)> {
    let mut stat = [0u64; 18];
    let empty = c"";
    // SAFETY: `struct stat` is 144 bytes on x86-64 and 128 on aarch64.
    unsafe {
        call(number::NEWFSTATAT, [fd as usize, at(empty), stat.as_mut_ptr() as usize, AT_EMPTY_PATH, 0, 0])
    }?;
    #[cfg(target_arch = "x86_64")]
    let mode = stat[3] as u32;
    #[cfg(target_arch = "aarch64")]
    let mode = stat[2] as u32;
    Ok((stat[0], stat[1], mode))
}

pub(crate) fn make_dir(dir: c_int, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` ends in NUL.
    unsafe { call(number::MKDIRAT, [dir as usize, at(path), mode as usize, 0, 0, 0]) }.map(drop)
}

pub(crate) fn make_symlink(target: &CStr, dir: c_int, path: &CStr) -> Result<()> {
    // SAFETY: both end in NUL.
    unsafe { call(number::SYMLINKAT, [at(target), dir as usize, at(path), 0, 0, 0]) }.map(drop)
}

pub(crate) fn change_dir(dir: c_int) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call(number::FCHDIR, [dir as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn unshare(flags: usize) -> Result<()> {
    // SAFETY: no pointers; no flag here shares or splits memory.
    unsafe { call(number::UNSHARE, [flags, 0, 0, 0, 0, key()]) }.map(drop)
}

pub(crate) fn join(fd: c_int, flags: usize) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call(number::SETNS, [fd as usize, flags, 0, 0, 0, key()]) }.map(drop)
}

/// The number of `AT_EMPTY_PATH`: the descriptor itself.
const AT_EMPTY_PATH: usize = 0x1000;
const AT_RECURSIVE: usize = 0x8000;

/// A detached copy of the mounts at a place, with everything below.
pub(crate) fn clone_tree(fd: c_int) -> Result<Fd> {
    const OPEN_TREE_CLONE: usize = 1;
    let flags = OPEN_TREE_CLONE | O_CLOEXEC as usize | AT_EMPTY_PATH | AT_RECURSIVE;
    // SAFETY: the path is empty and static.
    let tree = unsafe { call(number::OPEN_TREE, [fd as usize, at(c""), flags, 0, 0, key()]) }?;
    Ok(Fd(tree as c_int))
}

pub(crate) fn attach(mount: c_int, place: c_int) -> Result<()> {
    const FROM_EMPTY: usize = 0x4;
    const TO_EMPTY: usize = 0x40;
    let flags = FROM_EMPTY | TO_EMPTY;
    // SAFETY: the paths are empty and static.
    unsafe { call(number::MOVE_MOUNT, [mount as usize, at(c""), place as usize, at(c""), flags, key()]) }
        .map(drop)
}

pub(crate) fn restrict_mount(mount: c_int, attributes: u64, propagation: u64, recursive: bool) -> Result<()> {
    let attr: [u64; 4] = [attributes, 0, propagation, 0];
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is as long as told.
    unsafe {
        call(
            number::MOUNT_SETATTR,
            [mount as usize, at(c""), flags, attr.as_ptr() as usize, size_of_val(&attr), 0],
        )
    }
    .map(drop)
}

/// A new file system of this type, with options, as a detached mount.
pub(crate) fn new_mount(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<Fd> {
    const CLOEXEC: usize = 1;
    const SET_STRING: usize = 1;
    const CREATE: usize = 6;
    // SAFETY: `kind` ends in NUL.
    let context = Fd(unsafe { call(number::FSOPEN, [at(kind), CLOEXEC, 0, 0, 0, key()]) }? as c_int);
    let fs = context.raw() as usize;
    for (name, value) in options {
        // SAFETY: both end in NUL.
        unsafe { call(number::FSCONFIG, [fs, SET_STRING, at(name), at(value), 0, key()]) }?;
    }
    // SAFETY: no pointers but null.
    unsafe { call(number::FSCONFIG, [fs, CREATE, 0, 0, 0, key()]) }?;
    // SAFETY: no pointers.
    let mount = unsafe { call(number::FSMOUNT, [fs, CLOEXEC, attributes as usize, 0, 0, key()]) }?;
    Ok(Fd(mount as c_int))
}

/// Makes the working directory, a mount, the root, and lets the old root go.
pub(crate) fn pivot_here() -> Result<()> {
    const MNT_DETACH: usize = 2;
    let here = at(c".");
    // SAFETY: the paths are static.
    unsafe {
        call(number::PIVOT_ROOT, [here, here, 0, 0, 0, 0])?;
        call(number::UMOUNT2, [here, MNT_DETACH, 0, 0, 0, 0]).map(drop)
    }
}

pub(crate) fn set_host_name(name: &CStr) -> Result<()> {
    // SAFETY: the length is that of the name.
    unsafe { call(number::SETHOSTNAME, [at(name), name.count_bytes(), 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn process_control(option: usize, args: [usize; 4]) -> Result<usize> {
    // SAFETY: only options without pointers are used here.
    unsafe { call(number::PRCTL, [option, args[0], args[1], args[2], args[3], 0]) }
}

pub(crate) fn drop_capabilities() -> Result<()> {
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    // SAFETY: version 3 takes two sets of three words.
    unsafe { call(number::CAPSET, [header.as_ptr() as usize, none.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn filter(program: &[u64]) -> Result<()> {
    const SET_MODE_FILTER: usize = 1;
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const u64,
    }
    let program = Program { len: program.len() as u16, filter: program.as_ptr() };
    // SAFETY: an instruction is eight bytes, and there are as many as told.
    unsafe { call(number::SECCOMP, [SET_MODE_FILTER, 0, (&raw const program) as usize, 0, 0, 0]) }.map(drop)
}

pub(crate) fn ruleset(files: u64, network: u64, scopes: u64, length: usize) -> Result<Fd> {
    let attr = [files, network, scopes];
    // SAFETY: no more than the three words is read.
    let fd = unsafe {
        let length = length.min(size_of_val(&attr));
        call(number::LANDLOCK_CREATE_RULESET, [attr.as_ptr() as usize, length, 0, 0, 0, 0])
    }?;
    Ok(Fd(fd as c_int))
}

pub(crate) fn landlock_version() -> Result<u32> {
    const VERSION: usize = 1;
    // SAFETY: no pointers but null.
    unsafe { call(number::LANDLOCK_CREATE_RULESET, [0, 0, VERSION, 0, 0, 0]) }.map(|version| version as u32)
}

pub(crate) fn allow_beneath(ruleset: c_int, place: c_int, access: u64) -> Result<()> {
    const PATH_BENEATH: usize = 1;
    let mut attr = [0u8; 12];
    attr[..8].copy_from_slice(&access.to_ne_bytes());
    attr[8..].copy_from_slice(&place.to_ne_bytes());
    // SAFETY: the attribute is packed: eight bytes of rights, four of descriptor.
    unsafe {
        call(number::LANDLOCK_ADD_RULE, [ruleset as usize, PATH_BENEATH, attr.as_ptr() as usize, 0, 0, 0])
    }
    .map(drop)
}

pub(crate) fn restrict(ruleset: c_int) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call(number::LANDLOCK_RESTRICT_SELF, [ruleset as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn loopback_up() -> Result<()> {
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP_RUNNING: u16 = 0x41;
    let socket = socket(2, 1)?;
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&IFF_UP_RUNNING.to_ne_bytes());
    // SAFETY: `struct ifreq` is 40 bytes.
    unsafe { call(number::IOCTL, [socket.raw() as usize, SIOCSIFFLAGS, request.as_ptr() as usize, 0, 0, 0]) }
        .map(drop)
}

fn socket(domain: usize, kind: usize) -> Result<Fd> {
    const SOCK_CLOEXEC: usize = 0o2_000_000;
    // SAFETY: no pointers.
    let fd = unsafe { call(number::SOCKET, [domain, kind | SOCK_CLOEXEC, 0, 0, 0, 0]) }?;
    Ok(Fd(fd as c_int))
}

pub(crate) fn listen(port: u16) -> Result<Fd> {
    let socket = socket(2, 1)?;
    let mut address = [0u8; 16];
    address[..2].copy_from_slice(&2u16.to_ne_bytes());
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    let fd = socket.raw() as usize;
    // SAFETY: the address is as long as told.
    unsafe {
        call(number::BIND, [fd, address.as_ptr() as usize, address.len(), 0, 0, 0])?;
        call(number::LISTEN, [fd, 128, 0, 0, 0, 0])?;
    }
    Ok(socket)
}

/// One message of a packet socket; its whole length, also where the buffer was too short.
pub(crate) fn receive(socket: c_int, buffer: &mut [u8]) -> Result<usize> {
    const MSG_TRUNC: usize = 0x20;
    loop {
        // SAFETY: the kernel writes within the buffer.
        let read = unsafe {
            call(
                number::RECVFROM,
                [socket as usize, buffer.as_mut_ptr() as usize, buffer.len(), MSG_TRUNC, 0, 0],
            )
        };
        if read != Err(Errno::EINTR) {
            return read;
        }
    }
}

/// Sends one message, with a descriptor where there is one.
pub(crate) fn send(socket: c_int, data: &[u8], with: Option<c_int>) -> Result<()> {
    const MSG_NOSIGNAL: usize = 0x4000;
    #[repr(C)]
    struct Message {
        name: *const c_void,
        name_len: u32,
        iov: *const [usize; 2],
        iov_len: usize,
        control: *const Control,
        control_len: usize,
        flags: c_int,
    }
    #[repr(C)]
    struct Control {
        len: usize,
        level: c_int,
        kind: c_int,
        fd: c_int,
        pad: c_int,
    }
    let iov = [data.as_ptr() as usize, data.len()];
    let control = Control { len: 20, level: 1, kind: 1, fd: with.unwrap_or(-1), pad: 0 };
    let message = Message {
        name: core::ptr::null(),
        name_len: 0,
        iov: &raw const iov,
        iov_len: 1,
        control: if with.is_some() { &raw const control } else { core::ptr::null() },
        control_len: if with.is_some() { size_of::<Control>() } else { 0 },
        flags: 0,
    };
    // SAFETY: the message and all that it points at live through the call.
    unsafe { call(number::SENDMSG, [socket as usize, (&raw const message) as usize, MSG_NOSIGNAL, 0, 0, 0]) }
        .map(drop)
}

pub(crate) fn close_all() {
    // SAFETY: no pointers; whoever calls this uses no descriptor afterwards.
    let _ = unsafe { call(number::CLOSE_RANGE, [0, u32::MAX as usize, 0, 0, 0, 0]) };
}

pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: no pointers.
    unsafe { call(number::KILL, [pid as usize, signal as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn wait(pid: i32) -> Result<i32> {
    const WALL: usize = 0x4000_0000;
    let mut status = 0i32;
    loop {
        // SAFETY: the kernel writes the status.
        let waited =
            unsafe { call(number::WAIT4, [pid as usize, (&raw mut status) as usize, WALL, 0, 0, 0]) };
        match waited {
            Err(Errno::EINTR) => {}
            waited => return waited.map(|_| status),
        }
    }
}

pub(crate) fn has_children() -> bool {
    const WNOHANG: usize = 1;
    const WALL: usize = 0x4000_0000;
    let mut status = 0_i32;
    // SAFETY: the kernel writes the status.
    let waited =
        unsafe { call(number::WAIT4, [usize::MAX, (&raw mut status) as usize, WNOHANG | WALL, 0, 0, 0]) };
    waited != Err(Errno::ECHILD)
}

/// Whether a child, of any kind, has ended. It stays on the books.
pub(crate) fn has_ended(pid: i32) -> bool {
    const P_PID: usize = 1;
    const WNOHANG: usize = 1;
    const WEXITED: usize = 4;
    const WNOWAIT: usize = 0x100_0000;
    const WALL: usize = 0x4000_0000;
    // The kernel's record, whose first word is the signal: none, where nothing has ended.
    let mut record = [0_i32; 32];
    let options = WEXITED | WNOHANG | WNOWAIT | WALL;
    // SAFETY: the kernel writes within the record.
    let waited =
        unsafe { call(number::WAITID, [P_PID, pid as usize, record.as_mut_ptr() as usize, options, 0, 0]) };
    waited.is_err() || record.first() != Some(&0)
}

pub(crate) fn list(dir: c_int, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes within the buffer.
    unsafe { call(number::GETDENTS64, [dir as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0]) }
}

/// Whether a file has attributes that its owner may have given it.
pub(crate) fn has_attributes(fd: c_int) -> bool {
    let mut names = [0_u8; 256];
    // SAFETY: the kernel writes within the buffer.
    let listed =
        unsafe { call(number::FLISTXATTR, [fd as usize, names.as_mut_ptr() as usize, names.len(), 0, 0, 0]) };
    match listed {
        Ok(length) => {
            let names = names.get(..length).unwrap_or_default();
            let mut given = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            // Those of a security module are the kernel's.
            given.any(|name| !name.starts_with(b"security."))
        }
        Err(errno) => errno != Errno::EOPNOTSUPP,
    }
}

/// Whether this ipc namespace holds nothing of System V.
pub(crate) fn has_no_shared_objects() -> bool {
    const SHM_INFO: usize = 14;
    const SEM_INFO: usize = 19;
    const MSG_INFO: usize = 12;
    // Longer than each of the three records; the first word of each is, or says, how many there are.
    let mut info = [[0_i32; 32]; 3];
    let [shared, semaphores, messages] = info.each_mut().map(|info| info.as_mut_ptr() as usize);
    // SAFETY: the kernel writes within the records.
    let told = unsafe {
        [
            call(number::SHMCTL, [0, SHM_INFO, shared, 0, 0, 0]),
            call(number::SEMCTL, [0, 0, SEM_INFO, semaphores, 0, 0]),
            call(number::MSGCTL, [0, MSG_INFO, messages, 0, 0, 0]),
        ]
    };
    let [[shared, ..], semaphores, [messages, ..]] = info;
    // `semusz`, the eighth of its numbers.
    told.iter().all(Result::is_ok) && shared == 0 && semaphores[7] == 0 && messages == 0
}

pub(crate) fn ignore_children() -> Result<()> {
    const SIGCHLD: usize = 17;
    const SIG_IGN: usize = 1;
    let action: [usize; 4] = [SIG_IGN, 0, 0, 0];
    // SAFETY: the kernel's `struct sigaction` is four words at most.
    unsafe { call(number::RT_SIGACTION, [SIGCHLD, action.as_ptr() as usize, 0, 8, 0, 0]) }.map(drop)
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: no pointers.
        let _ = unsafe { call(number::EXIT, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Sleeps while a word has this value, and for this long at most: below a second, or without a bound.
pub(crate) fn sleep_while(
    word: &core::sync::atomic::AtomicU32,
    value: u32,
    most: Option<core::time::Duration>,
) {
    let time: [i64; 2] = [0, most.map_or(0, |most| most.subsec_nanos().into())];
    let time = if most.is_some() { time.as_ptr() as usize } else { 0 };
    // SAFETY: the word and the time live through the call.
    let _ = unsafe { call(number::FUTEX, [word.as_ptr() as usize, 0, value as usize, time, 0, 0]) };
}

pub(crate) fn wake(word: &core::sync::atomic::AtomicU32) {
    // SAFETY: the word lives through the call.
    let _ = unsafe { call(number::FUTEX, [word.as_ptr() as usize, 1, 1, 0, 0, 0]) };
}

fn at(text: &CStr) -> usize {
    text.as_ptr() as usize
}
