//! What a command may do and see, put into force.
//!
//! [`Policy::enter`] and [`Policy::lock`] do once what holds for all commands of the helper, [`Bonds::bind`] does in
//! each child what holds for it alone. Whatever fails stops the start: a command runs under the whole policy or not at
//! all.
//!
//! Order matters. The maps of a user namespace and the mounts come before Landlock, which denies both; the filter comes
//! last, since it denies nearly all that the steps before it need.

#[path = "../../src/process/isolation/decode.rs"]
mod decode;
mod holder;
mod namespaces;
#[path = "../../src/process/isolation/plan.rs"]
mod plan;
mod rules;
mod sys;
mod view;

use std::{
    ffi::CStr,
    fmt,
    os::fd::{AsRawFd, IntoRawFd, OwnedFd},
    sync::Arc,
};

pub(crate) use self::holder::Holder;
use self::{
    holder::Pool,
    plan::{Namespaces, Network, Plan},
    sys::{Errno, Fd},
};

/// The longest plan in bytes.
const MAX_PLAN: usize = 1 << 20;

/// What holds for the commands of this helper.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    namespaces: Option<Namespaces>,
    /// For the helper and all that it starts.
    filter: Vec<u64>,
    bonds: Arc<Bonds>,
    /// Where the host waits for an answer, until it has it.
    answer: Option<Fd>,
    listener: Option<Fd>,
    /// Fresh namespaces, where each command has its own.
    pool: Option<Pool>,
}

/// What each child does to itself. Nothing of it changes, so that a child may read it while the helper goes on.
#[derive(Debug, Default)]
pub(crate) struct Bonds {
    /// What it enters its control groups by.
    groups: Vec<OwnedFd>,
    ruleset: Option<Fd>,
}

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    step: String,
    errno: Errno,
}

impl Failure {
    /// The system's number.
    pub(crate) fn number(&self) -> i32 {
        self.errno.0
    }

    fn of(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { step: step.to_owned(), errno }
    }

    fn at<'a>(step: &'a str, path: &'a CStr) -> impl Fn(Errno) -> Self + 'a {
        move |errno| Self { step: format!("{step} {}", path.to_string_lossy()), errno }
    }
}

impl Policy {
    /// Reads a plan from a packet socket and enters its namespaces: as another process, for which the caller's waits
    /// and as which it ends. Nothing is locked yet. The host is answered where something fails.
    ///
    /// Call it while the program has one thread.
    pub(crate) fn enter(socket: OwnedFd) -> Result<Self, Failure> {
        let socket = Fd::own(socket.into_raw_fd());
        match Self::enter_plan(&socket) {
            Ok(policy) => Ok(Self { answer: Some(socket), ..policy }),
            Err(failure) => Err(refuse(&socket, failure)),
        }
    }

    fn enter_plan(socket: &Fd) -> Result<Self, Failure> {
        let plan = receive(socket)?;
        namespaces::forbid_new_privileges().map_err(Failure::of("forbid new privileges"))?;
        let mut policy = Self::default();
        sys::set_key(plan.key);
        let mut bonds = Bonds::default();
        if let Some(namespaces) = &plan.namespaces {
            namespaces::enter(namespaces)?;
            view::build(namespaces)?;
            if namespaces.network != Network::Host {
                sys::loopback_up().map_err(Failure::of("bring the loopback device up"))?;
            }
            if let Network::Listener(port) = namespaces.network {
                policy.listener =
                    Some(sys::listen(port).map_err(Failure::of("listen on the loopback device"))?);
            }
        }
        if let Some(landlock) = &plan.landlock {
            bonds.ruleset = Some(rules::ruleset(landlock)?);
        }
        let (namespaces, filter, bonds) = (plan.namespaces, plan.filter, Arc::new(bonds));
        Ok(Self { namespaces, filter, bonds, ..policy })
    }

    /// Has each command enter these control groups. Call it before there are any.
    pub(crate) fn set_groups(&mut self, groups: Vec<OwnedFd>) {
        if let Some(bonds) = Arc::get_mut(&mut self.bonds) {
            bonds.groups = groups;
        }
    }

    /// What the children do to themselves.
    pub(crate) fn bonds(&self) -> Arc<Bonds> {
        Arc::clone(&self.bonds)
    }

    /// Locks the helper in, as far as all its commands are to be, and answers the host. What the helper opens once it
    /// has opened by now.
    pub(crate) fn lock(&mut self) -> Result<(), Failure> {
        let Some(socket) = self.answer.take() else { return Ok(()) };
        match self.lock_in() {
            Ok(()) => {
                let listener = self.listener.take();
                let answer = sys::send(socket.raw(), &0_i32.to_le_bytes(), listener.as_ref().map(Fd::raw));
                answer.map_err(Failure::of("answer"))
            }
            Err(failure) => Err(refuse(&socket, failure)),
        }
    }

