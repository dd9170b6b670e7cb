//! Starting a command.
//!
//! The child shares the helper's memory until it executes its program, as after a `vfork`; but the helper is not held up
//! by it. A program or a directory may lie on a file system that does not answer, and nobody else is to wait for that.

use std::{
    ffi::{CStr, CString},
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
};

use crate::{
    policy::{Bonds, Holder, Policy},
    sys::{
        self,
        call::Errno,
        child,
        start::{Stack, Start, Task},
    },
    wire::{Exec, Head, Stage},
};

/// Why nothing was started.
pub(crate) type Refusal = (Stage, i32);

const INVALID: Refusal = (Stage::Request, sys::EINVAL);

/// A request with the handles that came with it, the line aside.
pub(crate) struct Request {
    head: Head,
    packet: Vec<u8>,
    /// Where it is not in the packet.
    body: Option<Vec<u8>>,
    directory: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    stdin: Option<OwnedFd>,
}

impl Request {
    /// Takes a packet apart.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(crate) fn parse(packet: &[u8], handles: impl Iterator<Item = OwnedFd>) -> Result<Self, Refusal> {
        let mut handles = handles;
        let head = Exec::head(packet).ok_or(INVALID)?;
        let has = |flag| head.flags & flag != 0;
        let mut next = || handles.next().ok_or(INVALID);
        let (directory, stdout, stderr) = (next()?, next()?, next()?);
        let stdin = if has(Exec::NO_STDIN) { None } else { Some(next()?) };
        let body = if has(Exec::IN_FILE) { Some(read_body(next()?, head.length)?) } else { None };
        let packet = packet.to_vec();
        Ok(Self { head, packet, body, directory, stdout, stderr, stdin })
    }

    /// The number of the command.
    pub(crate) fn number(&self) -> u32 {
        self.head.number
    }
}

/// Reads all of a memory file once, so that nobody can change it meanwhile.
fn read_body(file: OwnedFd, length: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = vec![0; length];
    File::from(file).read_exact_at(&mut body, 0).map_err(|_| INVALID)?;
    Ok(body)
}

/// Starts commands.
pub(crate) struct Launcher {
    /// Those that no child uses.
    stacks: Vec<Stack>,
    null: Arc<OwnedFd>,
    /// The hard limit on open files of this program, above which no command's can be.
    max_files: u64,
    /// What the commands may do.
    pub(crate) policy: Policy,
}

/// A command whose process is there, and may not have executed its program yet.
pub(crate) struct Launch {
    pub(crate) pid: u32,
    /// The namespaces that are its own.
    pub(crate) holder: Option<Holder>,
    start: Start<Command>,
}

/// What has become of a launch.
pub(crate) enum Progress {
    /// The program runs, or was killed before it did.
    Done,
    Refused(Refusal),
    /// It is still on its way.
    Delayed(Launch),
}

impl Launcher {
    pub(crate) fn new(policy: Policy) -> Result<Self, i32> {
        let null = File::open("/dev/null").map_err(|error| error.raw_os_error().unwrap_or(sys::EINVAL))?;
        let max_files = sys::raise_open_files();
        Ok(Self { stacks: vec![Stack::new()?], null: Arc::new(null.into()), max_files, policy })
    }

    /// Begins to start the command, whose tag is `first_tag` and its number.
    pub(crate) fn launch(&mut self, request: Request, first_tag: u64) -> Result<Launch, Refusal> {
        let command = self.command(request, first_tag)?;
        let stack = self.stacks.pop().map_or_else(Stack::new, Ok).map_err(|errno| (Stage::Clone, errno))?;
        let holder = match self.policy.prepare() {
            Ok(holder) => holder,
            Err(failure) => {
                self.stacks.push(stack);
                return Err((Stage::Policy, failure.number()));
            }
        };
        let started = Start::new(stack, Command { holder, ..command });
        let home = self.policy.cloned().map_err(|failure| (Stage::Policy, failure.number()));
        let started = started.map_err(|(errno, stack)| {
            self.stacks.push(stack);
            (Stage::Clone, errno)
        });
        match (started, home) {
            (Ok(start), Ok(())) => Ok(Launch { pid: start.pid(), holder, start }),
            (started, home) => {
                if let Ok(start) = &started {
                    // Later children would be in its namespaces, too.
                    let _ = sys::signal_to(i32::try_from(start.pid()).unwrap_or_default(), sys::SIGKILL);
                }
                if let Some(holder) = holder {
                    self.policy.end(holder);
                }
                Err(started.err().or(home.err()).unwrap_or(INVALID))
            }
        }
    }

