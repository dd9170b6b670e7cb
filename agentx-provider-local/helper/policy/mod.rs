//! What a command may do and see, put into force.
//!
//! [`enter`] does once what holds for all commands of the helper, [`Policy::bind`] does in each child what holds for it
//! alone. Whatever fails stops the start: a command runs under the whole policy or not at all.
//!
//! Order matters. The maps of a user namespace and the mounts come before Landlock, which denies both; the filter comes
//! last, since it denies nearly all that the steps before it need.

mod decode;
mod holder;
mod namespaces;
mod plan;
mod rules;
mod sys;
mod view;

use std::{ffi::CStr, fmt};

use self::{
    holder::{Holder, Pool},
    plan::{Network, Plan},
    sys::{Errno, Fd},
};

/// The longest plan in bytes.
const MAX_PLAN: usize = 1 << 20;

/// A policy that holds for this helper.
pub struct Policy {
    filter: Vec<u64>,
    ruleset: Option<Fd>,
    /// Fresh namespaces, where each command has its own.
    pool: Option<Pool>,
    /// Commands see another root than the host.
    has_view: bool,
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    pub step: String,
    pub errno: Errno,
}

impl Failure {
    fn of(step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { step: step.to_owned(), errno }
    }

    fn at<'a>(step: &'a str, path: &'a CStr) -> impl Fn(Errno) -> Self + 'a {
        move |errno| Self { step: format!("{step} {}", path.to_string_lossy()), errno }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, std::io::Error::from_raw_os_error(self.errno.0))
    }
}

/// Reads a plan from a packet socket, enters it and answers: an error number and the step that failed, or zero, with
/// the listening socket where the plan has one. In another process than the caller where the policy has namespaces:
/// the caller's then waits for it and ends as it ends.
///
/// Call it while the program has one thread.
pub fn enter(socket: i32) -> Result<Policy, Failure> {
    let socket = Fd::own(socket);
    let entered = receive(&socket).and_then(|plan| enter_plan(&plan));
    match entered {
        Ok((policy, listener)) => {
            let listener = listener.as_ref().map(Fd::raw);
            sys::send(socket.raw(), &0i32.to_le_bytes(), listener).map_err(Failure::of("answer"))?;
            Ok(policy)
        }
        Err(failure) => {
            let mut answer = failure.errno.0.to_le_bytes().to_vec();
            answer.extend_from_slice(failure.step.as_bytes());
            sys::send(socket.raw(), &answer, None).map_err(Failure::of("answer"))?;
            Err(failure)
        }
    }
}

fn receive(socket: &Fd) -> Result<Plan, Failure> {
    let mut bytes = vec![0; MAX_PLAN];
    let length = sys::receive(socket.raw(), &mut bytes).map_err(Failure::of("read the plan"))?;
    bytes.get(..length).and_then(decode::decode).ok_or(Errno::EPROTO).map_err(Failure::of("decode the plan"))
}

fn enter_plan(plan: &Plan) -> Result<(Policy, Option<Fd>), Failure> {
    namespaces::forbid_new_privileges().map_err(Failure::of("forbid new privileges"))?;
    let mut policy = Policy { filter: plan.filter.clone(), ruleset: None, pool: None, has_view: false };
    let mut listener = None;
    if let Some(namespaces) = &plan.namespaces {
        namespaces::enter(namespaces)?;
        view::build(namespaces)?;
        policy.has_view = true;
        if namespaces.network != Network::Host {
            sys::loopback_up().map_err(Failure::of("bring the loopback device up"))?;
        }
        if let Network::Listener(port) = namespaces.network {
            listener = Some(sys::listen(port).map_err(Failure::of("listen on the loopback device"))?);
        }
        if namespaces.per_command {
            policy.pool = Some(Pool::new(namespaces)?);
        }
    }
    namespaces::forbid_capabilities().map_err(Failure::of("give up capabilities for good"))?;
    if let Some(landlock) = &plan.landlock {
        policy.ruleset = Some(rules::ruleset(landlock)?);
    }
    // Where each command has namespaces of its own, the helper keeps what it needs to make them. Commands don't see it.
    if policy.pool.is_none() {
        policy.restrict().map_err(Failure::of("restrict the helper"))?;
        // Commands of the same user must not look into the helper's memory. Where they have namespaces of their own they
        // can't see it, nor look into that of a holder, which has capabilities and they have not.
        namespaces::hide_memory().map_err(Failure::of("hide the helper's memory"))?;
        if !policy.filter.is_empty() {
            sys::filter(&policy.filter).map_err(Failure::of("install the filter"))?;
        }
    }
    Ok((policy, listener))
}

impl Policy {
    /// Whether paths mean something else to commands than to the host. Then a command's directory is opened by
    /// [`Policy::change_dir`], never by a descriptor of the host, which would lead out.
    pub fn has_view(&self) -> bool {
        self.has_view
    }

    /// What the next child needs, before it is cloned. Keep it until nothing of the command is to live.
    pub fn prepare(&mut self) -> Result<Option<Holder>, Failure> {
        match &mut self.pool {
            None => Ok(None),
            Some(pool) => pool.take().map(Some),
        }
    }

    /// After the child was cloned.
    pub fn cloned(&mut self) -> Result<(), Failure> {
        self.pool.as_mut().map_or(Ok(()), Pool::return_home)
    }

    /// Makes ready what later commands need. Call it when there is nothing else to do.
    pub fn refill(&mut self) -> Result<(), Failure> {
        self.pool.as_mut().map_or(Ok(()), Pool::refill)
    }

    /// Ends everything that lives in a command's namespaces, and returns when it is dead.
    pub fn end(&mut self, holder: Holder) {
        if let Some(pool) = &mut self.pool {
            pool.end(holder);
        }
    }

    /// Binds the calling child. Allocates nothing and touches nothing of the program that it shares its memory with.
    pub fn bind(&self, holder: Option<&Holder>) -> sys::Result<()> {
        if let Some(holder) = holder {
            holder.join()?;
        }
        self.restrict()?;
        if holder.is_some() && !self.filter.is_empty() {
            sys::filter(&self.filter)?;
        }
        Ok(())
    }

    /// Goes to a directory as commands see it. No part of the path may be a symbolic link.
    pub fn change_dir(path: &CStr) -> sys::Result<()> {
        let resolve = sys::RESOLVE_NO_SYMLINKS | sys::RESOLVE_NO_MAGICLINKS;
        let dir = sys::open2(sys::AT_FDCWD, path, sys::O_PATH | sys::O_DIRECTORY, resolve)?;
        sys::change_dir(dir.raw())
    }

    /// One more layer for each command keeps it from the helper and from other commands.
    fn restrict(&self) -> sys::Result<()> {
        if let Some(ruleset) = &self.ruleset {
            sys::restrict(ruleset.raw())?;
        }
        sys::drop_capabilities()
    }
}
