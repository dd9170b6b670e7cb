use std::{
    future::poll_fn,
    io,
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use agentx_resource::ExitStatus;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair},
};
use tokio::{
    net::unix::pipe::Receiver,
    runtime::{self, Handle},
};

use super::{
    Helper, MAX_END,
    request::{Command, Handles, Packet},
    sender,
    wire::{Order, Reply, Stage},
};

/// How long the start of a command may take after the helper has told that it takes long. A file system that does not
/// answer holds it that long, and nobody else.
const MAX_LAUNCH: Duration = Duration::from_secs(30);
/// How long the helper may say nothing of a command that it was told to end. It tries for two seconds, and then says so:
/// one that is silent stands still.
pub(in crate::process) const MAX_SILENCE: Duration = Duration::from_secs(10);
/// How long sending waits for room, and how often it tries.
const SEND_PAUSE: Duration = Duration::from_millis(2);
const SEND_TRIES: usize = 500;

/// A command that the helper has started: the socket through which it tells what becomes of it.
///
/// Dropping it ends the command and returns when nothing of it is left.
#[derive(Debug)]
pub(in crate::process) struct Line {
    /// The command's tag.
    id: String,
    /// Of a packet socket: a pipe's end waits for any handle.
    socket: Arc<Receiver>,
    /// The one that waits for it.
    runtime: runtime::Id,
    /// Keeps the helper.
    helper: Arc<Helper>,
    state: Mutex<State>,
}

/// What was told so far.
#[derive(Debug, Default)]
struct State {
    status: Option<ExitStatus>,
    /// Nothing of the command is left, as far as that can be brought about.
    over: bool,
    /// That was the last word, and the helper waits for another request.
    idle: bool,
    /// The helper has let go without a last word.
    cut: bool,
}

/// Why a command was not started.
#[derive(Debug)]
pub(in crate::process) enum NotLaunched {
    /// The helper could not do this with the command, whose id this would have been.
    Refused(Stage, Errno, String),
    /// The helper is there no more, and has never heard of the command.
    Gone,
    /// It was not started in time, and was ended. A helper that said nothing at all was ended with all that it had
    /// started.
    Stalled,
    /// The system's error on this side.
    Failed(io::Error),
}

impl Line {
    /// Has the helper start a command. Needs a tokio runtime. Dropping the future ends what was started.
    ///
    /// # Errors
    /// See [`NotLaunched`]: nothing runs then.
    pub(in crate::process) async fn launch(
        helper: &Arc<Helper>,
        command: &Command<'_>,
        handles: Handles<'_>,
    ) -> Result<Self, NotLaunched> {
        let Ok(turn) = helper.under_way.acquire().await else { return Err(NotLaunched::Gone) };
        let watched = helper.watchdog.attend();
        let number = helper.next_number();
        let packet = Packet::new(number, command, handles.stdin.is_some())?;
        let runtime = Handle::current().id();
        let socket = match send_over_idle(helper, runtime, &packet, &handles) {
            Some(socket) => socket,
            None => Arc::new(open(helper, &packet, &handles).await?),
        };
        // While the helper is at it.
        drop(handles);
        let id = format!("{}", helper.first_tag | u64::from(number));
        let line = Self { id, socket, runtime, helper: Arc::clone(helper), state: Mutex::default() };
        let reply = poll_fn(|cx| line.poll_reply(cx)).await?;
        // The helper has taken the request, and waits for no more than this one.
        watched.answered();
        drop(turn);
        let reply = if reply == Some(Reply::Delayed) { line.await_delayed().await? } else { reply };
        match reply {
            Some(Reply::Refused {
                stage: Stage::Request | Stage::Clone | Stage::Handles | Stage::Limits,
                ..
            }) if helper.is_maimed() => {
                helper.retire();
                Err(NotLaunched::Gone)
            }
            Some(Reply::Refused { stage, errno }) => {
                Err(NotLaunched::Refused(stage, Errno::from_raw_os_error(errno), line.id.clone()))
            }
            // It runs, or has run.
            Some(_) => Ok(line),
            None if helper.watchdog.has_bitten() => Err(NotLaunched::Stalled),
            // The helper has ended meanwhile, or could not take what came with the request: nobody knows whether it ran.
            None => {
                if helper.is_maimed() {
                    helper.retire();
                }
                Ok(line)
            }
        }
    }

    /// The word after [`Reply::Delayed`]. The command is ended where it does not come in time.
    async fn await_delayed(&self) -> Result<Option<Reply>, NotLaunched> {
        match tokio::time::timeout(MAX_LAUNCH, poll_fn(|cx| self.poll_reply(cx))).await {
            Ok(reply) => Ok(reply?),
            Err(_) => {
                self.end(&Handle::current()).await;
                Err(NotLaunched::Stalled)
            }
        }
    }

    pub(in crate::process) fn id(&self) -> &str {
        &self.id
    }

    /// How the first process has ended; `Lost` where it can't be ended, so that nobody waits for it.
    pub(in crate::process) fn poll_exit(&self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        loop {
            {
                let state = self.state();
                if let Some(status) = state.status {
                    return Poll::Ready(status);
                }
                if state.cut || state.over {
                    return Poll::Ready(ExitStatus::Lost);
                }
            }
            if ready!(self.poll_reply(cx)).is_err() {
                return Poll::Ready(ExitStatus::Lost);
            }
        }
    }

    /// Whether the first process runs, as far as was told.
    pub(in crate::process) fn is_running(&self) -> bool {
        let state = self.state();
        if state.status.is_some() || state.over || state.cut {
            return false;
        }
        // Looked at only: whoever waits for it must be the one who takes it.
        let mut packet = [0; 16];
        let look = recv(&*self.socket, &mut packet, RecvFlags::DONTWAIT | RecvFlags::PEEK);
        matches!(look, Err(Errno::AGAIN))
    }

