use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentx_resource::{
    Child, ExecEvent, ExecRequest, ExitStatus, OutputStream, Process, ProcessCapabilities, Result, Signal,
    TerminalSize,
};
use async_trait::async_trait;
use bytes::Bytes;

/// What is wrong with a [`FaultyLive`]: mistakes of processes that show when a command lives long, in a session or in
/// the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LiveFault {
    /// Output passes through a terminal that turns each newline into two characters.
    CooksOutput,
    /// Output is taken for UTF-8.
    DecodesOutput,
    /// After the first MiB, output is thrown away, whatever the limit.
    CapsOutput,
    /// Output is told when the command has ended.
    HoldsOutput,
    /// Standard error comes as standard output.
    MergesStreams,
    /// Live input is cut off after 64 KiB.
    CutsInput,
    /// Closing live input does nothing.
    IgnoresInputClose,
    /// Commands start at the root, wherever they are to start.
    IgnoresCwd,
    /// The variables of a request are left out.
    LosesVariables,
    /// Each exit code is told as 0.
    ExitIsSuccess,
    /// A signal is told as the exit code 0.
    SignalIsSuccess,
    /// The events end without an exit.
    TellsNoExit,
    /// `kill` does nothing.
    IgnoresKill,
    /// A command that is killed is said to have been ended by a signal.
    MistakesKill,
    /// Signals are declared, and not sent.
    IgnoresSignals,
    /// The request's timeout is not heeded.
    IgnoresTimeout,
    /// A dropped child goes on.
    LeavesOnDrop,
}

impl LiveFault {
    /// Every fault.
    pub const ALL: &[Self] = &[
        Self::CooksOutput,
        Self::DecodesOutput,
        Self::CapsOutput,
        Self::HoldsOutput,
        Self::MergesStreams,
        Self::CutsInput,
        Self::IgnoresInputClose,
        Self::IgnoresCwd,
        Self::LosesVariables,
        Self::ExitIsSuccess,
        Self::SignalIsSuccess,
        Self::TellsNoExit,
        Self::IgnoresKill,
        Self::MistakesKill,
        Self::IgnoresSignals,
        Self::IgnoresTimeout,
        Self::LeavesOnDrop,
    ];

    /// The id of the case of the [session](crate::process::session) suite that is there to catch it, if there is one.
    pub fn caught_in_session(self) -> Option<&'static str> {
        Some(match self {
            Self::CooksOutput => "session-streams",
            Self::DecodesOutput => "session-binary",
            Self::HoldsOutput => "session-streaming",
            Self::IgnoresCwd => "session-begins",
            Self::LosesVariables => "session-variables",
            Self::ExitIsSuccess => "session-exit",
            Self::SignalIsSuccess => "session-signal",
            Self::TellsNoExit => "session-exec",
            Self::LeavesOnDrop => "session-drop-ends",
            _ => return None,
        })
    }

    /// The id of the case of the [background](crate::process::background) suite that is there to catch it, if there
    /// is one.
    pub fn caught_in_background(self) -> Option<&'static str> {
        Some(match self {
            Self::CooksOutput => "background-ends",
            Self::DecodesOutput | Self::CapsOutput => "background-all",
            Self::HoldsOutput => "background-follow",
            Self::MergesStreams => "background-streams",
            Self::CutsInput => "background-input",
            Self::IgnoresInputClose => "background-followers",
            Self::ExitIsSuccess => "background-status",
            Self::SignalIsSuccess | Self::IgnoresSignals => "background-signal",
            Self::TellsNoExit => "background-refused",
            Self::IgnoresKill | Self::MistakesKill => "background-kill",
            Self::IgnoresTimeout => "background-timeout",
            Self::LeavesOnDrop => "background-drop-ends",
            _ => return None,
        })
    }
}

/// A process with one fault that long-lived commands show. It runs its commands by another that has none.
#[derive(Clone, Debug)]
pub struct FaultyLive {
    inner: Arc<dyn Process>,
    fault: LiveFault,
    strays: Arc<Mutex<Vec<Box<dyn Child>>>>,
}

impl FaultyLive {
    /// Runs commands by `inner`, with this fault.
    pub fn new(inner: Arc<dyn Process>, fault: LiveFault) -> Self {
        Self { inner, fault, strays: Arc::default() }
    }
}

#[async_trait]
impl Process for FaultyLive {
    fn capabilities(&self) -> ProcessCapabilities {
        self.inner.capabilities()
    }

