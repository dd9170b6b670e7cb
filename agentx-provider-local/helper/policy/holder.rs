//! Fresh namespaces, made ahead of the command that gets them.
//!
//! A holder is the first process of a pid namespace. It shares the helper's memory, makes the other namespaces for
//! itself while the helper goes on, and then sleeps. A command is started into its namespaces as a second process, so
//! that signals mean to it what they mean everywhere; what the command leaves behind belongs to the holder. When the
//! holder is killed, the kernel ends all of it.

use std::{
    cell::UnsafeCell,
    collections::VecDeque,
    ffi::{CString, c_int, c_void},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    Failure, namespaces,
    plan::{Namespaces, Network},
    sys::{self, Errno, Fd},
    view,
};

unsafe extern "C" {
    fn clone(
        entry: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
        flags: c_int,
        arg: *mut c_void,
        ...
    ) -> c_int;
}

/// How many are kept ready.
const READY: usize = 2;
/// How many seconds one may take to get ready.
const PATIENCE: usize = 10;
const STACK: usize = 32 << 10;

const MAKING: u32 = 0;
const MADE: u32 = 1;
const FAILED: u32 = 2;

/// Namespaces for one command.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    handle: Fd,
    flags: usize,
    slot: Box<Slot>,
}

/// What a holder and the helper share.
#[derive(Debug)]
#[repr(align(16))]
struct Slot {
    stack: UnsafeCell<[u8; STACK]>,
    state: AtomicU32,
    errno: AtomicU32,
    flags: usize,
    scratch: Option<(CString, u64)>,
}

#[derive(Debug)]
pub struct Pool {
    ready: VecDeque<Holder>,
    /// Memory of holders that are dead.
    free: Vec<Box<Slot>>,
    /// The helper's own pid namespace.
    home: Fd,
    flags: usize,
    scratch: Option<(CString, u64)>,
}

impl Pool {
    pub fn new(namespaces: &Namespaces) -> Result<Self, Failure> {
        let home = sys::open(sys::AT_FDCWD, c"/proc/self/ns/pid", sys::O_RDONLY, 0)
            .map_err(Failure::of("open the helper's pid namespace"))?;
        // Whoever listens for the commands' connections does so in the helper's network.
        let network = if namespaces.network == Network::Loopback { sys::CLONE_NEWNET } else { 0 };
        let flags = namespaces::of_a_command() | network;
        let mut pool = Self {
            ready: VecDeque::new(),
            free: Vec::new(),
            home,
            flags,
            scratch: namespaces.scratch.clone(),
        };
        pool.refill()?;
        // What can't be made is told at the start.
        let first = pool.take()?;
        pool.return_home()?;
        pool.ready.push_front(first);
        Ok(pool)
    }

    /// Namespaces that are ready. The next child is cloned into their pid namespace.
    pub fn take(&mut self) -> Result<Holder, Failure> {
        let holder = match self.ready.pop_front() {
            Some(holder) => holder,
            None => self.make()?,
        };
        for _ in 0..PATIENCE {
            match holder.slot.state.load(Ordering::Acquire) {
                MAKING => sys::sleep_while(&holder.slot.state, MAKING),
                MADE => {
                    return match sys::join(holder.handle.raw(), sys::CLONE_NEWPID) {
                        Ok(()) => Ok(holder),
                        Err(errno) => Err(self.give_up(holder, errno)),
                    };
                }
                _ => break,
            }
        }
        let errno = match holder.slot.errno.load(Ordering::Acquire) {
            0 => Errno::ETIMEDOUT,
            errno => Errno(errno as i32),
        };
        Err(self.give_up(holder, errno))
    }

    /// Later children are cloned into the helper's own pid namespace again.
    pub fn return_home(&mut self) -> Result<(), Failure> {
        sys::join(self.home.raw(), sys::CLONE_NEWPID)
            .map_err(Failure::of("return to the helper's pid namespace"))
    }

    pub fn refill(&mut self) -> Result<(), Failure> {
        while self.ready.len() < READY {
            let holder = self.make()?;
            self.ready.push_back(holder);
        }
        Ok(())
    }

    /// Kills all that lives in these namespaces, and returns when it is dead.
    pub fn end(&mut self, holder: Holder) {
        // An error means that it is dead.
        let _ = sys::kill(holder.pid, sys::SIGKILL);
        let _ = sys::wait(holder.pid);
        self.free.push(holder.slot);
    }

    fn give_up(&mut self, holder: Holder, errno: Errno) -> Failure {
        self.end(holder);
        Failure::of("make namespaces for a command")(errno)
    }

    fn make(&mut self) -> Result<Holder, Failure> {
        let mut slot = self.free.pop().unwrap_or_else(|| {
            let state = AtomicU32::new(MAKING);
            let (errno, scratch) = (AtomicU32::new(0), self.scratch.clone());
            Box::new(Slot { stack: UnsafeCell::new([0; STACK]), state, errno, flags: self.flags, scratch })
        });
        slot.state.store(MAKING, Ordering::Release);
        slot.errno.store(0, Ordering::Release);
        let mut handle: c_int = -1;
        let flags = (sys::CLONE_VM | sys::CLONE_NEWPID | sys::CLONE_PIDFD) as c_int;
        let top = slot.stack.get_mut().as_mut_ptr_range().end.cast::<c_void>();
        // SAFETY: the stack is the holder's alone, and lives with the slot until the holder is dead.
        let pid = unsafe { clone(hold, top, flags, (&raw mut *slot).cast(), &raw mut handle) };
        if pid < 0 {
            self.free.push(slot);
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(Errno::EINVAL.0);
            return Err(Failure::of("start a process for namespaces")(Errno(errno)));
        }
        Ok(Holder { pid, handle: Fd::own(handle), flags: self.flags, slot })
    }
}

impl Holder {
    /// The process that everything in these namespaces descends from, the command itself aside.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn join(&self) -> sys::Result<()> {
        sys::join(self.handle.raw(), self.flags)
    }
}

/// The life of a holder. It may use nothing that the helper uses meanwhile: no allocation, no `errno`.
extern "C" fn hold(slot: *mut c_void) -> c_int {
    // SAFETY: `make` gave a slot, which outlives this process.
    let slot = unsafe { &*slot.cast::<Slot>() };
    let made = namespaces::die_with_parent().and_then(|()| make_namespaces(slot));
    match made {
        Ok(()) => slot.state.store(MADE, Ordering::Release),
        Err(errno) => {
            slot.errno.store(errno.0 as u32, Ordering::Release);
            slot.state.store(FAILED, Ordering::Release);
        }
    }
    sys::wake(&slot.state);
    loop {
        sys::pause();
    }
}

fn make_namespaces(slot: &Slot) -> sys::Result<()> {
    // Nothing of the helper's is held open here: its end must be seen by whoever waits for it.
    sys::close_all();
    sys::ignore_children()?;
    sys::unshare(slot.flags)?;
    view::refresh(slot.scratch.as_ref().map(|(path, size)| (path.as_c_str(), *size)))?;
    // It keeps its capabilities, which it has no use for: without them a command could look into its memory.
    if slot.flags & sys::CLONE_NEWNET != 0 { sys::loopback_up() } else { Ok(()) }
}
