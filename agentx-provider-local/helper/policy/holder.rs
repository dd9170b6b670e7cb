//! Fresh namespaces, made ahead of the command that gets them.
//!
//! A holder is the first process of a pid namespace. It shares the helper's memory, makes the other namespaces for
//! itself while the helper goes on, and then sleeps. A command is started into its namespaces as a second process, so
//! that signals mean to it what they mean everywhere; what the command leaves behind belongs to the holder. When the
//! holder is killed, the kernel ends all of it.
//!
//! Namespaces are dear, and those in which nothing is left are as good as new, since a command has no right to change
//! them. So a holder without children waits for the next command, if its `/tmp` is as it was, no connection in its network
//! and nothing in its ipc namespace, where things last that no process holds. Otherwise it is ended. A network
//! costs more than all else together, and is judged by itself: the next holder may take it from one that was ended.
#![expect(unsafe_code, reason = "starts a process that shares memory")]

use std::{
    cell::UnsafeCell,
    collections::{HashMap, VecDeque},
    ffi::{CString, c_int, c_void},
    os::fd::RawFd,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
    time::Duration,
};

use super::{
    Failure, namespaces,
    plan::{Namespaces, Network, Scratch},
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

/// How many are made ahead, and how many are kept.
const READY: usize = 2;
const MAX_READY: usize = 16;
/// How many networks are kept for later.
const MAX_NETWORKS: usize = 64;
/// How often the helper looks whether one that is to get ready still lives: ten seconds in all.
const PATIENCE: usize = 500;
const LOOK: Duration = Duration::from_millis(20);
const STACK: usize = 16 << 10;

const MAKING: u32 = 0;
const MADE: u32 = 1;
const FAILED: u32 = 2;
/// The helper's word to a holder that waits: look whether anything is left.
const RENEW: u32 = 3;
/// In the place of a network's descriptor.
const NONE: RawFd = -1;

/// Namespaces for one command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pid: u32,
    handle: RawFd,
    flags: usize,
}

#[derive(Debug)]
pub(super) struct Pool {
    ready: VecDeque<Holder>,
    /// All holders that are not off the books, with what they use.
    slots: HashMap<u32, Used>,
    /// Memory of holders that are dead.
    free: Vec<Box<Slot>>,
    /// Networks without a holder.
    networks: Vec<Fd>,
    /// The helper's own pid namespace.
    home: Fd,
    flags: usize,
    scratch: Option<Scratch>,
}

#[derive(Debug)]
struct Used {
    slot: Box<Slot>,
    /// What [`Holder`] names.
    _handle: Fd,
    network: Option<Fd>,
}

/// What a holder and the helper share.
#[derive(Debug)]
#[repr(align(16))]
struct Slot {
    stack: UnsafeCell<[u8; STACK]>,
    state: AtomicU32,
    errno: AtomicU32,
    /// The network to take; none, where the holder has made one.
    network: AtomicI32,
    flags: usize,
    scratch: Option<Scratch>,
}

impl Holder {
    /// The process that everything in these namespaces descends from, the command itself aside.
    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    pub(super) fn join(self) -> sys::Result<()> {
        sys::join(self.handle, self.flags)
    }
}

impl Pool {
    pub(super) fn new(namespaces: &Namespaces) -> Result<Self, Failure> {
        let home = sys::open(sys::AT_FDCWD, c"/proc/self/ns/pid", sys::O_RDONLY, 0)
            .map_err(Failure::of("open the helper's pid namespace"))?;
        // Whoever listens for the commands' connections does so in the helper's network.
        let network = if namespaces.network == Network::Loopback { sys::CLONE_NEWNET } else { 0 };
        let mut pool = Self {
            ready: VecDeque::new(),
            slots: HashMap::new(),
            free: Vec::new(),
            networks: Vec::new(),
            home,
            flags: namespaces::of_a_command() | network,
            scratch: namespaces.scratch.clone(),
        };
        // What can't be made is told at the start. More are made when there are commands.
        let first = pool.take()?;
        pool.return_home()?;
        pool.ready.push_front(first);
        Ok(pool)
    }

    /// Namespaces that are ready. The next child is cloned into their pid namespace.
    pub(super) fn take(&mut self) -> Result<Holder, Failure> {
        let holder = loop {
            let Some(holder) = self.ready.pop_front() else { break self.make()? };
            // One that was used and can't be again is not missed.
            if self.wait_for(holder).is_ok() {
                break holder;
            }
            self.end(holder.pid);
        };
        let ready = self.wait_for(holder).and_then(|()| self.keep_network(holder));
        match ready.and_then(|()| sys::join(holder.handle, sys::CLONE_NEWPID)) {
            Ok(()) => Ok(holder),
            Err(errno) => {
                self.end(holder.pid);
                Err(Failure::of("make namespaces for a command")(errno))
            }
        }
    }

