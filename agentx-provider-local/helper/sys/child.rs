//! The calls that a child makes before it executes its program. All of them are safe after a `fork`.

use std::marker::PhantomData;

use super::{
    AsRawFd, BorrowedFd, CStr, Limit, PR_SET_PDEATHSIG, SIG_SETMASK, SIGKILL, SignalSet, TIOCSCTTY, c_char,
    c_int, c_uint, c_ulong, check, errno, ptr,
};

pub(crate) fn new_session() -> Result<(), i32> {
    // SAFETY: takes nothing.
    check(unsafe { super::setsid() }).map(drop)
}

/// Dies with the helper.
///
/// # Errors
/// `ESRCH` when the helper is dead already.
pub(crate) fn die_with_parent(helper: u32) -> Result<(), i32> {
    // SAFETY: takes numbers.
    check(unsafe { super::prctl(PR_SET_PDEATHSIG, SIGKILL as c_ulong) })?;
    // SAFETY: takes nothing. In a pid namespace of its own it sees no parent, and is ended with the helper's.
    let parent = unsafe { super::getppid() }.unsigned_abs();
    if parent == 0 || parent == helper { Ok(()) } else { Err(super::ESRCH) }
}

/// Makes the terminal at standard input the one of this session.
pub(crate) fn take_terminal() -> Result<(), i32> {
    // SAFETY: takes numbers.
    check(unsafe { super::ioctl(0, TIOCSCTTY, 0) }).map(drop)
}

/// Makes `from` the handle number `to`, kept over execution.
pub(crate) fn place(from: BorrowedFd<'_>, to: c_int) -> Result<(), i32> {
    // SAFETY: the helper owns none of the first three numbers but as nothing.
    check(unsafe { super::dup2(from.as_raw_fd(), to) }).map(drop)
}

pub(crate) fn enter_directory(directory: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: takes a number.
    check(unsafe { super::fchdir(directory.as_raw_fd()) }).map(drop)
}

pub(crate) fn limit(resource: c_uint, soft: u64, hard: u64) -> Result<(), i32> {
    let limit = Limit { soft, hard };
    // SAFETY: the record outlives the call.
    check(unsafe { super::prlimit(0, resource, &raw const limit, ptr::null_mut()) }).map(drop)
}

pub(crate) fn unblock_signals() -> Result<(), i32> {
    // SAFETY: the set outlives the call.
    check(unsafe { super::sigprocmask(SIG_SETMASK, &SignalSet::NONE, ptr::null_mut()) }).map(drop)
}

/// C strings in an array as `execve` takes it.
pub(crate) struct Strings<'a>(Vec<*const c_char>, PhantomData<&'a CStr>);

impl<'a> Strings<'a> {
    pub(crate) fn new(strings: impl Iterator<Item = &'a CStr>) -> Self {
        Self(strings.map(CStr::as_ptr).chain([ptr::null()]).collect(), PhantomData)
    }
}

/// Executes a program, and comes back with what prevents it.
pub(crate) fn execute(file: &CStr, args: &Strings<'_>, env: &Strings<'_>) -> i32 {
    // SAFETY: all are C strings that outlive the call, and the arrays end with a null.
    unsafe { super::execve(file.as_ptr(), args.0.as_ptr(), env.0.as_ptr()) };
    errno()
}