    /// Looks whether the child is done with what it shares.
    pub(crate) fn finish(&mut self, launch: Launch) -> Progress {
        let Launch { pid, holder, start } = launch;
        let (stack, outcome) = match start.finish() {
            Ok(done) => done,
            Err(start) => return Progress::Delayed(Launch { pid, holder, start }),
        };
        self.stacks.push(stack);
        let Some(refusal) = outcome else { return Progress::Done };
        if let Some(holder) = holder {
            self.policy.end(holder);
        }
        Progress::Refused(refusal)
    }

    fn command(&self, request: Request, first_tag: u64) -> Result<Command, Refusal> {
        let Request { packet, body, directory, stdout, stderr, stdin, .. } = request;
        let body = body.as_deref().unwrap_or_else(|| Exec::body(&packet));
        let exec = Exec::decode(&packet, body).ok_or(INVALID)?;
        // Where commands see other paths than the host, that is the one of their directory.
        let place = if self.policy.has_view() {
            Some(CStr::from_bytes_with_nul(exec.policy).map_err(|_| INVALID)?.to_owned())
        } else {
            None
        };
        let bounded = |(resource, soft, hard): (u32, u64, u64)| {
            let most = if resource == sys::RLIMIT_NOFILE { self.max_files } else { u64::MAX };
            (resource, soft.min(most), hard.min(most))
        };
        Ok(Command {
            stdin: stdin.map_or_else(|| Arc::clone(&self.null), Arc::new),
            stdout,
            stderr,
            directory,
            terminal: exec.flags & Exec::TERMINAL != 0,
            limits: exec.limits.into_iter().map(bounded).collect(),
            tag: first_tag | u64::from(exec.number),
            helper: std::process::id(),
            bonds: self.policy.bonds(),
            holder: None,
            place,
            files: child::Strings::new(exec.files.bytes),
            args: child::Strings::new(exec.args.bytes),
            env: child::Strings::new(exec.env.bytes),
        })
    }
}

/// All that a child needs to become the command.
struct Command {
    stdin: Arc<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    directory: OwnedFd,
    terminal: bool,
    limits: Vec<(u32, u64, u64)>,
    tag: u64,
    /// The process that starts it.
    helper: u32,
    bonds: Arc<Bonds>,
    holder: Option<Holder>,
    /// Its working directory, where `directory` is not to be entered.
    place: Option<CString>,
    files: child::Strings,
    args: child::Strings,
    env: child::Strings,
}

impl Task for Command {
    type Outcome = Refusal;

    /// Turns the child into the command; comes back with what prevents it.
    fn run(&self) -> Refusal {
        match self.set_up() {
            Ok(()) => (Stage::Execute, self.execute_first().0),
            Err(refusal) => refusal,
        }
    }
}

impl Command {
    fn set_up(&self) -> Result<(), Refusal> {
        let at = |stage| move |errno: Errno| (stage, errno.0);
        // Before anything that may take its time: who kills the helper meanwhile finds this child by its tag.
        child::limit(sys::RLIMIT_LOCKS, self.tag, self.tag).map_err(at(Stage::Limits))?;
        // A session costs as much as a hundred other calls: the scheduler makes a group of tasks for each.
        let lead = if self.terminal { child::new_session() } else { child::new_group() };
        lead.map_err(at(Stage::Session))?;
        child::die_with_parent(self.helper).map_err(at(Stage::Session))?;
        for (from, to) in [(self.stdin.as_fd(), 0), (self.stdout.as_fd(), 1), (self.stderr.as_fd(), 2)] {
            child::place(from, to).map_err(at(Stage::Handles))?;
        }
        if self.terminal {
            child::take_terminal().map_err(at(Stage::Session))?;
        }
        if self.place.is_none() {
            child::enter_directory(self.directory.as_fd()).map_err(at(Stage::Directory))?;
        }
        self.bonds.bind(self.holder).map_err(at(Stage::Policy))?;
        if let Some(place) = &self.place {
            Bonds::change_dir(place).map_err(at(Stage::Directory))?;
        }
        // Nothing is opened after this, for which there may be no room.
        for (resource, soft, hard) in &self.limits {
            child::limit(*resource, *soft, *hard).map_err(at(Stage::Limits))?;
        }
        child::unblock_signals().map_err(at(Stage::Session))
    }

    /// Executes the first of the files that is there, and comes back with what says most about why none was.
    fn execute_first(&self) -> Errno {
        let mut refusal = Errno::ENOENT;
        let is_search = self.files.len() > 1;
        for file in self.files.iter() {
            match child::execute(file, &self.args, &self.env) {
                Errno::ENOENT | Errno::ENOTDIR if is_search => {}
                // In a directory that can't be searched nothing is there.
                Errno::EACCES if is_search && !child::exists(file) => {}
                Errno::EACCES => refusal = Errno::EACCES,
                other => return other,
            }
        }
        refusal
    }
}
