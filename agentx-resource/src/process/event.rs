use std::fmt;

use bytes::Bytes;

/// What a running command tells.
///
/// Output may still come after `Exited`: a process that the command started may hold the pipe. It is read for a
/// bounded grace period, and then the events end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecEvent {
    /// A piece of standard output.
    Stdout(Bytes),
    /// A piece of standard error.
    Stderr(Bytes),
    /// The stream exceeded its limit: at this place `dropped` bytes were read and thrown away. Told once, when the
    /// stream has ended; the tail that was kept follows.
    Truncated {
        /// Which stream.
        stream: OutputStream,
        /// How many bytes were thrown away.
        dropped: u64,
    },
    /// The command itself has ended. Told once.
    Exited(ExitStatus),
}

/// One of a command's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it: its own, one from elsewhere, or one of [`Child::signal`](crate::Child::signal).
    Signal(i32),
    /// Its time ran out, and it was killed.
    TimedOut,
    /// It was killed on request.
    Killed,
    /// Its output exceeded the limit, and it was killed.
    OutputLimit,
    /// It was killed by the platform for a limit of memory that it shares with others: all that it has started, or all
    /// that runs beside it.
    OutOfMemory,
    /// It can't be known how it ended.
    Lost,
}

impl ExitStatus {
    /// Whether it exited with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, where there was one.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Killed => f.write_str("killed"),
            Self::OutputLimit => f.write_str("killed for too much output"),
            Self::OutOfMemory => f.write_str("killed for too much memory"),
            Self::Lost => f.write_str("outcome unknown"),
        }
    }
}

/// A command that has run: its status and its output, as far as the limits kept it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What was kept of standard output: where bytes were thrown away, its head and its tail.
    pub stdout: Bytes,
    /// What was kept of standard error: where bytes were thrown away, its head and its tail.
    pub stderr: Bytes,
    /// How many bytes of standard output were thrown away.
    pub stdout_dropped: u64,
    /// How many bytes of standard error were thrown away.
    pub stderr_dropped: u64,
    /// The length of the head in `stdout`: what was thrown away is missing there. All of it where nothing was.
    pub stdout_head: usize,
    /// The length of the head in `stderr`.
    pub stderr_head: usize,
}

impl ExecOutput {
    /// A command that ended so, without output.
    pub fn new(status: ExitStatus) -> Self {
        Self {
            status,
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            stdout_dropped: 0,
            stderr_dropped: 0,
            stdout_head: 0,
            stderr_head: 0,
        }
    }

    /// Standard output as text, with what is not UTF-8 replaced.
    pub fn stdout_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// Standard error as text, with what is not UTF-8 replaced.
    pub fn stderr_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}
