//! Finding out what holds, by trying it.

mod report;
mod stage;

use std::{
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use agentx_resource::{ErrorKind, ExecRequest, OutputLimit, ProcessExt, Result};

pub use self::report::{Attempt, Guarantee, Outcome, Probe, Verdict};
use self::{
    report::Line,
    stage::{PROGRAM, Stage, Witness},
};
use super::Isolation;
use crate::{
    LocalProcess,
    process::{error, failure, helper::Program},
};

/// How long all attempts together may take: each is ended after five seconds, and most take none.
const PATIENCE: Duration = Duration::from_mins(2);
/// The word for the attempts on what a whole tree may use: they are made under limits that are small enough.
const ONLY_TREE: &str = "only=tree";
/// More than all attempts have to say.
const MAX_OUTPUT: u64 = 1 << 20;

impl Isolation {
    /// Tries to get out: a program makes some 200 attempts inside this isolation, below a root of its own, and the same
    /// ones outside. Takes a second or so. Nothing is harmed where an attempt succeeds.
    ///
    /// [Limits of the tree](Self::with_tree_limits) are tried in small: 64 MiB, 32 processes, a tenth of a processor.
    ///
    /// Attempts that fail outside too prove nothing and are not counted. Where this machine can't isolate commands so,
    /// every guarantee is [`Unavailable`](Verdict::Unavailable).
    ///
    /// # Errors
    /// `InvalidInput` for an isolation that contradicts itself; `Unavailable` without a tokio runtime, and where the
    /// witness or the program of the attempts does not work outside; those of files below the temporary directory.
    pub async fn probe(&self) -> Result<Probe> {
        self.probe_through(&Program::Embedded).await
    }

    /// The same, with the helper of this program.
    pub(in crate::process) async fn probe_through(&self, program: &Program) -> Result<Probe> {
        let stage = Stage::build(self, program)?;
        let witness = Witness::start(&stage, program).await?;
        let start = |isolation: Self| {
            LocalProcess::new(stage.inside())?.with_program(program.clone()).with_isolation(isolation)
        };
        let process = match start(self.clone()) {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(Probe::unavailable(&error.to_string()));
            }
            Err(error) => return Err(error),
        };
        // First, since outside the attempts use up what they aim at.
        let mut inside = attempt(&process, &witness, None).await?;
        // The protection would hold here, too.
        drop(process);
        let mut outside = attempt_outside(stage.without(), &witness, None).await?;
        if !self.tree.is_none() {
            let process = start(self.clone().with_tree_limits(self.tree.in_small()))?;
            inside.extend(attempt(&process, &witness, Some(ONLY_TREE)).await?);
            outside.extend(attempt_outside(stage.without(), &witness, Some(ONLY_TREE)).await?);
            let is_limited = |line: &Line| self.tree.is_limited(line.name());
            inside.retain(|line| !line.is_of(Guarantee::Tree) || is_limited(line));
        }
        Ok(Probe::new(&inside, &outside))
    }
}

async fn attempt(process: &LocalProcess, witness: &Witness, only: Option<&str>) -> Result<Vec<Line>> {
    let mut args = vec!["probe".to_owned()];
    args.extend(witness.words().chain(only.map(str::to_owned)));
    let request = ExecRequest::program(format!("./{PROGRAM}"), args)
        .with_timeout(PATIENCE)
        .with_output_limit(OutputLimit::truncate(MAX_OUTPUT));
    let output = process.exec(request).await?;
    report::parse(&output.stdout_text()).ok_or_else(|| {
        let told = output.stderr_text();
        let message = format!("the attempts did not come to their end: {} {}", output.status, told.trim());
        error(ErrorKind::Unavailable, "probe").with_message(message)
    })
}

/// As a program that knows nothing of all this would start another.
async fn attempt_outside(directory: &Path, witness: &Witness, only: Option<&str>) -> Result<Vec<Line>> {
    let mut command = Command::new(directory.join(PROGRAM));
    command
        .arg("probe")
        .args(witness.words().chain(only.map(str::to_owned)))
        .current_dir(directory)
        .env("AGENTX_PROBE_SECRET", witness.secret());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let run = move || {
        let mut child = start(&mut command)?;
        let mut text = String::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(MAX_OUTPUT).read_to_string(&mut text)?;
        }
        child.wait()?;
        Ok(text)
    };
    let ran: io::Result<String> = tokio::task::spawn_blocking(run).await.map_err(|source| {
        error(ErrorKind::Unavailable, "probe").with_message("the runtime shuts down").with_source(source)
    })?;
    let text = ran.map_err(|source| failure("probe", source))?;
    report::parse(&text).ok_or_else(|| {
        error(ErrorKind::Unavailable, "probe").with_message("the attempts outside did not come to their end")
    })
}

/// A program that was just written may for a moment be held open by a child of another thread.
fn start(command: &mut Command) -> io::Result<std::process::Child> {
    for _ in 1..20 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
    command.spawn()
}
