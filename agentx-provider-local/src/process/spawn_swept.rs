//! Starting a command without a helper.

use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use agentx_resource::{Child, ExecRequest, Result, Stdin};
use rustix::io::{Errno, ioctl_fionbio};
use tokio::runtime::Handle;

use super::{
    LocalProcess,
    environment::Variables,
    failure,
    not_started::NotStarted,
    program::{self, Refusal},
    spawn::{BUSY_PAUSE, BUSY_TRIES, Pipes, Words},
    tree::{Swept, Tree},
};

impl LocalProcess {
    pub(super) async fn start_swept(
        &self,
        words: &Words,
        request: &ExecRequest,
        runtime: Handle,
    ) -> Result<Box<dyn Child>> {
        let cwd = self.root.directory(&request.cwd)?;
        let mark = self.environment.mark().map_err(|source| failure("spawn", source))?;
        let variables = self.environment.of_command(&request.env, Some(&mark))?;
        let refuse = |refusal| Box::new(NotStarted::new(mark.id(), &words.program, refusal, request));
        let file = match program::find(&words.program, &variables, &cwd) {
            Ok(file) => file,
            Err(refusal) => return Ok(refuse(refusal)),
        };
        let mut command = command(&file, words, &variables, &cwd, &request.stdin);
        let (mut child, since) = match start(&mut command).await {
            Ok(started) => started,
            Err(source) => match Errno::from_io_error(&source).and_then(Refusal::of) {
                Some(refusal) => return Ok(refuse(refusal)),
                None => return Err(failure("spawn", source).with_path(&words.program)),
            },
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let tree = Swept::adopt(child, mark, since).map_err(|source| failure("spawn", source))?;
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(failure("spawn", Errno::BADF.into()));
        };
        let pipes = Pipes {
            stdin: stdin.map(OwnedFd::from),
            stdout: stdout.into(),
            stderr: Some(stderr.into()),
            terminal: None,
        };
        for pipe in [Some(&pipes.stdout), pipes.stderr.as_ref(), pipes.stdin.as_ref()].into_iter().flatten() {
            ioctl_fionbio(pipe, true).map_err(|errno| failure("spawn", errno.into()))?;
        }
        self.watch(Tree::Swept(tree), pipes, None, request, runtime)
    }
}

/// Nothing here may need work between `fork` and `exec` (`pre_exec`, a lookup in another `PATH`): the standard library
/// would then copy the host's page tables for every command.
fn command(file: &Path, words: &Words, variables: &Variables, cwd: &OwnedFd, stdin: &Stdin) -> Command {
    let mut command = Command::new(file);
    command.arg0(&words.program).args(&words.args).env_clear().envs(variables.iter());
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
