use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use agentx_resource::{Child, Error, ErrorKind, ExecEvent, ExitStatus, Result, Signal, TerminalSize};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    ProcessFault as Fault,
    process::{Running, Strays},
};

/// A command that tells of itself what is not so, or outlives those who hold it.
#[derive(Debug)]
pub(super) struct FaultyChild {
    /// Taken by `Drop` alone.
    inner: Option<Box<dyn Child>>,
    fault: Fault,
    asked: Asked,
    shared: Shared,
    state: Mutex<State>,
}

/// What was asked of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) timed: bool,
    pub(super) live: bool,
    /// How many bytes of input it was given at once.
    pub(super) input: usize,
}

/// What it shares with other children of its process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) strays: Strays,
    pub(super) running: Running,
}

#[derive(Debug, Default)]
struct State {
    /// What is told before anything else.
    next: VecDeque<ExecEvent>,
    /// Output that is held back until it is clear what follows.
    held: Vec<ExecEvent>,
    closed: bool,
    killed: bool,
    exited: bool,
    /// How many bytes of output were told.
    output: usize,
}

impl FaultyChild {
    pub(super) fn new(inner: Box<dyn Child>, fault: Fault, asked: Asked, shared: Shared) -> Self {
        Self { inner: Some(inner), fault, asked, shared, state: Mutex::default() }
    }

    fn inner(&self) -> Result<&dyn Child> {
        self.inner.as_deref().ok_or_else(|| Error::new(ErrorKind::Internal, "next event"))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The event as the fault tells it; `None` for one that it keeps to itself.
    fn told(&self, event: ExecEvent) -> Result<Option<ExecEvent>> {
        use ExecEvent::{Exited, Stderr, Stdout, Truncated};
        let mut state = self.state();
        match &event {
            Stdout(bytes) => state.output += bytes.len(),
            Exited(_) => state.exited = true,
            _ => {}
        }
        Ok(Some(match (self.fault, event) {
            (Fault::TrimsOutput, Stdout(bytes)) => {
                let trimmed = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
                Stdout(bytes.slice(..trimmed))
            }
            (Fault::UnreadIsLost, Exited(_)) if self.asked.input > state.output.max(1 << 16) => {
                Exited(ExitStatus::Lost)
            }
            (Fault::TimedIsTimedOut, Exited(ExitStatus::Code(_))) if self.asked.timed => {
                Exited(ExitStatus::TimedOut)
            }
            (Fault::LosesLastPiece, event @ Stdout(_)) if !self.asked.live => {
                state.held.push(event.clone());
                match state.held.len() {
                    1 => event,
                    2 => return Ok(None),
                    _ => state.held.remove(1),
                }
            }
            (Fault::FailureIsError, Exited(ExitStatus::Code(code))) if code != 0 => {
                return Err(Error::new(ErrorKind::Internal, "exec").with_message("the command failed"));
            }
            (Fault::DropsStderr, Stderr(_)) | (Fault::TruncatesSilently, Truncated { .. }) => {
                return Ok(None);
            }
            (Fault::TellsCutLast, event @ Truncated { .. }) => {
                state.held.push(event);
                return Ok(None);
            }
            (Fault::TellsCutLast, event @ (Stdout(_) | Stderr(_) | Exited(_))) if !state.held.is_empty() => {
                let held = std::mem::take(&mut state.held);
                state.next.push_back(event);
                state.next.extend(held);
                return Ok(None);
            }
            (Fault::MergesStreams, Stderr(bytes)) => Stdout(bytes),
            (Fault::DecodesOutput, Stdout(bytes)) => {
                Stdout(Bytes::from(String::from_utf8_lossy(&bytes).into_owned()))
            }
            (Fault::MistakesLimit, Exited(ExitStatus::OutputLimit))
            | (Fault::MistakesTimeout, Exited(ExitStatus::TimedOut)) => Exited(ExitStatus::Killed),
            (Fault::ForgetsOutputAtTimeout, event @ (Stdout(_) | Stderr(_)))
                if self.asked.timed && !self.asked.live =>
            {
                state.held.push(event);
                return Ok(None);
            }
            (Fault::ForgetsOutputAtTimeout, event @ Exited(status)) => {
                let held = std::mem::take(&mut state.held);
                if status != ExitStatus::TimedOut {
                    state.next.extend(held);
                }
                state.next.push_back(event);
                return Ok(None);
            }
            (Fault::FabricatesSuccess, Exited(ExitStatus::Killed | ExitStatus::Lost))
            | (Fault::SignalAsSuccess, Exited(ExitStatus::Signal(_))) => Exited(ExitStatus::Code(0)),
            (Fault::ExitsTwice, event @ Exited(_)) => {
                state.next.push_back(event.clone());
                event
            }
            (_, event) => event,
        }))
    }
}

#[async_trait]
impl Child for FaultyChild {
    fn id(&self) -> &str {
        match &self.inner {
            Some(inner) if self.fault != Fault::SharesIds => inner.id(),
            _ => "1",
        }
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        match self.fault {
            Fault::SwallowsInput if self.state().closed => Ok(()),
            Fault::SwallowsLateInput if self.state().exited => Ok(()),
            Fault::SwallowsUnaskedInput if !self.asked.live => Ok(()),
            Fault::LeavesInputOpen if !self.asked.live => {
                Err(Error::new(ErrorKind::Unsupported, "write stdin"))
            }
            _ => self.inner()?.write_stdin(data).await,
        }
    }

    async fn close_stdin(&self) -> Result<()> {
        self.state().closed = true;
        if self.fault == Fault::IgnoresInputClose { Ok(()) } else { self.inner()?.close_stdin().await }
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        loop {
            let next = {
                let mut state = self.state();
                state.next.pop_front().map_or(state.killed.then_some(None), |event| Some(Some(event)))
            };
            if let Some(next) = next {
                return Ok(next);
            }
            let Some(event) = self.inner()?.next_event().await? else { return Ok(None) };
            if self.fault == Fault::LosesEvents {
                tokio::task::yield_now().await;
            }
            if let Some(event) = self.told(event)? {
                return Ok(Some(event));
            }
        }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        match self.fault {
            Fault::SwallowsSignals => return Ok(()),
            Fault::RefusesLateSignals if self.state().exited => {
                return Err(Error::new(ErrorKind::NotFound, "signal"));
            }
            _ => {}
        }
        self.inner()?.signal(signal).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        if self.fault == Fault::SwallowsResize {
            return Ok(());
        }
        self.inner()?.resize(size).await
    }

    async fn kill(&self) -> Result<()> {
        if self.fault != Fault::LeavesOnKill {
            return self.inner()?.kill().await;
        }
        let mut state = self.state();
        if !std::mem::replace(&mut state.killed, true) {
            state.next.push_back(ExecEvent::Exited(ExitStatus::Killed));
        }
        Ok(())
    }
}

impl Drop for FaultyChild {
    fn drop(&mut self) {
        self.shared.running.leaks = self.fault == Fault::LeaksSlots && !self.state().exited;
        let leaves =
            self.fault == Fault::LeavesOnDrop || (self.fault == Fault::LeavesOnKill && self.state().killed);
        if let Some(inner) = self.inner.take().filter(|_| leaves) {
            self.shared.strays.lock().unwrap_or_else(PoisonError::into_inner).push(inner);
        }
    }
}
