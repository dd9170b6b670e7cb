//! Shows a turn as it happens.

use std::{
    collections::HashMap,
    io::{self, Write},
    time::Instant,
};

use agentx::{EventData, TurnReport};
use serde_json::Value;

/// How many lines of a tool's answer are shown.
const FOLD: usize = 4;
/// How many characters of a line are shown.
const WIDTH: usize = 100;

/// Writes what happens, line by line, with everything that a terminal could take for a command left out.
pub(crate) struct View<W> {
    out: W,
    started: Instant,
    steps: u32,
    calls: u32,
    titles: HashMap<String, String>,
    mid_line: bool,
}

impl<W: Write> View<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, started: Instant::now(), steps: 0, calls: 0, titles: HashMap::new(), mid_line: false }
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: &EventData) -> io::Result<()> {
        match event {
            EventData::MessageStart { .. } => {
                self.steps += 1;
                if self.steps > 1 {
                    let (calls, seconds) = (self.calls, self.started.elapsed().as_secs_f64());
                    self.line(&format!(
                        "  [step {}, {calls} tool calls so far, {seconds:.2} s]\n",
                        self.steps
                    ))?;
                }
            }
            EventData::TextDelta { text } => {
                write!(self.out, "{}", printable(text))?;
                self.mid_line = !text.ends_with('\n');
            }
            EventData::ToolExecuting { tool_id, tool_name, input } => {
                let title = format!("{tool_name} {}", title(input));
                self.line(&format!("● {}", cut(&title)))?;
                self.titles.insert(tool_id.clone(), title);
            }
            EventData::ToolCompleted { tool_id, result, .. } => self.fold(tool_id, "✓", &result.to_text())?,
            EventData::ToolFailed { tool_id, error, .. } => self.fold(tool_id, "✗", error)?,
            EventData::MessageRestarted { reason } => {
                self.line(&format!("(begun anew: {})", printable(reason)))?;
            }
            EventData::Lagged { missed } => self.line(&format!("({missed} events were too fast to show)"))?,
            _ => {}
        }
        self.out.flush()
    }

    /// Shows what the turn used.
    pub(crate) fn usage(&mut self, report: &TurnReport, unit: &str) -> io::Result<()> {
        let usage = report.usage;
        self.line(&format!(
            "{} model calls, {} tool calls, {:.2} s; {} {unit} in, {} {unit} out",
            self.steps,
            self.calls,
            self.started.elapsed().as_secs_f64(),
            usage.total_input(),
            usage.output_tokens,
        ))
    }

    /// Writes a line of its own.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        if std::mem::take(&mut self.mid_line) {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{text}")
    }

    fn fold(&mut self, id: &str, mark: &str, text: &str) -> io::Result<()> {
        self.calls += 1;
        let title = self.titles.remove(id).unwrap_or_default();
        self.line(&format!("  {mark} {}", cut(&title)))?;
        for line in text.lines().take(FOLD) {
            self.line(&format!("    {}", cut(line)))?;
        }
        match text.lines().count() {
            lines if lines > FOLD => self.line(&format!("    … {} more lines", lines - FOLD)),
            _ => Ok(()),
        }
    }
}

/// A writer whose reader may leave: from then on the work goes on unseen.
pub(crate) struct WhileRead<W>(pub(crate) W);

impl<W: Write> Write for WhileRead<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// What a call is about: the first of its inputs that says so.
fn title(input: &Value) -> String {
    ["description", "command", "file_path", "pattern", "path", "name"]
        .iter()
        .find_map(|key| input.get(key)?.as_str())
        .map(str::to_owned)
        .unwrap_or_default()
}

fn cut(line: &str) -> String {
    let line = printable(line);
    if line.chars().count() <= WIDTH { line } else { line.chars().take(WIDTH).chain(['…']).collect() }
}

/// Names of files and answers of commands may hold anything; only text and line ends reach the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(
            |character| {
                if character.is_control() && !matches!(character, '\n' | '\t') {
                    '\u{fffd}'
                } else {
                    character
                }
            },
        )
        .collect()
}
