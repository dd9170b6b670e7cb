use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use agentx_resource::{ErrorKind, Result, Retry};

use super::{
    error,
    helper::{self, Helper, NoHelper, Program},
    isolation::Prepared,
};

/// What ends the processes that a command leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Containment {
    /// A helper process of the host: it starts the commands, and what they leave behind becomes its own child, also
    /// after `setsid`, a double fork and with an emptied environment. It ends everything when the host lets go, also
    /// when the host is killed; when the helper itself is killed, the host does.
    ///
    /// What it can't hold is a process that it may not signal (one that became another user's, as by `sudo`), one that
    /// outlives host and helper both killed at the same time, and one that took off its mark, which is its limit on file
    /// locks, and left its parents before the helper was killed. A command is the helper's equal: it can kill it, or
    /// take its limits from it, unless namespaces [isolate](crate::Isolation) it. Commands after that get another helper.
    Helper,
    /// The same, and the helper is the first process of a PID namespace, so that the kernel itself ends everything
    /// with it. Commands see no processes but their own.
    PidNamespace,
    /// There is no helper: the host starts the commands and then searches for what carries their mark, `AGENTX_EXEC`
    /// in the environment. It misses a process that has left the process group *and* replaced or hidden its
    /// environment, once its parent is gone. When the host is killed, its commands go on. Limits and terminals are
    /// refused. Commands are in the host's session: one that opens `/dev/tty` is stopped there, where the host has it.
    Sweep {
        /// Why there is no helper, for a person.
        why: String,
    },
}

/// Where a `LocalProcess` and its clones have their helper from.
#[derive(Debug)]
pub(super) struct Helpers {
    program: Program,
    pid_namespace: bool,
    isolation: Option<Arc<Prepared>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    helper: Option<Arc<Helper>>,
    /// Why there is none, once that was tried.
    why: Option<String>,
}

/// What was found out about helpers.
enum Known {
    Nothing,
    /// There can't be one.
    None,
    Helper(Arc<Helper>),
}

/// The helper of all that ask for nothing special: a host with a thousand sandboxes needs one.
static SHARED: Mutex<Weak<Helper>> = Mutex::new(Weak::new());

impl Default for Helpers {
    fn default() -> Self {
        Self { program: Program::Embedded, pid_namespace: false, isolation: None, state: Mutex::default() }
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        let is_shared = self.is_shared();
        if let Some(helper) = self.lock().helper.take().filter(|_| is_shared) {
            linger(helper);
        }
    }
}

impl Helpers {
    pub(super) fn with_program(&self, program: Program) -> Self {
        let mut helpers = self.anew();
        helpers.program = program;
        helpers
    }

    pub(super) fn with_pid_namespace(&self) -> Self {
        let mut helpers = self.anew();
        helpers.pid_namespace = true;
        helpers
    }

    /// Starts the helper at once, so that it is known whether this machine can isolate commands so.
    pub(super) fn with_isolation(&self, isolation: Prepared) -> Result<Self> {
        let mut helpers = self.anew();
        helpers.isolation = Some(Arc::new(isolation));
        match helpers.start() {
            Ok(_) => Ok(helpers),
            Err(NoHelper { why, .. }) => Err(error(ErrorKind::Unsupported, "isolate")
                .with_message(format!("this machine can't isolate commands so: {why}"))),
        }
    }

    /// What is put into force for each command.
    pub(super) fn isolation(&self) -> Option<&Prepared> {
        self.isolation.as_deref()
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// Whether no helper is wanted.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.program, Program::None)
    }

    /// The same, with another helper.
    fn anew(&self) -> Self {
        Self {
            program: self.program.clone(),
            pid_namespace: self.pid_namespace,
            isolation: self.isolation.clone(),
            state: Mutex::default(),
        }
    }

