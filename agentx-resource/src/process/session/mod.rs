//! One shell for many commands.

mod command;
mod frame;
mod options;
mod reply;
mod scan;
mod shell;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use futures::lock::Mutex;

pub use self::{
    command::ShellCommand,
    options::{ShellOptions, ShellOutput},
};
use self::{frame::Marks, shell::Shell};
use super::collect::Collector;
use crate::{Clock, Error, ErrorKind, ExecRequest, Process, Result};

/// A shell that stays: each command finds the directory, the variables and the functions that the ones before it left.
///
/// It stands on any [`Process`] with live input whose `sh` reads POSIX commands from there. The shell starts with the
/// first command.
///
/// **A command** is a text for the shell's `eval`. Its input is empty. What it writes comes apart by stream, binary or
/// not, with or without a last newline. A syntax error is its failure (status 2 as a rule), whatever it left open. What
/// it does to its own descriptors 0, 1, 2, 7 and 8 by `exec` lasts until its end. A command that ends the shell
/// (`exit`, `exec`, a failure under `set -e`) is told as such: [`ShellOutput::ended`].
///
/// **One at a time.** A command waits while another runs; which of several that wait comes next is left open.
///
/// **A command that hangs** is ended by its timeout, and the whole shell with it, since nothing else can be said of a
/// shell that does not answer. The same goes for too much output, where that kills, and for a command whose future is
/// dropped. The next command begins in a new shell, in the last known directory if it is still there, and says so:
/// [`ShellOutput::restarted`].
///
/// **Jobs in the background** live as long as the shell. What they write is told with the command that runs then; while
/// none runs, they wait once the pipe is full. For what is to go on by itself there is
/// [`BackgroundProcesses`](crate::BackgroundProcesses).
///
/// A command can harm its own shell (redefine `command` *and* `unset` as functions of bash, `set -n`, stop it): it
/// does not answer then, and the timeout is what ends it.
///
/// ```no_run
/// use agentx_resource::{Clock, Process, ShellOptions, ShellSession};
/// use std::{sync::Arc, time::Duration};
///
/// # async fn example(process: Arc<dyn Process>, clock: Arc<dyn Clock>) -> agentx_resource::Result<()> {
/// let session = ShellSession::new(process, clock);
/// let options = ShellOptions::default().with_timeout(Duration::from_secs(60));
/// session.run("cd src; greeting=hello", options).await?;
/// let result = session.run("echo $greeting; ls missing", options).await?;
/// assert_eq!(result.output.stdout_text(), "hello\n");
/// assert!(!result.output.status.success() && !result.ended);
///
/// let hung = session.run("sleep 1000", options).await?;
/// assert!(hung.ended);
/// let next = session.run("pwd; echo $greeting", options).await?;
/// assert!(next.restarted);
/// assert!(next.output.stdout_text().ends_with("/src\n\n"));
/// # Ok(()) }
/// ```
pub struct ShellSession {
    process: Arc<dyn Process>,
    clock: Arc<dyn Clock>,
    request: ExecRequest,
    marks: Marks,
    turn: Arc<Mutex<Turn>>,
}

/// What passes from command to command.
#[derive(Debug, Default)]
struct Turn {
    shell: Option<Shell>,
    /// Where the shell was when it last said so.
    directory: Option<String>,
    /// The status of the last command.
    status: i32,
    /// There was a shell before, and it has ended.
    lost: bool,
}

impl ShellSession {
    /// A session of `sh` at the process's root. Timeouts go by `clock`.
    pub fn new(process: Arc<dyn Process>, clock: Arc<dyn Clock>) -> Self {
        Self {
            process,
            clock,
            request: ExecRequest::program("sh", [""; 0]),
            marks: Marks::default(),
            turn: Arc::default(),
        }
    }

    /// Starts the shell by this request: another program (`bash`), a directory, variables, resource limits. Its input,
    /// timeouts, output limit and terminal do not count. The program must read POSIX shell commands from its input.
    pub fn with_request(mut self, request: ExecRequest) -> Self {
        self.request = request;
        self
    }

    /// Runs a command to its end, when its turn has come. Memory is bounded by the output limit, twice.
    /// Dropping the future ends the shell, once the command's turn has come, and everything that it started.
    ///
    /// # Errors
    /// Those of [`start`](Self::start) and of [`ShellCommand::next_event`]. A command that fails is no error.
    pub async fn run(&self, command: &str, options: ShellOptions) -> Result<ShellOutput> {
        let mut running = self.start(command, options).await?;
        let mut output = Collector::default();
        while let Some(event) = running.next_event().await? {
            output.push(event);
        }
        Ok(ShellOutput {
            output: output.finish(),
            cwd: running.cwd().map(str::to_owned),
            restarted: running.restarted(),
            ended: running.ended(),
        })
    }

    /// Starts a command, when its turn has come, whose output is told as it comes. The next one waits until this one
    /// has ended or is dropped.
    ///
    /// # Errors
    /// The command did not run then. `InvalidInput` for a command with NUL; those of [`Process::spawn`];
    /// `Unavailable` for a shell that ended before it was ready; `TimedOut` for one that was not ready in 10 seconds.
    pub async fn start(&self, command: &str, options: ShellOptions) -> Result<ShellCommand> {
        if command.contains('\0') {
            return Err(fail(ErrorKind::InvalidInput, "start").with_message("NUL in the command"));
        }
        let mut turn = Arc::clone(&self.turn).lock_owned().await;
        let kept = match turn.shell.take() {
            Some(shell) => {
                // Until it comes back.
                turn.lost = true;
                shell.waiting()
            }
            None => None,
        };
        let (shell, restarted, events) = match kept {
            Some((shell, events)) => (shell, false, events),
            None => {
                turn.status = 0;
                (self.open(turn.directory.as_deref()).await?, turn.lost, Vec::new())
            }
        };
        turn.lost = true;
        let mark = self.marks.next();
        let text = frame::command(shell.answer(), command, turn.status, &mark);
        let clock = Arc::clone(&self.clock);
        let mut command = ShellCommand::new(turn, shell, clock, options, &mark, text.into());
        command.restarted = restarted;
        for event in events {
            command.take(event);
        }
        Ok(command)
    }

    /// Ends the shell, when the commands before have ended. The next command begins in a new one, where the first one
    /// began.
    pub async fn restart(&self) {
        let mut turn = self.turn.lock().await;
        let lost = turn.lost || turn.shell.is_some();
        *turn = Turn { lost, ..Turn::default() };
    }

    async fn open(&self, directory: Option<&str>) -> Result<Shell> {
        Shell::open(&*self.process, &*self.clock, self.request.clone(), directory, &self.marks.next()).await
    }
}

impl fmt::Debug for ShellSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellSession")
            .field("process", &self.process)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

fn fail(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_path("shell session")
}
