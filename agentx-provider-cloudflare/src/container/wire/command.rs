use std::{collections::BTreeMap, fmt, time::Duration};

use agentx_resource::{
    Error, ErrorKind, ExecEvent, ExecRequest, ExitStatus, Invocation, OnExceed, OutputLimit, OutputStream,
    ResourceLimits, ResourcePath, Signal, Stdin, TerminalSize,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Fault, base64};

/// A command to run: an [`ExecRequest`] on its way.
#[derive(Clone, Serialize, Deserialize)]
pub struct Command {
    run: Run,
    cwd: String,
    env: BTreeMap<String, String>,
    stdin: Input,
    timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    limits: Limits,
    terminal: Option<Size>,
    output: Output,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Run {
    Program { program: String, args: Vec<String> },
    Shell { script: String },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Input {
    Null,
    Bytes(#[serde(with = "base64")] Bytes),
    Piped,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    memory: Option<u64>,
    cpu_time: Option<Duration>,
    file_size: Option<u64>,
    open_files: Option<u64>,
    processes: Option<u64>,
}

/// A terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    columns: u16,
    rows: u16,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Output {
    head: u64,
    tail: usize,
    kill: bool,
}

/// Shows nothing: a value may be a secret.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").finish_non_exhaustive()
    }
}

impl Command {
    /// A request as it is sent.
    ///
    /// # Errors
    /// `Unsupported` for a way to run or an input that this version does not know.
    pub fn new(request: &ExecRequest) -> Result<Self, Error> {
        let unknown = |what: &str| {
            Error::new(ErrorKind::Unsupported, "spawn")
                .with_message(format!("this kind of {what} can't be sent"))
        };
        Ok(Self {
            run: match &request.invocation {
                Invocation::Program { program, args } => {
                    Run::Program { program: program.clone(), args: args.clone() }
                }
                Invocation::Shell { script } => Run::Shell { script: script.clone() },
                _ => return Err(unknown("invocation")),
            },
            cwd: request.cwd.to_string(),
            env: request.env.clone(),
            stdin: match &request.stdin {
                Stdin::Null => Input::Null,
                Stdin::Bytes(bytes) => Input::Bytes(bytes.clone()),
                Stdin::Piped => Input::Piped,
                _ => return Err(unknown("input")),
            },
            timeout: request.timeout,
            idle_timeout: request.idle_timeout,
            limits: Limits {
                memory: request.limits.memory,
                cpu_time: request.limits.cpu_time,
                file_size: request.limits.file_size,
                open_files: request.limits.open_files,
                processes: request.limits.processes,
            },
            terminal: request.terminal.map(Size::from),
            output: Output {
                head: request.output_limit.head,
                tail: request.output_limit.tail,
                kill: request.output_limit.on_exceed == OnExceed::Kill,
            },
        })
    }

    /// The request as it was.
    ///
    /// # Errors
    /// `InvalidPath` for a directory that is none.
    pub fn into_request(self) -> Result<ExecRequest, Error> {
        let request = match self.run {
            Run::Program { program, args } => ExecRequest::program(program, args),
            Run::Shell { script } => ExecRequest::shell(script),
        };
        let limit = OutputLimit::head_and_tail(self.output.head, self.output.tail);
        let mut request = request
            .with_cwd(ResourcePath::new(self.cwd)?)
            .with_envs(self.env)
            .with_stdin(match self.stdin {
                Input::Null => Stdin::Null,
                Input::Bytes(bytes) => Stdin::Bytes(bytes),
                Input::Piped => Stdin::Piped,
            })
            .with_limits(self.limits.into())
            .with_output_limit(limit);
        if self.output.kill {
            request.output_limit.on_exceed = OnExceed::Kill;
        }
        request.timeout = self.timeout;
        request.idle_timeout = self.idle_timeout;
        request.terminal = self.terminal.map(TerminalSize::from);
        Ok(request)
    }
}

impl From<Limits> for ResourceLimits {
    fn from(limits: Limits) -> Self {
        let mut known = Self::default();
        known.memory = limits.memory;
        known.cpu_time = limits.cpu_time;
        known.file_size = limits.file_size;
        known.open_files = limits.open_files;
        known.processes = limits.processes;
        known
    }
}

impl From<TerminalSize> for Size {
    fn from(size: TerminalSize) -> Self {
        Self { columns: size.columns, rows: size.rows }
    }
}

impl From<Size> for TerminalSize {
    fn from(size: Size) -> Self {
        Self { columns: size.columns, rows: size.rows }
    }
}

/// What a running command is told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// No more input.
    CloseStdin,
    /// This signal, by its number on Linux.
    Signal(i32),
    /// The terminal has this size now.
    Resize(Size),
    /// To end.
    Kill,
}

/// The signals that can be sent, by their numbers on Linux.
const SIGNALS: &[(Signal, i32)] = &[
    (Signal::Hangup, 1),
    (Signal::Interrupt, 2),
    (Signal::Quit, 3),
    (Signal::Kill, 9),
    (Signal::User1, 10),
    (Signal::User2, 12),
    (Signal::Terminate, 15),
    (Signal::Continue, 18),
    (Signal::Stop, 19),
];

impl Control {
    /// This signal; none for one that this version does not know.
    pub fn signal(signal: Signal) -> Option<Self> {
        SIGNALS.iter().find(|(known, _)| *known == signal).map(|(_, number)| Self::Signal(*number))
    }

    /// The signal of this number.
    pub fn known_signal(number: i32) -> Option<Signal> {
        SIGNALS.iter().find(|(_, known)| *known == number).map(|(signal, _)| *signal)
    }
}

