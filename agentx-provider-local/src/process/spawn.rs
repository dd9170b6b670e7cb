use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentx_resource::{
    Child, ErrorKind, ExecRequest, Invocation, OutputStream, ResourceLimits, Result, Stdin,
};
use bytes::Bytes;
use tokio::{net::unix::pipe::Sender, runtime::Handle};

use super::{
    LocalProcess,
    child::LocalChild,
    ending::Ending,
    error, failure,
    group::MemoryWatch,
    idle::Idle,
    input::Input,
    output::Output,
    pump::{Phase, Pump},
    terminal::{END_OF_INPUT, Terminal, typed},
    tree::Tree,
};

/// A program that was just written may for a moment be held open by another thread's child that has not executed yet.
pub(super) const BUSY_TRIES: usize = 20;
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What is to run, and with what.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) program: String,
    pub(super) args: Vec<String>,
}

/// The host's ends of a command's pipes, which never block.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    /// None where standard error goes the way of standard output.
    pub(super) stderr: Option<OwnedFd>,
    /// What the others are ends of, where it is no pipes.
    pub(super) terminal: Option<Terminal>,
}

impl LocalProcess {
    pub(super) async fn start(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let runtime = runtime("spawn")?;
        if request.limits.processes.is_some() && rustix::process::geteuid().is_root() {
            return Err(unsupported("the system binds nobody's number of processes who is root"));
        }
        let words = self.words(&request.invocation)?;
        match self.helpers.get().await? {
            Some(helper) => self.start_helped(helper, &words, &request, runtime).await,
            None if request.limits != ResourceLimits::default() || request.terminal.is_some() => {
                Err(unsupported("without a helper there are neither limits nor terminals"))
            }
            None => self.start_swept(&words, &request, runtime).await,
        }
    }

    /// Takes over what was started. An error drops the tree, which ends it.
    pub(super) fn watch(
        &self,
        tree: Tree,
        pipes: Pipes,
        memory: Option<MemoryWatch>,
        request: &ExecRequest,
        runtime: Handle,
    ) -> Result<Box<dyn Child>> {
        let child = self.adopt(tree, pipes, memory, request, runtime);
        Ok(Box::new(child.map_err(|source| failure("spawn", source))?))
    }

    fn adopt(
        &self,
        tree: Tree,
        pipes: Pipes,
        memory: Option<MemoryWatch>,
        request: &ExecRequest,
        runtime: Handle,
    ) -> io::Result<LocalChild> {
        let tree = Arc::new(tree);
        let stdin = pipes.stdin.map(Sender::from_owned_fd_unchecked).transpose()?;
        let is_terminal = pipes.terminal.is_some();
        let input = match &request.stdin {
            Stdin::Piped => Input::live(stdin, if is_terminal { END_OF_INPUT } else { &[] }),
            Stdin::Bytes(bytes) if is_terminal => Input::bytes(stdin, typed(bytes).into()),
            Stdin::Bytes(bytes) => Input::bytes(stdin, bytes.clone()),
            _ if is_terminal => Input::bytes(stdin, Bytes::from_static(END_OF_INPUT)),
            _ => Input::bytes(stdin, Bytes::new()),
        };
        let ending = Ending::new(Arc::clone(&tree), runtime.clone(), self.kill_grace);
        let pump = Pump {
            tree: Arc::clone(&tree),
            ending: Arc::clone(&ending),
            runtime,
            outputs: [
                Output::new(Some(pipes.stdout), OutputStream::Stdout, request.output_limit),
                Output::new(pipes.stderr, OutputStream::Stderr, request.output_limit),
            ],
            idle: request.idle_timeout.map(Idle::new),
            memory,
            kill_grace: self.kill_grace,
            drain_grace: self.drain_grace,
            buffer: Vec::new(),
            phase: Phase::Running,
        };
        if let Some(timeout) = request.timeout {
            ending.set_timeout(timeout);
        }
        Ok(LocalChild { tree, ending, input, terminal: pipes.terminal, pump: Mutex::new(pump) })
    }

    /// The program to look up and its arguments.
    fn words(&self, invocation: &Invocation) -> Result<Words> {
        let invalid = |message| Err(error(ErrorKind::InvalidInput, "spawn").with_message(message));
        let (program, args) = match invocation {
            Invocation::Program { program, args } => (program.clone(), args.clone()),
            Invocation::Shell { script } => {
                // A script that begins with a dash is none of the shell's options.
                let dashed = script.starts_with(['-', '+']);
                let script = if dashed { format!(" {script}") } else { script.clone() };
                (self.shell.clone(), vec!["-c".into(), script])
            }
            _ => return Err(unsupported("an unknown invocation")),
        };
        if program.is_empty() {
            return invalid("the program has no name");
        }
        if program.contains('\0') || args.iter().any(|arg| arg.contains('\0')) {
            return invalid("the command line contains NUL");
        }
        Ok(Words { program, args })
    }
}

/// The runtime that is needed to wait for anything.
pub(super) fn runtime(operation: &'static str) -> Result<Handle> {
    Handle::try_current().map_err(|source| {
        error(ErrorKind::Unavailable, operation).with_message("there is no tokio runtime").with_source(source)
    })
}

fn unsupported(message: &'static str) -> agentx_resource::Error {
    error(ErrorKind::Unsupported, "spawn").with_message(message)
}
