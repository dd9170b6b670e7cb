use std::time::Duration;

use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{
    Child, ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream, ShellCommand, ShellOptions,
};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Action, Long, ToolOptions, capture::Capture, schema};
use crate::NodeRuntime;

const DEFAULT_TIMEOUT_MS: u64 = 120_000;
const MAX_TIMEOUT_MS: u64 = 600_000;
/// What is kept of each output stream, of its beginning and of its end, when the rest can be put away: 16 MiB in all.
const KEEP_OFFLOADED: usize = 4 << 20;
/// The same when there is no place for it: more than enough for what the model gets.
const KEEP: usize = 128 << 10;

/// Runs a shell command.
///
/// The answer is standard output, then standard error. An exit code other than 0, a signal and a timeout are told
/// below it, as an error that keeps the output. What is longer than 30,000 characters is put away where the runtime
/// has a place for it; the model gets the beginning and the end.
#[derive(Debug)]
pub(super) struct Bash {
    pub(super) runtime: NodeRuntime,
    pub(super) options: ToolOptions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    command: String,
    timeout: Option<u64>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    run_in_background: bool,
}

/// A command whose output is read as it comes.
enum Running {
    Own(Box<dyn Child>),
    Shared(Box<ShellCommand>),
}

/// What came of a command.
struct Captured {
    output: String,
    /// How many bytes of it were not kept.
    dropped: u64,
    end: Result<ExitStatus>,
    /// What happened to the shell that the calls share.
    shell: Option<&'static str>,
}

#[async_trait]
impl Action for Bash {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let (root, cwd) = (self.runtime.root(), self.runtime.display(self.runtime.cwd()));
        let shell = if self.options.shell.is_some() {
            format!(
                "All calls share one shell that starts in {cwd}: its directory, variables and functions stay. (Relative \
                 paths of the other tools always begin in {cwd}.) A command that runs longer than its timeout is killed, \
                 and the shell with it."
            )
        } else {
            format!(
                "Each call is a new shell that starts in {cwd}. A command that runs longer than its timeout is killed, \
                 and so is what it leaves in the background."
            )
        };
        let description = format!(
            "Runs a shell command and returns its output. {shell} Only the files below {root} are there for the other \
             tools. Prefer read, edit, glob and grep to cat, sed, find and grep."
        );
        let mut properties = json!({
            "command": {"type": "string", "description": "The command to run"},
            "timeout": {
                "type": "integer",
                "description": format!(
                    "Milliseconds after which it is killed; {DEFAULT_TIMEOUT_MS} by default, at most {MAX_TIMEOUT_MS}"
                ),
                "minimum": 1,
                "maximum": MAX_TIMEOUT_MS,
            },
            "description": {"type": "string", "description": "What the command does, in five to ten words"},
        });
        if let (true, Some(properties)) = (self.options.background.is_some(), properties.as_object_mut()) {
            let description = format!(
                "Starts the command in a shell of its own, in {cwd}, without a timeout, and returns at once; read its \
                 output with bash_output, end it with kill_shell"
            );
            properties.insert(
                "run_in_background".to_owned(),
                json!({"type": "boolean", "description": description}),
            );
        }
        ToolDefinition::new("bash", description, schema(&properties, &["command"]))
    }

    async fn run(&self, input: Input, context: ToolContext) -> Result<ToolOutput> {
        let timeout = input.timeout.unwrap_or(DEFAULT_TIMEOUT_MS);
        let invalid =
            |message: String| Err(Error::new(ErrorKind::InvalidInput, "bash").with_message(message));
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout) {
            return invalid(format!("timeout is in milliseconds, from 1 to {MAX_TIMEOUT_MS}"));
        }
        if input.command.trim().is_empty() {
            return invalid("the command is empty".to_owned());
        }
        if input.run_in_background {
            return self.start(input.command).await;
        }
        let running = self.spawn(input.command, Duration::from_millis(timeout)).await?;
        let Captured { output, dropped, end, shell } = self.capture(running).await;
        let long = Long {
            text: output,
            dropped,
            name: &format!("bash-{}", context.call_id),
            otherwise: "run the command again with head, tail or grep to see them",
        };
        let mut output = long.shorten(self.runtime.offload()).await;
        if let Some(told) = shell {
            output.insert_str(0, &format!("[{told}]\n"));
            output.truncate(output.trim_end().len());
        }
        let end = match end {
            Ok(ExitStatus::Code(0)) => {
                let output = if output.is_empty() { "(no output)".to_owned() } else { output };
                return Ok(ToolOutput::Text(output));
            }
            Ok(ExitStatus::TimedOut) => format!("timed out after {timeout} ms, and was killed"),
            Ok(status) => status.to_string(),
            Err(error) => format!("{}: {error}", ExitStatus::Lost),
        };
        let separator = if output.is_empty() { "" } else { "\n" };
        Ok(ToolOutput::ErrorText(format!("{output}{separator}{end}")))
    }
}

