use std::time::Duration;

use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Action, MAX_RESULT_CHARS, capture::Capture, schema};
use crate::NodeRuntime;

const DEFAULT_TIMEOUT_MS: u64 = 120_000;
const MAX_TIMEOUT_MS: u64 = 600_000;
/// What is kept of each output stream, of its beginning and of its end, when the rest can be put away: 16 MiB in all.
const KEEP_OFFLOADED: usize = 4 << 20;
/// The same when there is no place for it: more than enough for what the model gets.
const KEEP: usize = 128 << 10;
/// What the model gets of a long output, in characters.
const HEAD_CHARS: usize = 12_000;
const TAIL_CHARS: usize = 16_000;

/// Runs a shell command.
///
/// The answer is standard output, then standard error. An exit code other than 0, a signal and a timeout are told
/// below it, as an error that keeps the output. What is longer than 30,000 characters is put away where the runtime
/// has a place for it; the model gets the beginning and the end.
#[derive(Debug)]
pub(super) struct Bash(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    command: String,
    timeout: Option<u64>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[async_trait]
impl Action for Bash {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Runs a shell command and returns its output. Each call is a new shell that starts in {}; only the \
             files below {} are there for the other tools. Prefer read, edit, glob and grep to cat, sed, find and \
             grep. A command that runs longer than its timeout is killed, and so is what it leaves in the background.",
            self.0.display(self.0.cwd()),
            self.0.root()
        );
        let properties = json!({
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
        let request = ExecRequest::shell(input.command)
            .with_timeout(Duration::from_millis(timeout))
            // The output is read as it comes, and bounded here: its end matters as much as its beginning.
            .with_output_limit(OutputLimit::none());
        let (output, dropped, end) = self.capture(request).await?;
        let output = self.shorten(output, dropped, &context.call_id).await;
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
    /// Runs a command; gives what it wrote, how many bytes of that were not kept, and how it ended.
    async fn capture(&self, request: ExecRequest) -> Result<(String, u64, Result<ExitStatus>)> {
        let child = self.0.spawn(request).await?;
        let keep = if self.0.offload().is_some() { KEEP_OFFLOADED } else { KEEP };
        let mut stdout = Capture::new(self.0.redactor(), keep);
        let mut stderr = Capture::new(self.0.redactor(), keep);
        let mut end = Ok(ExitStatus::Lost);
        loop {
            match child.next_event().await {
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
        let ((mut output, dropped), (stderr, more_dropped)) = (stdout.finish(), stderr.finish());
        if !output.is_empty() && !output.ends_with('\n') && !stderr.is_empty() {
            output.push('\n');
        }
        output.push_str(&stderr);
        output.truncate(output.trim_end().len());
        Ok((output, dropped + more_dropped, end))
    }

    /// The beginning and the end of a long output, and where the rest is.
    async fn shorten(&self, output: String, dropped: u64, call_id: &str) -> String {
        let Some((head, tail, left_out)) = ends(&output) else { return output };
        let lost = match dropped {
            0 => String::new(),
            _ => format!(" and {dropped} bytes that were not kept"),
        };
        let rest = match self.0.offload() {
            None => "run the command again with head, tail or grep to see them".to_owned(),
            Some(offload) => match offload.store(&format!("bash-{call_id}"), output.clone().into()).await {
                Ok(path) if dropped == 0 => {
                    format!("the whole output is in {path}: use read with offset and limit, or grep")
                }
                Ok(path) => format!("what was kept is in {path}: use read with offset and limit, or grep"),
                Err(error) => format!("the output could not be stored: {error}"),
            },
        };
        format!("{head}\n\n[{left_out} characters left out{lost}; {rest}]\n\n{tail}")
    }
}

/// The beginning and the end of a text that is too long, and how many characters lie between.
fn ends(text: &str) -> Option<(&str, &str, usize)> {
    // Bytes are never fewer than characters.
    let chars = if text.len() > MAX_RESULT_CHARS { text.chars().count() } else { 0 };
    if chars <= MAX_RESULT_CHARS {
        return None;
    }
    let (head_end, _) = text.char_indices().nth(HEAD_CHARS)?;
    let (tail_start, _) = text.char_indices().nth_back(TAIL_CHARS - 1)?;
    Some((text.get(..head_end)?, text.get(tail_start..)?, chars - HEAD_CHARS - TAIL_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_long_text() {
        assert_eq!(ends(&"ü".repeat(MAX_RESULT_CHARS)), None);
        let text = format!("{}{}", "a".repeat(HEAD_CHARS + 5000), "ü".repeat(TAIL_CHARS));
        let (head, tail, left_out) = ends(&text).unwrap();
        assert_eq!((head.len(), tail.chars().count(), left_out), (HEAD_CHARS, TAIL_CHARS, 5000));
        assert!(tail.starts_with('ü'));
    }
}