    /// Later children are cloned into the helper's own pid namespace again.
    pub(super) fn return_home(&self) -> Result<(), Failure> {
        sys::join(self.home.raw(), sys::CLONE_NEWPID)
            .map_err(Failure::of("return to the helper's pid namespace"))
    }

    pub(super) fn refill(&mut self) -> Result<(), Failure> {
        while self.ready.len() < READY {
            let holder = self.make()?;
            self.ready.push_back(holder);
        }
        Ok(())
    }

    /// Nothing of the command is left. Its namespaces wait for another.
    pub(super) fn release(&mut self, holder: Holder) {
        let Some(Used { slot, .. }) = self.slots.get(&holder.pid) else { return };
        if self.ready.len() >= MAX_READY {
            return self.end(holder.pid);
        }
        slot.state.store(RENEW, Ordering::Release);
        sys::wake(&slot.state);
        self.ready.push_back(holder);
    }

    pub(super) fn owns(&self, pid: u32) -> bool {
        self.slots.contains_key(&pid)
    }

    /// Kills all that lives in these namespaces.
    pub(super) fn end(&self, pid: u32) {
        if self.owns(pid) {
            // An error means that it is dead.
            let _ = sys::kill(pid.cast_signed(), sys::SIGKILL);
        }
    }

    pub(super) fn end_all(&mut self) {
        self.ready.clear();
        for pid in self.slots.keys() {
            let _ = sys::kill(pid.cast_signed(), sys::SIGKILL);
        }
    }

    /// A holder is dead, and all in its namespaces with it.
    pub(super) fn reaped(&mut self, pid: u32) {
        if let Some(Used { slot, network, .. }) = self.slots.remove(&pid) {
            self.ready.retain(|holder| holder.pid != pid);
            self.free.push(slot);
            if self.networks.len() < MAX_NETWORKS {
                self.networks.extend(network);
            }
        }
    }

    fn wait_for(&self, holder: Holder) -> sys::Result<()> {
        let Some(Used { slot, .. }) = self.slots.get(&holder.pid) else { return Err(Errno::ESRCH) };
        for _ in 0..PATIENCE {
            match slot.state.load(Ordering::Acquire) {
                // One that was killed, by the system, say, will never answer.
                MAKING | RENEW if sys::has_ended(holder.pid.cast_signed()) => return Err(Errno::ESRCH),
                state @ (MAKING | RENEW) => sys::sleep_while(&slot.state, state, Some(LOOK)),
                MADE => return Ok(()),
                _ => return Err(Errno(slot.errno.load(Ordering::Acquire).cast_signed())),
            }
        }
        Err(Errno::ETIMEDOUT)
    }

    /// Holds a network that the holder has made, for others after it.
    fn keep_network(&mut self, holder: Holder) -> sys::Result<()> {
        let Some(used) = self.slots.get_mut(&holder.pid) else { return Err(Errno::ESRCH) };
        if self.flags & sys::CLONE_NEWNET != 0 && used.slot.network.load(Ordering::Acquire) == NONE {
            let path = CString::new(format!("/proc/{}/ns/net", holder.pid)).map_err(|_| Errno::EINVAL)?;
            let network = sys::open(sys::AT_FDCWD, &path, sys::O_RDONLY, 0)?;
            // Once for all commands.
            used.slot.network.store(network.raw(), Ordering::Release);
            used.network = Some(network);
        }
        Ok(())
    }

    fn make(&mut self) -> Result<Holder, Failure> {
        let mut slot = self.free.pop().unwrap_or_else(|| {
            Box::new(Slot {
                stack: UnsafeCell::new([0; STACK]),
                state: AtomicU32::new(MAKING),
                errno: AtomicU32::new(0),
                network: AtomicI32::new(NONE),
                flags: self.flags,
                scratch: self.scratch.clone(),
            })
        });
        let network = self.networks.pop();
        slot.state.store(MAKING, Ordering::Release);
        slot.network.store(network.as_ref().map_or(NONE, Fd::raw), Ordering::Release);
        let mut handle: c_int = NONE;
        // As an unlocked call of its own: the filter would have to let everybody clone so.
        sys::unshare(sys::CLONE_NEWPID).map_err(Failure::of("make a pid namespace"))?;
        let flags = sys::CLONE_VM | sys::CLONE_PIDFD;
        let top = slot.stack.get_mut().as_mut_ptr_range().end.cast::<c_void>();
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "flags of 32 bits")]
        // SAFETY: the stack is the holder's alone, and lives with the slot until the holder is off the books.
        let pid = unsafe { clone(hold, top, flags as c_int, (&raw mut *slot).cast(), &raw mut handle) };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(Errno::EINVAL.0);
        let home = self.return_home();
        let Ok(pid) = u32::try_from(pid) else {
            self.free.push(slot);
            return Err(Failure::of("start a process for namespaces")(Errno(errno)));
        };
        self.slots.insert(pid, Used { slot, _handle: Fd::own(handle), network });
        home.inspect_err(|_| self.end(pid))?;
        Ok(Holder { pid, handle, flags: self.flags })
    }
}

