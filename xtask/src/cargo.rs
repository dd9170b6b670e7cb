//! Runs cargo, and remembers what to type to see a failure again.

use std::{
    env,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use crate::tally::Tally;

/// What steps have found: the test cases, and the commands that failed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// Adds what another step found.
    pub(crate) fn add(&mut self, other: Self) {
        self.tally += other.tally;
        self.failures.extend(other.failures);
    }

    /// A check of ours that failed, and why.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self { tally: Tally::FAILED, failures: vec![why.into()] }
    }
}

/// One call of cargo, in the workspace's root.
#[derive(Debug)]
pub(crate) struct Step {
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
    without: Vec<&'static str>,
}

impl Step {
    /// `cargo` with these arguments, separated by spaces.
    pub(crate) fn new(args: &str) -> Self {
        Self {
            args: args.split_whitespace().map(str::to_owned).collect(),
            env: Vec::new(),
            without: Vec::new(),
        }
    }

    /// The tests of a package that are ignored elsewhere, by nextest where it is installed.
    pub(crate) fn ignored_tests(package: &str) -> Self {
        if Self::new("nextest --version").output().is_ok() {
            Self::new(&format!("nextest run --package {package} --no-fail-fast --run-ignored all"))
        } else {
            Self::new(&format!("test --package {package} --tests --no-fail-fast -- --include-ignored"))
        }
    }

    /// With one more argument, as it is.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// With this variable.
    pub(crate) fn env(mut self, key: &'static str, value: &str) -> Self {
        self.env.push((key, value.to_owned()));
        self
    }

    /// Without this variable, wherever it comes from.
    pub(crate) fn without(mut self, key: &'static str) -> Self {
        self.without.push(key);
        self
    }

    /// Runs it: one case, which passes or fails.
    pub(crate) fn run(&self) -> Report {
        announce(&self.line());
        match self.command().status() {
            Ok(status) if status.success() => Report { tally: Tally::PASSED, failures: Vec::new() },
            Ok(_) => Report::failed(self.line()),
            Err(error) => Report::failed(format!("{}  ({error})", self.line())),
        }
    }

    /// Runs it and counts the test cases that it tells of. A failure without a failed case (a test that does not
    /// compile) counts as one, and so does a run without a case.
    pub(crate) fn run_tests(&self) -> Report {
        announce(&self.line());
        match self.relay() {
            Ok((true, tally)) if tally == Tally::default() => {
                Report::failed(format!("{}  (no test ran)", self.line()))
            }
            Ok((true, tally)) => Report { tally, failures: Vec::new() },
            Ok((false, mut tally)) => {
                tally.failed = tally.failed.max(1);
                Report { tally, failures: vec![self.line()] }
            }
            Err(error) => Report::failed(format!("{}  ({error})", self.line())),
        }
    }

    /// What it prints, quietly; `Err` when it fails.
    pub(crate) fn output(&self) -> Result<Vec<u8>, String> {
        match self.command().output() {
            Ok(output) if output.status.success() => Ok(output.stdout),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("{}: {error}", self.line())),
        }
    }

    /// Runs it, passing on what it prints line by line.
    fn relay(&self) -> io::Result<(bool, Tally)> {
        let mut command = self.command();
        if io::stderr().is_terminal() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let tally = thread::scope(|scope| {
            let other = scope.spawn(|| count(stderr, io::stderr()));
            let mut tally = count(stdout, io::stdout());
            tally += other.join().unwrap_or_default();
            tally
        });
        Ok((child.wait()?.success(), tally))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        for key in &self.without {
            command.env_remove(key);
        }
        command.current_dir(root());
        command
    }

    /// The step as a user would type it.
    fn line(&self) -> String {
        let variables = self.env.iter().map(|(key, value)| format!("{key}=\"{value}\""));
        let words = variables.chain(["cargo".to_owned()]).chain(self.args.iter().cloned());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn announce(line: &str) {
    eprintln!("\n$ {line}");
}

/// Passes `from` on to `to` line by line, and counts the cases that its summaries tell.
fn count(from: Option<impl Read>, mut to: impl Write) -> Tally {
    let mut tally = Tally::default();
    let Some(from) = from else { return tally };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line) {
        // A terminal that is gone must not end the tests.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        tally += Tally::of_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_as_it_would_be_typed() {
        let step = Step::new("doc --workspace").env("RUSTDOCFLAGS", "-D warnings").arg("--no-deps");
        assert_eq!(step.line(), r#"RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps"#);
    }

    #[test]
    fn lines_are_passed_on_and_counted() {
        let text = "running\ntest result: ok. 2 passed; 0 failed; 0 ignored\nlast line without an end";
        let mut seen = Vec::new();
        let tally = count(Some(text.as_bytes()), &mut seen);
        assert_eq!(seen, text.as_bytes());
        assert_eq!(tally.passed, 2);
    }
}
