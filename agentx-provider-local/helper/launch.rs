//! Starting a command.

use std::{
    ffi::{CStr, c_int},
    fs::File,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use crate::{
    policy::{Holder, Policy},
    sys::{self, Stack, child},
    wire::{Exec, Head, Stage, Strings},
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
}

impl Request {
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

/// Starts commands, one at a time.
pub(crate) struct Launcher {
    stack: Stack,
    null: OwnedFd,
    /// What the commands may do.
    pub(crate) policy: Policy,
}

impl Launcher {
    pub(crate) fn new(policy: Policy) -> Result<Self, i32> {
        let null = File::open("/dev/null").map_err(|error| error.raw_os_error().unwrap_or(sys::EINVAL))?;
        Ok(Self { stack: Stack::new()?, null: null.into(), policy })
    }

    /// Starts the command, whose tag is `first_tag` and its number, and gives its process, with the namespaces that are
    /// its own.
    pub(crate) fn launch(
        &mut self,
        request: Request,
        first_tag: u64,
    ) -> Result<(u32, Option<Holder>), Refusal> {
        let Request { packet, body, directory, stdout, stderr, stdin, .. } = request;
        let body = body.as_deref().unwrap_or_else(|| Exec::body(&packet));
        let exec = Exec::decode(&packet, body).ok_or(INVALID)?;
        // Where commands see other paths than the host, that is the one of their directory.
        let place = if self.policy.has_view() {
            Some(CStr::from_bytes_with_nul(exec.policy).map_err(|_| INVALID)?)
        } else {
            None
        };
        let (files, args, env) = (c_strings(exec.files)?, c_strings(exec.args)?, c_strings(exec.env)?);
        let holder = self.policy.prepare().map_err(|failure| (Stage::Policy, failure.number()))?;
        let command = Command {
            stdin: stdin.as_ref().unwrap_or(&self.null).as_fd(),
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            directory: directory.as_fd(),
            terminal: exec.flags & Exec::TERMINAL != 0,
            limits: &exec.limits,
            tag: first_tag | u64::from(exec.number),
            helper: std::process::id(),
            policy: &self.policy,
            holder,
            place,
            files: &files,
            args: &child::Strings::new(args.into_iter()),
            env: &child::Strings::new(env.into_iter()),
        };
        // Written by the child, whose memory this is.
        let mut refusal = None;
        let mut run = || -> c_int {
            refusal = Some(command.execute());
            127
        };
        let pid = sys::start(&mut self.stack, &mut run).map_err(|errno| (Stage::Clone, errno));
        let home = self.policy.cloned().map_err(|failure| (Stage::Policy, failure.number()));
        // A child that came back is a zombie by now, or nearly: it is taken off the books as any other.
        let started = match (pid, refusal, home) {
            (Ok(pid), None, Ok(())) => Ok(pid),
            (Err(refusal), ..) | (_, Some(refusal), _) | (.., Err(refusal)) => Err(refusal),
        };
        match (started, holder) {
            (Ok(pid), holder) => Ok((pid, holder)),
            (Err(refusal), Some(holder)) => {
                self.policy.end(holder);
                Err(refusal)
            }
            (Err(refusal), None) => Err(refusal),
        }
    }
}

fn c_strings(strings: Strings<'_>) -> Result<Vec<&CStr>, Refusal> {
    strings.iter().map(CStr::from_bytes_with_nul).collect::<Result<_, _>>().map_err(|_| INVALID)
}

/// All that a child needs to become the command.
struct Command<'a> {
    stdin: BorrowedFd<'a>,
    stdout: BorrowedFd<'a>,
    stderr: BorrowedFd<'a>,
    directory: BorrowedFd<'a>,
    terminal: bool,
    limits: &'a [(u32, u64, u64)],
    tag: u64,
    /// The process that starts it.
    helper: u32,
    policy: &'a Policy,
    holder: Option<Holder>,
    /// Its working directory, where `directory` is not to be entered.
    place: Option<&'a CStr>,
    files: &'a [&'a CStr],
    args: &'a child::Strings<'a>,
    env: &'a child::Strings<'a>,
}

impl Command<'_> {
    /// Runs in the child, which it turns into the command; comes back with what prevents it.
    fn execute(&self) -> Refusal {
        match self.set_up() {
            Ok(()) => (Stage::Execute, self.execute_first()),
            Err(refusal) => refusal,
        }
    }

    fn set_up(&self) -> Result<(), Refusal> {
        let at = |stage| move |errno| (stage, errno);
        // Before anything that may take its time: who kills the helper meanwhile finds this child by its tag.
        child::limit(sys::RLIMIT_LOCKS, self.tag, self.tag).map_err(at(Stage::Limits))?;
        child::new_session().map_err(at(Stage::Session))?;
        child::die_with_parent(self.helper).map_err(at(Stage::Session))?;
        for (from, to) in [(self.stdin, 0), (self.stdout, 1), (self.stderr, 2)] {
            child::place(from, to).map_err(at(Stage::Handles))?;
        }
        if self.terminal {
            child::take_terminal().map_err(at(Stage::Session))?;
        }
        if self.place.is_none() {
            child::enter_directory(self.directory).map_err(at(Stage::Directory))?;
        }
        self.policy.bind(self.holder).map_err(at(Stage::Policy))?;
        if let Some(place) = self.place {
            Policy::change_dir(place).map_err(at(Stage::Directory))?;
        }
        // Nothing is opened after this, for which there may be no room.
        for (resource, soft, hard) in self.limits {
            child::limit(*resource, *soft, *hard).map_err(at(Stage::Limits))?;
        }
        child::unblock_signals().map_err(at(Stage::Session))
    }

    /// Executes the first of the files that is there, and comes back with what says most about why none was.
    fn execute_first(&self) -> i32 {
        let mut refusal = sys::ENOENT;
        for file in self.files {
            match child::execute(file, self.args, self.env) {
                sys::ENOENT | sys::ENOTDIR if self.files.len() > 1 => {}
                sys::EACCES => refusal = sys::EACCES,
                other => return other,
            }
        }
        refusal
    }
}