    fn lock_in(&mut self) -> Result<(), Failure> {
        namespaces::forbid_capabilities().map_err(Failure::of("give up capabilities for good"))?;
        if let Some(namespaces) = self.namespaces.as_ref().filter(|namespaces| namespaces.per_command) {
            // The helper keeps what it needs to make namespaces. Its commands don't see it.
            self.pool = Some(Pool::new(namespaces)?);
            if !self.filter.is_empty() {
                namespaces::forbid_users().map_err(Failure::of("forbid new user namespaces"))?;
            }
            return filter(&self.filter).map_err(Failure::of("install the filter"));
        }
        self.bonds.restrict().map_err(Failure::of("restrict the helper"))?;
        // Commands of the same user must not look into the helper's memory.
        namespaces::hide_memory().map_err(Failure::of("hide the helper's memory"))?;
        filter(&self.filter).map_err(Failure::of("install the filter"))
    }

    /// Whether paths mean something else to commands than to the host. Then a command's directory is opened by
    /// [`Bonds::change_dir`], never by a descriptor of the host, which would lead out.
    pub(crate) fn has_view(&self) -> bool {
        self.namespaces.is_some()
    }

    /// What the next child needs, before it is cloned. Give it to [`Policy::end`] when nothing of the command is to
    /// live.
    pub(crate) fn prepare(&mut self) -> Result<Option<Holder>, Failure> {
        self.pool.as_mut().map(Pool::take).transpose()
    }

    /// After the child was cloned.
    pub(crate) fn cloned(&mut self) -> Result<(), Failure> {
        self.pool.as_ref().map_or(Ok(()), Pool::return_home)
    }

    /// Makes ready what later commands need. Call it when nobody waits.
    pub(crate) fn refill(&mut self) {
        if let Some(pool) = &mut self.pool {
            // What can't be made now is told to the next command.
            let _ = pool.refill();
        }
    }

    /// Ends everything that lives in a command's namespaces. It is dead when its process is off the books.
    pub(crate) fn end(&self, holder: Holder) {
        if let Some(pool) = &self.pool {
            pool.end(holder.pid());
        }
    }

    /// Nothing of a command is left, not even in its namespaces.
    pub(crate) fn release(&mut self, holder: Holder) {
        if let Some(pool) = &mut self.pool {
            pool.release(holder);
        }
    }

    /// Whether this child is none of a command's, but one of the policy's own.
    pub(crate) fn owns(&self, pid: u32) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.owns(pid))
    }

    /// A child was taken off the books.
    pub(crate) fn reaped(&mut self, pid: u32) {
        if let Some(pool) = &mut self.pool {
            pool.reaped(pid);
        }
    }

    /// No command is to come any more.
    pub(crate) fn end_all(&mut self) {
        if let Some(pool) = &mut self.pool {
            pool.end_all();
        }
    }
}

impl Bonds {
    /// Binds the calling child. Allocates nothing and touches nothing of the program that it shares its memory with.
    pub(crate) fn bind(&self, holder: Option<Holder>) -> sys::Result<()> {
        for group in &self.groups {
            sys::write(group.as_raw_fd(), b"0")?;
        }
        match holder {
            Some(holder) => {
                holder.join()?;
                self.restrict()
            }
            // One more layer keeps commands from the helper and from each other. The rest is inherited.
            None if self.ruleset.is_some() => self.restrict(),
            None => Ok(()),
        }
    }

    /// Goes to a directory as commands see it. No part of the path may be a symbolic link.
    pub(crate) fn change_dir(path: &CStr) -> sys::Result<()> {
        let resolve = sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
        let dir = sys::open2(sys::AT_FDCWD, path, sys::O_PATH | sys::O_DIRECTORY, resolve);
        dir.and_then(|dir| sys::change_dir(dir.raw()))
    }

    fn restrict(&self) -> sys::Result<()> {
        if let Some(ruleset) = &self.ruleset {
            sys::restrict(ruleset.raw())?;
        }
        sys::drop_capabilities()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, std::io::Error::from_raw_os_error(self.errno.0))
    }
}

fn filter(program: &[u64]) -> sys::Result<()> {
    if program.is_empty() { Ok(()) } else { sys::filter(program) }
}

/// Tells the host what failed: the number, and the step in words.
fn refuse(socket: &Fd, failure: Failure) -> Failure {
    let mut answer = failure.errno.0.to_le_bytes().to_vec();
    answer.extend_from_slice(failure.step.as_bytes());
    // Whoever does not listen finds out by the end of the helper.
    let _ = sys::send(socket.raw(), &answer, None);
    failure
}

fn receive(socket: &Fd) -> Result<Plan, Failure> {
    let mut bytes = vec![0; MAX_PLAN];
    let length = sys::receive(socket.raw(), &mut bytes).map_err(Failure::of("read the plan"))?;
    let plan = bytes.get(..length).and_then(decode::decode);
    plan.ok_or(Errno::EPROTO).map_err(Failure::of("decode the plan"))
}