impl Bash {
    /// Starts a command in the background.
    async fn start(&self, command: String) -> Result<ToolOutput> {
        let Some(background) = &self.options.background else {
            return Err(Error::new(ErrorKind::InvalidInput, "bash")
                .with_message("run_in_background is not available here; nothing was done"));
        };
        let request = self.runtime.with_settings(ExecRequest::shell(command)).await?;
        let id = background.start(request).await?;
        Ok(format!("The command runs in the background with ID {id}. Read its output with bash_output.")
            .into())
    }

    async fn spawn(&self, command: String, timeout: Duration) -> Result<Running> {
        // The output is read as it comes, and bounded here: its end matters as much as its beginning.
        let limit = OutputLimit::none();
        if let Some(session) = &self.options.shell {
            let options = ShellOptions::default().with_timeout(timeout).with_output_limit(limit);
            return Ok(Running::Shared(Box::new(session.start(&command, options).await?)));
        }
        let request = ExecRequest::shell(command).with_timeout(timeout).with_output_limit(limit);
        Ok(Running::Own(self.runtime.spawn(request).await?))
    }

    /// Reads what a command writes, to its end.
    async fn capture(&self, mut running: Running) -> Captured {
        let keep = if self.runtime.offload().is_some() { KEEP_OFFLOADED } else { KEEP };
        let mut stdout = Capture::new(self.runtime.redactor(), keep);
        let mut stderr = Capture::new(self.runtime.redactor(), keep);
        let mut end = Ok(ExitStatus::Lost);
        loop {
            match running.next_event().await {
                Ok(Some(ExecEvent::Stdout(bytes))) => stdout.push(&bytes),
                Ok(Some(ExecEvent::Stderr(bytes))) => stderr.push(&bytes),
                Ok(Some(ExecEvent::Truncated { stream, dropped })) => match stream {
                    OutputStream::Stdout => stdout.count_dropped(dropped),
                    OutputStream::Stderr => stderr.count_dropped(dropped),
                },
                Ok(Some(ExecEvent::Exited(status))) => end = Ok(status),
                Ok(Some(_)) => {}
                Ok(None) => break,
                // What was written until then is still worth telling.
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        let shell = running.shell();
        let ((mut output, dropped), (stderr, more_dropped)) = (stdout.finish(), stderr.finish());
        if !output.is_empty() && !output.ends_with('\n') && !stderr.is_empty() {
            output.push('\n');
        }
        output.push_str(&stderr);
        output.truncate(output.trim_end().len());
        Captured { output, dropped: dropped + more_dropped, end, shell }
    }
}

impl Running {
    async fn next_event(&mut self) -> Result<Option<ExecEvent>> {
        match self {
            Self::Own(child) => child.next_event().await,
            Self::Shared(command) => command.next_event().await,
        }
    }

    /// What the agent must know of the shell that its calls share.
    fn shell(&self) -> Option<&'static str> {
        match self {
            Self::Shared(command) if command.ended() => {
                Some("the shell has ended with this command; the next call begins a new one")
            }
            Self::Shared(command) if command.restarted() => {
                Some("a new shell: the variables, functions and jobs of the one before are gone")
            }
            _ => None,
        }
    }
}