/// An event and its place in the command's life, from 1 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// One more than the event before has.
    pub number: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a command tells, and what the server tells of its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Standard output.
    Stdout {
        /// The bytes.
        #[serde(with = "base64")]
        data: Bytes,
    },
    /// Standard error.
    Stderr {
        /// The bytes.
        #[serde(with = "base64")]
        data: Bytes,
    },
    /// Bytes were thrown away.
    Truncated {
        /// Of standard error, not of standard output.
        stderr: bool,
        /// How many.
        dropped: u64,
    },
    /// The command has ended.
    Exited(Status),
    /// The platform reported an error.
    Failed(Box<Fault>),
    /// Nothing follows.
    End,
    /// This answer ends, and not the events: whoever wants more asks again. It has the number of the event before.
    More,
    /// What a later version tells. It is counted, and nothing else.
    #[serde(other)]
    Unknown,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status", content = "value")]
pub enum Status {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its time ran out.
    TimedOut,
    /// On request.
    Killed,
    /// For its output.
    OutputLimit,
    /// Nobody knows.
    Lost,
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Code(code) => Self::Code(code),
            ExitStatus::Signal(signal) => Self::Signal(signal),
            ExitStatus::TimedOut => Self::TimedOut,
            ExitStatus::Killed => Self::Killed,
            ExitStatus::OutputLimit => Self::OutputLimit,
            _ => Self::Lost,
        }
    }
}

impl From<Status> for ExitStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Code(code) => Self::Code(code),
            Status::Signal(signal) => Self::Signal(signal),
            Status::TimedOut => Self::TimedOut,
            Status::Killed => Self::Killed,
            Status::OutputLimit => Self::OutputLimit,
            Status::Lost => Self::Lost,
        }
    }
}

impl Event {
    /// An event of the platform in pieces that fit: output longer than [`EVENT_BYTES`](super::EVENT_BYTES) is cut.
    pub fn pieces(event: ExecEvent) -> Vec<Self> {
        let cut = |bytes: Bytes, make: fn(Bytes) -> Self| {
            let ends = (0..bytes.len()).step_by(super::EVENT_BYTES);
            ends.map(|at| make(bytes.slice(at..bytes.len().min(at + super::EVENT_BYTES)))).collect()
        };
        match event {
            ExecEvent::Stdout(data) => cut(data, |data| Self::Stdout { data }),
            ExecEvent::Stderr(data) => cut(data, |data| Self::Stderr { data }),
            ExecEvent::Truncated { stream, dropped } => {
                vec![Self::Truncated { stderr: stream == OutputStream::Stderr, dropped }]
            }
            ExecEvent::Exited(status) => vec![Self::Exited(status.into())],
            _ => vec![Self::Unknown],
        }
    }

    /// About how much of a log it takes, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Stdout { data } | Self::Stderr { data } => data.len(),
                _ => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_arrives_as_it_was() {
        let limits = ResourceLimits::default().with_memory(1 << 30).with_cpu_time(Duration::from_secs(3));
        let requests = [
            ExecRequest::program("cat", ["a", "é\n"])
                .with_cwd(ResourcePath::new("/a b").unwrap())
                .with_env("KEY", "value")
                .with_stdin(Stdin::Bytes(Bytes::from_static(b"\0\xff")))
                .with_timeout(Duration::from_millis(1500))
                .with_idle_timeout(Duration::from_nanos(1))
                .with_limits(limits)
                .with_output_limit(OutputLimit::kill(7)),
            ExecRequest::shell("exit 3")
                .with_stdin(Stdin::Piped)
                .with_terminal(TerminalSize { columns: 3, rows: 4 })
                .with_output_limit(OutputLimit::head_and_tail(u64::MAX, 5)),
        ];
        for request in requests {
            let wire = serde_json::to_string(&Command::new(&request).unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&wire).unwrap().into_request().unwrap(), request);
        }
    }

    #[test]
    fn events_arrive_as_they_were_and_unknown_ones_are_known_as_such() {
        let events = [
            Event::Stdout { data: Bytes::from_static(b"\0\xff") },
            Event::Stderr { data: Bytes::new() },
            Event::Truncated { stderr: true, dropped: u64::MAX },
            Event::Exited(Status::Code(-1)),
            Event::Exited(Status::TimedOut),
            Event::Failed(Box::new(Fault::from(&Error::new(ErrorKind::Internal, "x")))),
            Event::End,
            Event::More,
        ];
        for (number, event) in (1..).zip(events) {
            let numbered = Numbered { number, event };
            let wire = serde_json::to_string(&numbered).unwrap();
            assert_eq!(serde_json::from_str::<Numbered>(&wire).unwrap(), numbered, "{wire}");
        }
        let later = serde_json::from_str::<Numbered>(r#"{"number":3,"type":"sang","song":[1]}"#).unwrap();
        assert_eq!(later, Numbered { number: 3, event: Event::Unknown });
    }

    #[test]
    fn long_output_is_cut_and_none_is_lost() {
        let bytes = Bytes::from(vec![b'x'; super::super::EVENT_BYTES * 2 + 1]);
        let pieces = Event::pieces(ExecEvent::Stdout(bytes.clone()));
        assert_eq!(pieces.len(), 3);
        let joined: Vec<u8> = pieces
            .into_iter()
            .flat_map(|piece| match piece {
                Event::Stdout { data } => data,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(joined, bytes);
    }

    #[test]
    fn signals_are_found_by_their_numbers() {
        for (signal, number) in SIGNALS {
            assert_eq!(Control::known_signal(*number), Some(*signal));
        }
        assert_eq!(Control::known_signal(11), None);
    }
}
