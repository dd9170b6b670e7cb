//! Starting a command through the helper.

use std::{os::fd::OwnedFd, sync::Arc};

use agentx_resource::{Child, ErrorKind, ExecRequest, Result, Retry, Stdin, TerminalSize};
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec, ioctl_fionbio},
    pipe::{PipeFlags, pipe_with},
};
use tokio::runtime::Handle;

use super::{
    LocalProcess, error, failure,
    group::MemoryWatch,
    helper::{Command, Handles, Helper, Line, List, NotLaunched, Stage},
    isolation::Prepared,
    limits,
    not_started::NotStarted,
    program::{self, Refusal},
    spawn::{BUSY_PAUSE, BUSY_TRIES, Pipes, Words},
    terminal::Terminal,
    tree::Tree,
};

impl LocalProcess {
    pub(super) async fn start_helped(
        &self,
        helper: Arc<Helper>,
        words: &Words,
        request: &ExecRequest,
        runtime: Handle,
    ) -> Result<Box<dyn Child>> {
        let directory = self.root.directory(&request.cwd)?;
        let variables = self.environment.of_command(&request.env, None)?;
        let isolation = self.helpers.isolation();
        let place = isolation.map(|isolation| isolation.place(&directory, &self.root.path)).transpose()?;
        let place = place.unwrap_or_default();
        let wrapped = isolation.and_then(|isolation| isolation.wrap(&place, &words.program, &words.args));
        let (program, args) = match &wrapped {
            Some((program, args)) => (*program, args),
            None => (words.program.as_str(), &words.args),
        };
        let mut env = List::default();
        for (name, value) in variables.iter() {
            env.push(&[name, "=".as_ref(), value]);
        }
        let command = Command {
            files: &program::candidates(program, &variables),
            name: program,
            args,
            env,
            limits: limits::of_request(&request.limits),
            terminal: request.terminal.is_some(),
            place: &place,
        };
        let mut helper = helper;
        helper.attend(&runtime).map_err(|source| failure("spawn", source))?;
        for busy in 0..BUSY_TRIES {
            let (pipes, handles) = match request.terminal {
                Some(size) => open_terminal(&directory, size),
                None => open_pipes(&directory, request.stdin != Stdin::Null),
            }
            .map_err(|errno| failure("spawn", errno.into()))?;
            let memory = isolation.and_then(Prepared::group).and_then(MemoryWatch::begin);
            let refused = match Line::launch(&helper, &command, handles).await {
                Ok(line) => return self.watch(Tree::Helped(line), pipes, memory, request, runtime),
                Err(refused) => refused,
            };
            match refused {
                NotLaunched::Refused(Stage::Execute, Errno::TXTBSY, _) if busy + 1 < BUSY_TRIES => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                NotLaunched::Refused(Stage::Execute, errno, id) => {
                    return match Refusal::of(errno) {
                        Some(refusal) => Ok(Box::new(NotStarted::new(&id, &words.program, refusal, request))),
                        None => Err(failure("spawn", errno.into()).with_path(&words.program)),
                    };
                }
                // The number of a command that still runs, sixteen million commands later.
                NotLaunched::Refused(Stage::Request, Errno::EXIST, _) => {}
                NotLaunched::Refused(Stage::Directory, errno, _) => {
                    return Err(failure("spawn", errno.into()).with_path(&request.cwd));
                }
                NotLaunched::Refused(stage, errno, _) => {
                    return Err(failure("spawn", errno.into()).with_message(message(stage)));
                }
                NotLaunched::Failed(source) => return Err(failure("spawn", source).with_path(&words.program)),
                // Not to be tried again by itself: it may have run.
                NotLaunched::Stalled => {
                    return Err(error(ErrorKind::Unavailable, "spawn")
                        .with_path(&words.program)
                        .with_retry(Retry::Never)
                        .with_message("the program or its directory does not answer, and may have run"));
                }
                // It has ended between two commands. Nothing of this one was sent.
                NotLaunched::Gone => match self.helpers.get().await? {
                    Some(another) => helper = another,
                    None => break,
                },
            }
        }
        Err(error(ErrorKind::Unavailable, "spawn")
            .with_retry(Retry::After(None))
            .with_message("the helper that starts commands does not stay"))
    }
}

/// Pipes, of which the host's ends never block, and the command's ends of them.
fn open_pipes(directory: &OwnedFd, with_stdin: bool) -> Result<(Pipes, Handles<'_>), Errno> {
    let open = || pipe_with(PipeFlags::CLOEXEC);
    let ((stdout, command_stdout), (stderr, command_stderr)) = (open()?, open()?);
    let (command_stdin, stdin) = match with_stdin.then(open).transpose()? {
        Some((reader, writer)) => (Some(reader), Some(writer)),
        None => (None, None),
    };
    for pipe in [Some(&stdout), Some(&stderr), stdin.as_ref()].into_iter().flatten() {
        ioctl_fionbio(pipe, true)?;
    }
    let handles = Handles { directory, stdin: command_stdin, stdout: command_stdout, stderr: command_stderr };
    Ok((Pipes { stdin, stdout, stderr: Some(stderr), terminal: None }, handles))
}

/// A terminal, of which all three of the command's streams are the same end.
fn open_terminal(directory: &OwnedFd, size: TerminalSize) -> Result<(Pipes, Handles<'_>), Errno> {
    let (terminal, command) = Terminal::open(size)?;
    let again = || fcntl_dupfd_cloexec(&command, 0);
    let (stdin, stdout) = (again()?, again()?);
    let handles = Handles { directory, stdin: Some(stdin), stdout, stderr: command };
    let (stdin, stdout) = (Some(terminal.handle()?), terminal.handle()?);
    Ok((Pipes { stdin, stdout, stderr: None, terminal: Some(terminal) }, handles))
}

/// What could not be done, for a person.
fn message(stage: Stage) -> &'static str {
    match stage {
        Stage::Request => "the helper does not understand the request",
        Stage::Clone => "no process can be started",
        Stage::Session => "the command can't be given a process group of its own",
        Stage::Handles => "the command can't be given its input and output",
        Stage::Directory => "the working directory can't be entered",
        Stage::Limits => "the limits can't be set",
        Stage::Policy => "the command can't be confined",
        Stage::Execute => "the program can't be executed",
        Stage::Namespace => "there is no namespace for process ids",
    }
}