    /// The helper, which is started where there is none. None where there can't be one; it is then tried only once.
    ///
    /// # Errors
    /// `Unavailable` where a certain helper was asked for, and does not work.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Option<Arc<Helper>>> {
        match self.known() {
            Known::Helper(helper) => return Ok(Some(helper)),
            Known::None => return Ok(None),
            Known::Nothing => {}
        }
        let this = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || this.start()).await;
        let started = started.map_err(|source| {
            error(ErrorKind::Unavailable, "spawn").with_message("the runtime shuts down").with_source(source)
        })?;
        match started {
            Ok(helper) => Ok(Some(helper)),
            Err(missing) if self.is_optional() && !missing.passing => Ok(None),
            Err(NoHelper { why, passing }) => Err(error(ErrorKind::Unavailable, "spawn")
                .with_retry(if passing { Retry::After(None) } else { Retry::Never })
                .with_message(format!("the helper does not work: {why}"))),
        }
    }

    pub(super) async fn containment(self: &Arc<Self>) -> Result<Containment> {
        Ok(match self.get().await? {
            Some(_) if self.pid_namespace || self.isolation().is_some_and(Prepared::has_namespaces) => {
                Containment::PidNamespace
            }
            Some(_) => Containment::Helper,
            None => Containment::Sweep { why: self.lock().why.clone().unwrap_or_default() },
        })
    }

    /// What was found out before.
    fn known(&self) -> Known {
        let state = self.lock();
        match &state.helper {
            Some(helper) if !helper.is_over() => Known::Helper(Arc::clone(helper)),
            _ if self.is_optional() && state.why.is_some() => Known::None,
            _ => Known::Nothing,
        }
    }

    /// Blocks while a helper is started. Whoever else needs it meanwhile waits for the same one.
    fn start(&self) -> Result<Arc<Helper>, NoHelper> {
        let mut state = self.lock();
        if let Some(helper) = state.helper.as_ref().filter(|helper| !helper.is_over()) {
            return Ok(Arc::clone(helper));
        }
        let started = if self.is_shared() { shared() } else { self.start_own() };
        match &started {
            Ok(helper) => state.helper = Some(Arc::clone(helper)),
            Err(missing) if missing.passing => {}
            Err(missing) => state.why = Some(missing.why.clone()),
        }
        started
    }

    fn start_own(&self) -> Result<Arc<Helper>, NoHelper> {
        helper::start(&self.program, self.pid_namespace, self.isolation()).map(Arc::new)
    }

    fn is_shared(&self) -> bool {
        self.is_optional() && self.program == Program::Embedded
    }

    fn is_optional(&self) -> bool {
        !matches!(self.program, Program::File(_)) && !self.pid_namespace && self.isolation.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the shared helper stays when nobody needs it, so that who makes, uses and drops one `LocalProcess` after
/// another does not start one each time.
const LINGER: Duration = Duration::from_secs(5);

/// The shared helper while nobody needs it.
struct Lingering {
    helper: Option<Arc<Helper>>,
    until: Option<Instant>,
}

static LINGERING: Mutex<Lingering> = Mutex::new(Lingering { helper: None, until: None });

/// Keeps the helper for a while.
fn linger(helper: Arc<Helper>) {
    let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
    let is_awaited = lingering.until.replace(Instant::now() + LINGER).is_some();
    let former = lingering.helper.replace(helper);
    if !is_awaited && thread::Builder::new().name("agentx-linger".to_owned()).spawn(end_lingering).is_err() {
        *lingering = Lingering { helper: None, until: None };
    }
    drop(lingering);
    drop(former);
}

/// Lets go of the helper when it has not been needed for long enough.
fn end_lingering() {
    loop {
        let mut lingering = LINGERING.lock().unwrap_or_else(PoisonError::into_inner);
        let left = lingering.until.map(|until| until.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if !left.is_zero() => {
                drop(lingering);
                thread::sleep(left);
            }
            _ => {
                lingering.until = None;
                let helper = lingering.helper.take();
                drop(lingering);
                drop(helper);
                return;
            }
        }
    }
}

fn shared() -> Result<Arc<Helper>, NoHelper> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(helper) = shared.upgrade().filter(|helper| !helper.is_over()) {
        return Ok(helper);
    }
    let start = || helper::start(&Program::Embedded, false, None);
    // One that is ended while it starts says nothing about the next.
    let helper = Arc::new(start().or_else(|_| start())?);
    *shared = Arc::downgrade(&helper);
    Ok(helper)
}
