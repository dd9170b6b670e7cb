//! The calls that a child makes before it executes its program. It shares the helper's memory, and the helper may go on
//! meanwhile: nothing here touches more than its own stack.
#![expect(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "a system call takes whole registers"
)]

use super::{
    AsRawFd, BorrowedFd, CStr, Limit, PR_SET_PDEATHSIG, SIG_SETMASK, SIGKILL, TIOCSCTTY, c_char, c_int,
    c_uint,
    call::{Errno, Result, call, number},
    ptr,
};

/// Leads a process group of its own, in the helper's session, which has no terminal.
pub(crate) fn new_group() -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { call(number::SETPGID, [0; 6]) }.map(drop)
}

/// Leads a session of its own, and a process group.
pub(crate) fn new_session() -> Result<()> {
    // SAFETY: takes nothing.
    unsafe { call(number::SETSID, [0; 6]) }.map(drop)
}

/// Dies with the helper.
///
/// # Errors
/// `ESRCH` when the helper is dead already.
pub(crate) fn die_with_parent(helper: u32) -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { call(number::PRCTL, [PR_SET_PDEATHSIG as usize, SIGKILL as usize, 0, 0, 0, 0]) }?;
    // SAFETY: takes nothing. In a pid namespace of its own it sees no parent, and is ended with the helper's.
    let parent = unsafe { call(number::GETPPID, [0; 6]) }?;
    if parent == 0 || parent == helper as usize { Ok(()) } else { Err(Errno::ESRCH) }
}

/// Makes the terminal at standard input the one of this session.
pub(crate) fn take_terminal() -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { call(number::IOCTL, [0, TIOCSCTTY as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Makes `from` the handle number `to`, kept over execution. The helper owns none of the first three numbers but as
/// nothing, so that the two are never the same.
pub(crate) fn place(from: BorrowedFd<'_>, to: c_int) -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { call(number::DUP3, [from.as_raw_fd() as usize, to as usize, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn enter_directory(directory: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: takes a number.
    unsafe { call(number::FCHDIR, [directory.as_raw_fd() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}

pub(crate) fn limit(resource: c_uint, soft: u64, hard: u64) -> Result<()> {
    let limit = Limit { soft, hard };
    // SAFETY: the record outlives the call.
    unsafe { call(number::PRLIMIT64, [0, resource as usize, (&raw const limit) as usize, 0, 0, 0]) }.map(drop)
}

pub(crate) fn unblock_signals() -> Result<()> {
    let none = 0_u64;
    let set = (&raw const none) as usize;
    // SAFETY: the set outlives the call, and is as long as told.
    unsafe { call(number::RT_SIGPROCMASK, [SIG_SETMASK as usize, set, 0, size_of::<u64>(), 0, 0]) }.map(drop)
}

/// C strings in an array as `execve` takes it.
pub(crate) struct Strings {
    /// The strings, each with a NUL behind it. They stay where they are.
    bytes: Vec<u8>,
    /// Into `bytes`, and a null at the end.
    places: Vec<*const c_char>,
}

impl Strings {
    /// A copy of these strings, each of which has a NUL behind it.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut bytes = bytes.to_vec();
        if bytes.last().is_some_and(|last| *last != 0) {
            bytes.push(0);
        }
        let each = bytes.split_inclusive(|byte| *byte == 0);
        let places = each.map(|string| string.as_ptr().cast()).chain([ptr::null()]).collect();
        Self { bytes, places }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CStr> {
        let each = self.bytes.split_inclusive(|byte| *byte == 0);
        each.filter_map(|string| CStr::from_bytes_with_nul(string).ok())
    }
}

/// Executes a program, and comes back with what prevents it.
pub(crate) fn execute(file: &CStr, args: &Strings, env: &Strings) -> Errno {
    let (file, args, env) =
        (file.as_ptr() as usize, args.places.as_ptr() as usize, env.places.as_ptr() as usize);
    // SAFETY: all are C strings that outlive the call, and the arrays end with a null.
    let outcome = unsafe { call(number::EXECVE, [file, args, env, 0, 0, 0]) };
    outcome.err().unwrap_or(Errno::EINVAL)
}

/// Whether there is such a file, as far as the way there can be gone.
pub(crate) fn exists(file: &CStr) -> bool {
    const HERE: isize = -100;
    // SAFETY: a C string that outlives the call.
    unsafe { call(number::FACCESSAT, [HERE as usize, file.as_ptr() as usize, 0, 0, 0, 0]) }.is_ok()
}