    async fn spawn(&self, mut request: ExecRequest) -> Result<Box<dyn Child>> {
        match self.fault {
            LiveFault::IgnoresCwd => request.cwd = agentx_resource::ResourcePath::root(),
            LiveFault::LosesVariables => request.env.clear(),
            LiveFault::IgnoresTimeout => request.timeout = None,
            _ => {}
        }
        let child = FaultyChild {
            inner: Some(self.inner.spawn(request).await?),
            fault: self.fault,
            strays: Arc::clone(&self.strays),
            state: Mutex::default(),
        };
        Ok(Box::new(child))
    }
}

#[derive(Debug)]
struct FaultyChild {
    /// Taken by `Drop` alone.
    inner: Option<Box<dyn Child>>,
    fault: LiveFault,
    strays: Arc<Mutex<Vec<Box<dyn Child>>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: std::collections::VecDeque<ExecEvent>,
    ended: bool,
    told: usize,
    cut: u64,
    taken: usize,
}

impl FaultyChild {
    fn inner(&self) -> Result<&dyn Child> {
        let gone = || agentx_resource::Error::new(agentx_resource::ErrorKind::Internal, "next event");
        self.inner.as_deref().ok_or_else(gone)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The event as the fault tells it; `None` for one that it keeps to itself.
    fn told(&self, event: ExecEvent) -> Option<ExecEvent> {
        use ExecEvent::{Exited, Stderr, Stdout};
        use LiveFault as Fault;
        let mut state = self.state();
        Some(match (self.fault, event) {
            (Fault::CooksOutput, Stdout(bytes)) => {
                let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                Stdout(
                    lines
                        .flat_map(|line| match line.strip_suffix(b"\n") {
                            Some(line) => [line, b"\r\n"].concat(),
                            None => line.to_vec(),
                        })
                        .collect(),
                )
            }
            (Fault::DecodesOutput, Stdout(bytes)) => {
                Stdout(String::from_utf8_lossy(&bytes).into_owned().into())
            }
            (Fault::CapsOutput, Stdout(bytes)) => {
                state.told += bytes.len();
                if state.told > 1 << 20 {
                    state.cut += bytes.len() as u64;
                    return None;
                }
                Stdout(bytes)
            }
            (Fault::CapsOutput, event @ Exited(_)) if state.cut > 0 => {
                state.held.push_back(event);
                ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: state.cut }
            }
            (Fault::HoldsOutput, event @ (Stdout(_) | Stderr(_))) => {
                state.held.push_back(event);
                return None;
            }
            (Fault::HoldsOutput, event @ Exited(_)) => {
                state.held.push_back(event);
                state.ended = true;
                return None;
            }
            (Fault::MergesStreams, Stderr(bytes)) => Stdout(bytes),
            (Fault::ExitIsSuccess, Exited(ExitStatus::Code(_)))
            | (Fault::SignalIsSuccess, Exited(ExitStatus::Signal(_))) => Exited(ExitStatus::Code(0)),
            (Fault::TellsNoExit, Exited(_)) => return None,
            (Fault::MistakesKill, Exited(ExitStatus::Killed)) => Exited(ExitStatus::Signal(9)),
            (_, event) => event,
        })
    }

    /// What was held, where it is time to tell it.
    fn held(&self) -> Option<ExecEvent> {
        let mut state = self.state();
        let due = self.fault != LiveFault::HoldsOutput || state.ended;
        if due { state.held.pop_front() } else { None }
    }
}

#[async_trait]
impl Child for FaultyChild {
    fn id(&self) -> &str {
        self.inner.as_ref().map_or("", |inner| inner.id())
    }

    async fn write_stdin(&self, mut data: Bytes) -> Result<()> {
        if self.fault == LiveFault::CutsInput {
            let mut state = self.state();
            data.truncate((64_usize << 10).saturating_sub(state.taken));
            state.taken += data.len();
        }
        self.inner()?.write_stdin(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        if self.fault == LiveFault::IgnoresInputClose { Ok(()) } else { self.inner()?.close_stdin().await }
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        loop {
            if let Some(event) = self.held() {
                return Ok(Some(event));
            }
            let Some(event) = self.inner()?.next_event().await? else { return Ok(None) };
            if let Some(event) = self.told(event) {
                return Ok(Some(event));
            }
        }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        if self.fault == LiveFault::IgnoresSignals { Ok(()) } else { self.inner()?.signal(signal).await }
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.inner()?.resize(size).await
    }

    async fn kill(&self) -> Result<()> {
        if self.fault == LiveFault::IgnoresKill { Ok(()) } else { self.inner()?.kill().await }
    }
}

impl Drop for FaultyChild {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|_| self.fault == LiveFault::LeavesOnDrop) {
            lock(&self.strays).push(inner);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