    /// Whether it was told that nothing of the command is left.
    pub(in crate::process) fn is_over(&self) -> bool {
        self.state().over
    }

    /// Has the helper do something with the command. Where the helper is there no more, so is the command.
    pub(in crate::process) fn order(&self, order: Order) {
        let _ = sender::send(&*self.socket, &order.encode(), &[]);
    }

    /// Ends the helper where it has not said that the command has ended, long after it was told to end it.
    pub(in crate::process) fn end_silence(&self) {
        if self.is_running() {
            self.helper.abandon();
        }
    }

    /// Ends all of the command, and completes when nothing is left.
    pub(in crate::process) async fn end(&self, runtime: &Handle) {
        self.order(Order::Kill);
        let mut silence = {
            let _entered = runtime.enter();
            Box::pin(tokio::time::sleep(MAX_SILENCE))
        };
        let told = poll_fn(|cx| {
            if silence.as_mut().poll(cx).is_ready() {
                self.helper.abandon();
                return Poll::Ready(false);
            }
            loop {
                {
                    let state = self.state();
                    if state.over || state.cut {
                        return Poll::Ready(state.over);
                    }
                }
                if ready!(self.poll_reply(cx)).is_err() {
                    return Poll::Ready(false);
                }
            }
        });
        if !told.await {
            let end = Arc::clone(&self.helper.end);
            // An error means that the runtime shuts down; dropping the child then waits.
            let _ = runtime.spawn_blocking(move || end.wait(Instant::now() + MAX_END)).await;
        }
    }

    /// Ends all of the command, and returns when nothing is left. Blocks for less than a millisecond as a rule, four
    /// seconds at most.
    pub(in crate::process) fn end_now(&self) {
        let deadline = Instant::now() + MAX_END;
        if self.is_over() {
            return;
        }
        self.order(Order::Kill);
        while !self.is_over() {
            match self.receive() {
                Err(errno) if errno.kind() == io::ErrorKind::WouldBlock => {
                    if !wait_readable(&*self.socket, deadline) {
                        return;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return self.helper.end.wait(deadline),
            }
        }
    }

    fn poll_reply(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Reply>>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_io(|| self.receive()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Takes what the helper says, which is none when it has let go.
    fn receive(&self) -> io::Result<Option<Reply>> {
        let mut packet = [0; 64];
        let length = loop {
            match recv(&*self.socket, &mut packet, RecvFlags::DONTWAIT) {
                Ok((_, length)) => break length,
                // The helper has let go without reading the last order. That is told once, and before its last word.
                Err(Errno::CONNRESET | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let reply = Reply::decode(packet.get(..length).unwrap_or_default());
        let mut state = self.state();
        match reply {
            Some(Reply::Exited { signalled, value, gone }) => {
                let status = if signalled { ExitStatus::Signal(value) } else { ExitStatus::Code(value) };
                state.status = Some(status);
                state.over |= gone;
                state.idle |= gone;
            }
            Some(Reply::Gone | Reply::Refused { .. }) => (state.over, state.idle) = (true, true),
            Some(Reply::Stuck) => state.over = true,
            Some(Reply::Started | Reply::Delayed | Reply::Ready { .. }) => {}
            None => state.cut = true,
        }
        Ok(reply)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end_now();
        if self.state().idle {
            self.helper.lines.give(self.runtime, Arc::clone(&self.socket));
        }
    }
}

impl From<io::Error> for NotLaunched {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for NotLaunched {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.into())
    }
}

/// Sends a request over a line that was used before, if there is one.
fn send_over_idle(
    helper: &Helper,
    runtime: runtime::Id,
    packet: &Packet,
    handles: &Handles<'_>,
) -> Option<Arc<Receiver>> {
    let socket = helper.lines.take(runtime)?;
    // Whatever is the matter is found out on the way of a new line.
    sender::send(&*socket, &packet.bytes, &packet.handles(None, handles)).ok()?;
    Some(socket)
}

/// Opens a line by a request.
async fn open(helper: &Helper, packet: &Packet, handles: &Handles<'_>) -> Result<Receiver, NotLaunched> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    for _ in 0..SEND_TRIES {
        match sender::send(&helper.control, &packet.bytes, &packet.handles(Some(&theirs), handles)) {
            // An error closes the socket, by which the helper ends the command.
            Ok(()) => return Ok(Receiver::from_owned_fd_unchecked(ours)?),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                helper.retire();
                return Err(NotLaunched::Gone);
            }
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => {
                tokio::time::sleep(SEND_PAUSE).await;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

fn wait_readable(fd: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return false };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::{
        super::{Attached, watchdog::Watchdog},
        *,
    };

    #[tokio::test]
    async fn nobody_waits_for_what_can_not_be_ended() {
        let pair =
            || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None).unwrap();
        let ((control, _theirs), (ours, theirs)) = (pair(), pair());
        let process = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let watchdog = Arc::new(Watchdog::new(process, Duration::MAX).unwrap());
        let helper = Arc::new(Helper::new(control, watchdog, 0, Arc::default(), Attached::default()));
        let socket = Receiver::from_owned_fd_unchecked(ours).unwrap();
        let (socket, runtime) = (Arc::new(socket), Handle::current().id());
        let line = Line { id: String::new(), socket, runtime, helper, state: Mutex::default() };
        let mut exit = std::pin::pin!(poll_fn(|cx| line.poll_exit(cx)));
        assert!(futures::poll!(exit.as_mut()).is_pending());
        sender::send(&theirs, &Reply::Stuck.encode(), &[]).unwrap();
        assert_eq!(exit.await, ExitStatus::Lost);
    }
}
