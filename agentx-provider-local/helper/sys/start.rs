//! Starting a process that shares this one's memory until it executes a program.

use std::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    CLONE_CHILD_CLEARTID, CLONE_VM, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, SIGCHLD, c_int,
    c_void, check, clone, errno, mmap, mprotect, ptr,
};

/// What a new process does.
pub(crate) trait Task {
    /// What it comes back with when it has not executed a program.
    type Outcome: Copy;

    /// Runs in the new process while the helper may go on. It may make system calls; it must neither allocate, lock,
    /// panic nor use the C library.
    fn run(&self) -> Self::Outcome;
}

/// A stack for one child at a time, with pages below it that nobody may touch. It is kept for later ones.
pub(crate) struct Stack(*mut c_void);

impl Stack {
    const SIZE: usize = 128 << 10;
    const GUARD: usize = 64 << 10;

    pub(crate) fn new() -> Result<Self, i32> {
        // SAFETY: a new mapping, which nobody else knows of.
        unsafe {
            let flags = MAP_PRIVATE | MAP_ANONYMOUS;
            let start = mmap(ptr::null_mut(), Self::SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
            if start.addr() == usize::MAX {
                return Err(errno());
            }
            check(mprotect(start, Self::GUARD, 0))?;
            Ok(Self(start))
        }
    }
}

/// A new process, until it is done with what it shares. One that is dropped before keeps that for ever.
pub(crate) struct Start<T: Task> {
    pid: u32,
    stack: Stack,
    /// Owned, and given back by [`Start::finish`] alone.
    shared: *mut Shared<T>,
}

struct Shared<T: Task> {
    task: T,
    /// Not zero until the process has executed a program or has ended: the kernel writes it then.
    word: AtomicU32,
    /// The process's, until the word is zero.
    outcome: UnsafeCell<Option<T::Outcome>>,
}

impl<T: Task> Start<T> {
    /// Starts a process, and goes on at once.
    ///
    /// # Errors
    /// The system's number, with the stack.
    pub(crate) fn new(stack: Stack, task: T) -> Result<Self, (i32, Stack)> {
        let shared = Shared { task, word: AtomicU32::new(1), outcome: UnsafeCell::new(None) };
        let shared = Box::into_raw(Box::new(shared));
        let flags = CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD;
        let none = ptr::null_mut::<c_void>();
        // SAFETY: the stack is this child's alone until it is done; its end is its top, and aligned. The shared record
        // stays where it is, and is only read but for what is the child's. The two that are none are not used.
        let pid = unsafe {
            let word = (*shared).word.as_ptr();
            clone(enter::<T>, stack.0.add(Stack::SIZE), flags, shared.cast(), none, none, word)
        };
        match check(pid) {
            Ok(pid) => Ok(Self { pid: pid.unsigned_abs(), stack, shared }),
            Err(errno) => {
                // SAFETY: nobody else has come to know of it.
                drop(unsafe { Box::from_raw(shared) });
                Err((errno, stack))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What the process shared, when it has executed a program or has ended, and what it came back with, if it did.
    ///
    /// # Errors
    /// Itself, when it has done neither yet.
    pub(crate) fn finish(self) -> Result<(Stack, Option<T::Outcome>), Self> {
        // SAFETY: it lives until it is given back below.
        if unsafe { &(*self.shared).word }.load(Ordering::Acquire) != 0 {
            return Err(self);
        }
        // SAFETY: the process does not share this memory any more, and nobody else has it.
        let shared = unsafe { Box::from_raw(self.shared) };
        Ok((self.stack, shared.outcome.into_inner()))
    }
}

extern "C" fn enter<T: Task>(argument: *mut c_void) -> c_int {
    let shared = argument.cast::<Shared<T>>();
    // SAFETY: the helper keeps the record until the word is zero, and leaves the outcome to this process.
    unsafe {
        let outcome = (*shared).task.run();
        *(*shared).outcome.get() = Some(outcome);
    }
    127
}