/// The life of a holder. It may use nothing that the helper uses meanwhile: no allocation, no `errno`.
extern "C" fn hold(slot: *mut c_void) -> c_int {
    // SAFETY: `make` gave a slot, which outlives this process. What both use of it is atomic.
    let slot = unsafe { &*slot.cast::<Slot>() };
    tell(slot, namespaces::die_with_parent().and_then(|()| make_namespaces(slot)));
    let queues = view::queues();
    loop {
        match slot.state.load(Ordering::Acquire) {
            RENEW => tell(slot, is_as_new(slot, queues.as_ref())),
            state => sys::sleep_while(&slot.state, state, None),
        }
    }
}

fn tell(slot: &Slot, outcome: sys::Result<()>) {
    match outcome {
        Ok(()) => slot.state.store(MADE, Ordering::Release),
        Err(errno) => {
            slot.errno.store(errno.0.cast_unsigned(), Ordering::Release);
            slot.state.store(FAILED, Ordering::Release);
        }
    }
    sys::wake(&slot.state);
}

/// It keeps its capabilities, which it has no use for later: without them a command could look into its memory.
fn make_namespaces(slot: &Slot) -> sys::Result<()> {
    let network = slot.network.load(Ordering::Acquire);
    if network != NONE {
        sys::join(network, sys::CLONE_NEWNET)?;
    }
    // Nothing of the helper's is held open here: its end must be seen by whoever waits for it.
    sys::close_all();
    sys::ignore_children()?;
    sys::unshare(slot.flags & !sys::CLONE_NEWNET)?;
    view::refresh(slot.scratch.as_ref())?;
    if slot.flags & sys::CLONE_NEWNET != 0 && (network == NONE || !network_is_unused()) {
        slot.network.store(NONE, Ordering::Release);
        sys::unshare(sys::CLONE_NEWNET)?;
        sys::loopback_up()?;
    }
    Ok(())
}

/// Fails where something is left in namespaces that a command has used.
fn is_as_new(slot: &Slot, queues: Result<&Fd, &Errno>) -> sys::Result<()> {
    let is_unused = match &slot.scratch {
        // What is mounted in it would have to be told from what was left.
        Some(scratch) => scratch.places.is_empty() && view::is_unused(&scratch.path)?,
        None => true,
    };
    let has_network = slot.flags & sys::CLONE_NEWNET != 0;
    let is_as_new = is_unused
        && !sys::has_children()
        && (!has_network || network_is_unused())
        && sys::has_no_shared_objects()
        && has_no_queues(queues);
    if is_as_new { Ok(()) } else { Err(Errno::EBUSY) }
}

/// Whether no message queue is left.
fn has_no_queues(queues: Result<&Fd, &Errno>) -> bool {
    let mut entries = [0_u8; 128];
    match queues {
        // `.` and `..`, as in `view::is_unused`.
        Ok(queues) => sys::open(queues.raw(), c".", sys::O_RDONLY | sys::O_DIRECTORY, 0)
            .and_then(|dir| sys::list(dir.raw(), &mut entries))
            .is_ok_and(|length| length <= 48),
        // The kernel has none at all.
        Err(errno) => *errno == Errno::ENODEV,
    }
}

/// Whether no socket is left in this network, nor a connection that waits for its end.
fn network_is_unused() -> bool {
    let mut text = [0; 512];
    let read = sys::open(sys::AT_FDCWD, c"/proc/self/net/sockstat", sys::O_RDONLY, 0)
        .and_then(|file| sys::read(file.raw(), &mut text));
    let Ok(length) = read else { return false };
    let mut lines = text.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
    // Of what the second line counts, `orphan` is the whole machine's.
    lines.next() == Some(b"sockets: used 0")
        && lines.next().is_some_and(|tcp| {
            tcp.starts_with(b"TCP: inuse 0 ") && tcp.windows(6).any(|word| word == b" tw 0 ")
        })
}
