use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use agentx_resource::{Child, ErrorKind, ExecRequest, Invocation, OutputStream, Result, Stdin};
use bytes::Bytes;
use rustix::io::Errno;
use tokio::{
    net::unix::pipe::{Receiver, Sender},
    runtime::Handle,
};

use super::{
    LocalProcess,
    child::LocalChild,
    ending::Ending,
    environment::Variables,
    error, failure,
    input::Input,
    not_started::NotStarted,
    output::Output,
    program::{self, Refusal},
    pump::{Phase, Pump},
    tree::{Mark, Tree},
};

/// A program that was just written may for a moment be held open by another thread's child that has not executed yet.
const BUSY_TRIES: usize = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

impl LocalProcess {
    pub(super) async fn start(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let runtime = Handle::try_current().map_err(|source| {
            error(ErrorKind::Unavailable, "spawn")
                .with_message("there is no tokio runtime")
                .with_source(source)
        })?;
        if !request.limits.is_none() || request.terminal.is_some() {
            return Err(error(ErrorKind::Unsupported, "spawn").with_message("neither limits nor terminals"));
        }
        let (program, args) = self.command_line(&request.invocation)?;
        let cwd = self.root.directory(&request.cwd)?;
        let mark = self.environment.mark().map_err(|source| failure("spawn", source))?;
        let variables = self.environment.of_command(&request.env, &mark)?;

        let refuse = |refusal| Box::new(NotStarted::new(mark.id(), &program, refusal, &request));
        let file = match program::find(&program, &variables, &cwd) {
            Ok(file) => file,
            Err(refusal) => return Ok(refuse(refusal)),
        };
        let mut command = command(&file, &program, &args, &variables, &cwd, &request.stdin);
        let (child, since) = match start(&mut command).await {
            Ok(started) => started,
            Err(source) => match Errno::from_io_error(&source).and_then(Refusal::of) {
                Some(refusal) => return Ok(refuse(refusal)),
                None => return Err(failure("spawn", source).with_path(&program)),
            },
        };
        let child = self.watch(child, mark, since, &request, runtime);
        Ok(Box::new(child.map_err(|source| failure("spawn", source))?))
    }

    /// Takes over what was started. An error drops the tree, which ends it.
    fn watch(
        &self,
        mut child: std::process::Child,
        mark: Mark,
        since: Instant,
        request: &ExecRequest,
        runtime: Handle,
    ) -> io::Result<LocalChild> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let tree = Arc::new(Tree::adopt(child, mark, since)?);
        let receiver = |pipe: Option<OwnedFd>| Receiver::from_owned_fd(pipe.ok_or(Errno::BADF)?);
        let stdout = receiver(stdout.map(OwnedFd::from))?;
        let stderr = receiver(stderr.map(OwnedFd::from))?;
        let stdin = stdin.map(|pipe| Sender::from_owned_fd(pipe.into())).transpose()?;
        let input = match &request.stdin {
            Stdin::Piped => Input::live(stdin),
            Stdin::Bytes(bytes) => Input::bytes(stdin, bytes.clone()),
            _ => Input::bytes(stdin, Bytes::new()),
        };
        let ending = Ending::new(Arc::clone(&tree), runtime.clone(), self.kill_grace);
        let pump = Pump {
            // Nothing is read from it: a process handle is readable when the process has ended.
            exit: Receiver::from_owned_fd_unchecked(tree.exit_handle()?)?,
            tree: Arc::clone(&tree),
            ending: Arc::clone(&ending),
            runtime,
            outputs: [
                Output::new(stdout, OutputStream::Stdout, request.output_limit),
                Output::new(stderr, OutputStream::Stderr, request.output_limit),
            ],
            kill_grace: self.kill_grace,
            drain_grace: self.drain_grace,
            buffer: Vec::new(),
            phase: Phase::Running,
        };
        if let Some(timeout) = request.timeout {
            ending.set_timeout(timeout);
        }
        Ok(LocalChild { tree, ending, input, pump: Mutex::new(pump) })
    }

    /// The program to look up and its arguments.
    fn command_line(&self, invocation: &Invocation) -> Result<(String, Vec<String>)> {
        let invalid = |message| Err(error(ErrorKind::InvalidInput, "spawn").with_message(message));
        let (program, args) = match invocation {
            Invocation::Program { program, args } => (program.clone(), args.clone()),
            Invocation::Shell { script } => {
                // A script that begins with a dash is none of the shell's options.
                let dashed = script.starts_with(['-', '+']);
                let script = if dashed { format!(" {script}") } else { script.clone() };
                (self.shell.clone(), vec!["-c".into(), script])
            }
            _ => return Err(error(ErrorKind::Unsupported, "spawn").with_message("an unknown invocation")),
        };
        if program.is_empty() {
            return invalid("the program has no name");
        }
        if program.contains('\0') || args.iter().any(|arg| arg.contains('\0')) {
            return invalid("the command line contains NUL");
        }
        Ok((program, args))
    }
}

/// Nothing here may need work between `fork` and `exec` (`pre_exec`, a lookup in another `PATH`): the standard library
/// would then copy the host's page tables for every command.
fn command(
    file: &PathBuf,
    name: &str,
    args: &[String],
    variables: &Variables,
    cwd: &OwnedFd,
    stdin: &Stdin,
) -> Command {
    let mut command = Command::new(file);
    command.arg0(name).args(args).env_clear().envs(variables.iter());
    // The directory itself, whatever its name leads to by now. The child has the handle until it executes.
    command.current_dir(format!("/proc/self/fd/{}", cwd.as_raw_fd()));
    command.process_group(0);
    command.stdin(if *stdin == Stdin::Null { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn start(command: &mut Command) -> io::Result<(std::process::Child, Instant)> {
    for _ in 1..BUSY_TRIES {
        let since = Instant::now();
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            outcome => return Ok((outcome?, since)),
        }
    }
    let since = Instant::now();
    Ok((command.spawn()?, since))
}
