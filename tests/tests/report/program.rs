//! Runs the example as a user does, with an environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::census::Report;

/// The example, with a home of its own and nothing of this environment but `PATH`.
pub(crate) struct Program {
    home: TempDir,
    server: Option<String>,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().unwrap(), server: None }
    }

    /// With Claude, at this place.
    pub(crate) fn with_server(mut self, url: &str) -> Self {
        self.server = Some(url.to_owned());
        self
    }

    pub(crate) fn run(&self, directory: &Path) -> Run {
        self.start(directory).wait()
    }

    pub(crate) fn start(&self, directory: &Path) -> Running {
        let mut command = Command::new(executable());
        command.arg(directory).env_clear().env("AGENTX_HOME", self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(url) = &self.server {
            command.env("ANTHROPIC_API_KEY", "sk-ant-loopback-test").env("ANTHROPIC_BASE_URL", url);
        }
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running(child)
    }

    /// The report about `directory`, which no other was made by this program.
    pub(crate) fn report(&self, directory: &Path) -> Report {
        let reports: Vec<_> = fs::read_dir(self.home.path().join("report")).unwrap().collect();
        assert_eq!(reports.len(), 1, "one directory, one place: {}", directory.display());
        let place = reports[0].as_ref().unwrap().path();
        assert!(place.join("session.db").is_file());
        Report { text: fs::read_to_string(place.join("output/report.md")).unwrap() }
    }
}

/// A run under way.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(self) -> Run {
        let output = self.0.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Sends what Ctrl-C sends, and waits for the end.
    pub(crate) fn interrupt(self) -> Run {
        let status = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.wait()
    }
}

/// The built example.
fn executable() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "agentx", "--example", "report", "--message-format=json"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the example does not build");
        let told = String::from_utf8(output.stdout).unwrap();
        let messages = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let built: Vec<_> =
            messages.filter_map(|message| Some(message["executable"].as_str()?.to_owned())).collect();
        assert_eq!(built.len(), 1, "{built:?}");
        PathBuf::from(&built[0])
    })
}

/// How many processes have `argument` as one of theirs.
pub(crate) fn processes_with(argument: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let command_lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    command_lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

/// Waits for what must come to pass, for a minute at most.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let given_up = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < given_up, "still waiting: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
