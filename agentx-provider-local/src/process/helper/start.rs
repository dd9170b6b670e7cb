use std::{
    fmt, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair, sockopt},
    process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open},
    rand::{GetRandomFlags, getrandom},
};

use super::{
    Attached, Helper, Limits,
    end::End,
    sender,
    watchdog::Watchdog,
    wire::{NUMBER_BITS, Reply, Setup, Stage, VERSION},
};
use crate::process::{
    group::Group,
    isolation::{HandedOver, Prepared},
    tree::{VARIABLE, sweep_tagged},
};

/// The program itself, where it is built for this target.
#[cfg(helper)]
const EMBEDDED: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/helper")));
#[cfg(not(helper))]
const EMBEDDED: Option<&[u8]> = None;

/// The program within this library, where it is built for this machine.
pub(in crate::process) fn program() -> Option<&'static [u8]> {
    EMBEDDED
}

/// A helper that says nothing for twice this long, while it is to start commands, is ended. Somebody waits for three times
/// this at most.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a helper may take to say that it is there.
const MAX_START: Duration = Duration::from_secs(10);
/// How many bits of a tag must be left to tell helpers apart.
const LEAST_BITS: u32 = 16;
/// What the buffer of the control socket is asked to hold, in bytes. The kernel may give less.
const CONTROL_BUFFER: usize = 1 << 20;

/// Why there is no helper.
#[derive(Clone, Debug)]
pub(in crate::process) struct NoHelper {
    /// For a person.
    pub(in crate::process) why: String,
    /// The machine is short of something at this moment.
    pub(in crate::process) passing: bool,
}

impl NoHelper {
    fn of(what: impl fmt::Display, error: &io::Error) -> Self {
        const PASSING: [Errno; 4] = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        let passing = Errno::from_io_error(error).is_some_and(|errno| PASSING.contains(&errno));
        Self { why: format!("{what}: {error}"), passing }
    }
}

impl From<String> for NoHelper {
    fn from(why: String) -> Self {
        Self { why, passing: false }
    }
}

/// Where the helper's program is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::process) enum Program {
    /// Within this library.
    Embedded,
    /// In a file.
    File(PathBuf),
    /// Nowhere: none is wanted.
    None,
}

/// Starts a helper and waits until it is ready. Blocks for a few milliseconds, ten seconds at most.
///
/// # Errors
/// Why there is none, for a person.
pub(in crate::process) fn start(
    program: &Program,
    pid_namespace: bool,
    isolation: Option<&Prepared>,
) -> Result<Helper, NoHelper> {
    let first_tag = choose_tag()?;
    let (control, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(told("socketpair"))?;
    // An error leaves the buffer as it is, which holds a dozen of the largest packets.
    let _ = sockopt::set_socket_send_buffer_size(&control, CONTROL_BUFFER);
    let child = match program {
        Program::None => return Err("none is wanted".to_owned().into()),
        Program::File(path) => spawn(path, theirs).map_err(|error| NoHelper::of(path.display(), &error))?,
        Program::Embedded => {
            let memory = in_memory()?;
            let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
            spawn(&path, theirs)
                .map_err(|error| NoHelper::of("a program in memory can't be executed", &error))?
        }
    };
    let pid = child.id();
    let process = Pid::from_child(&child);
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(told("pidfd_open"))?;
    let watchdog = Arc::new(Watchdog::new(process, PATIENCE).map_err(told("eventfd"))?);
    // From here on its end is seen to, whatever happens.
    let end = watch(child, first_tag, isolation.and_then(Prepared::group), Arc::clone(&watchdog))
        .map_err(told("start a thread"))?;
    let plan = isolation.map(Prepared::hand_over).transpose().map_err(told("hand a plan over"))?.flatten();
    let policy = if plan.is_some() { vec![1] } else { Vec::new() };
    // Namespaces of an isolation include this one.
    let pid_namespace = pid_namespace && !isolation.is_some_and(Prepared::has_namespaces);
    let group = isolation.and_then(Prepared::group);
    let mut handles: Vec<_> = plan.iter().map(|plan| plan.theirs.as_fd()).collect();
    let before = handles.len();
    handles.extend(group.iter().flat_map(|group| group.entries()));
    let groups = u8::try_from(handles.len() - before).unwrap_or(u8::MAX);
    let setup = Setup { first_tag, pid_namespace, groups, policy };
    sender::send(&control, &setup.encode(), &handles).map_err(told("send"))?;
    match await_reply(&control)? {
        Reply::Ready { version: VERSION } => {
            let listener = plan.map(HandedOver::entered).transpose()?.flatten();
            let proxy = isolation.zip(listener).map(|(isolation, listener)| isolation.proxy(listener));
            let proxy = proxy.transpose().map_err(told("listen"))?.flatten();
            let attached = Attached {
                proxy,
                _stand_ins: isolation.map(Prepared::stand_ins),
                has_group: group.is_some(),
                limits: Limits::of(pid),
            };
            Ok(Helper::new(control, watchdog, first_tag, end, attached))
        }
        Reply::Refused { stage: Stage::Policy, errno } if let Some(plan) = plan => {
            Err(plan.refused().unwrap_or_else(|| Errno::from_raw_os_error(errno).to_string()).into())
        }
        Reply::Ready { .. } => Err("the helper is of another version".to_owned().into()),
        Reply::Refused { stage: Stage::Namespace, errno } => {
            Err(format!("no namespace for process ids: {}", Errno::from_raw_os_error(errno)).into())
        }
        Reply::Refused { stage, errno } => {
            Err(format!("the helper refuses at {stage:?}: {}", Errno::from_raw_os_error(errno)).into())
        }
        other => Err(format!("the helper says {other:?}").into()),
    }
}

/// Tags lie in the upper half of what the host's own hard limit allows, so that hosts that are commands themselves
/// find room below their own tags.
fn choose_tag() -> Result<u64, NoHelper> {
    let limit = getrlimit(Resource::Locks).maximum.unwrap_or(u64::MAX);
    let top = limit.checked_ilog2().unwrap_or_default();
    if top < NUMBER_BITS + LEAST_BITS + 1 {
        return Err(format!(
            "the limit on file locks is {limit}, which leaves no room to tell processes apart"
        )
        .into());
    }
    let mut random = [0; 8];
    // So few bytes always come whole.
    getrandom(&mut random, GetRandomFlags::empty()).map_err(told("getrandom"))?;
    let half = 1_u64 << (top - 1);
    let place = u64::from_le_bytes(random) & (half - 1);
    Ok((half | place) & !((1 << NUMBER_BITS) - 1))
}

/// The program in memory that nobody can change.
fn in_memory() -> Result<OwnedFd, NoHelper> {
    let program = EMBEDDED.ok_or_else(|| "the helper is not built for this machine".to_owned())?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create("agentx-helper", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every such file can be executed.
        Err(Errno::INVAL) => memfd_create("agentx-helper", flags),
        outcome => outcome,
    };
    let memory = memory.map_err(told("memfd_create"))?;
    let mut rest = program;
    while !rest.is_empty() {
        match rustix::io::write(&memory, rest) {
            Ok(0) => return Err("write: nothing was written".to_owned().into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(told("write")(errno)),
        }
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals).map_err(told("fcntl"))?;
    Ok(memory)
}

/// Without anything that would make the standard library fork.
fn spawn(path: &Path, control: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(path);
    command.arg0("agentx-helper").env_clear();
    // Whoever searches for the host by its mark finds the helper, too.
    command.envs(std::env::var_os(VARIABLE).map(|marks| (VARIABLE, marks)));
    command.stdin(Stdio::from(control)).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}

/// Takes the helper off the books when it ends, and ends what it could not end itself: a helper that is killed is no
/// parent any more.
///
/// The group goes when nothing can be in it any more.
fn watch(
    mut child: Child,
    first_tag: u64,
    group: Option<Arc<Group>>,
    watchdog: Arc<Watchdog>,
) -> io::Result<Arc<End>> {
    let end = Arc::new(End::default());
    let told = Arc::clone(&end);
    thread::Builder::new().name("agentx-helper".to_owned()).spawn(move || {
        watchdog.watch();
        if !child.wait().is_ok_and(|status| status.success()) {
            sweep_tagged(first_tag >> NUMBER_BITS, NUMBER_BITS);
            // Also who has taken off the tag.
            if let Some(group) = &group {
                group.end_all();
            }
        }
        drop(group);
        told.come();
    })?;
    Ok(end)
}

fn await_reply(control: &OwnedFd) -> Result<Reply, NoHelper> {
    let deadline = Instant::now() + MAX_START;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|error| error.to_string())?;
        match poll(&mut [PollFd::new(control, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(NoHelper { why: "the helper does not answer".to_owned(), passing: true }),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(told("poll")(errno)),
        }
    }
    let mut packet = [0; 64];
    let (_, length) = recv(control, &mut packet, RecvFlags::DONTWAIT).map_err(told("recv"))?;
    Reply::decode(packet.get(..length).unwrap_or_default())
        .ok_or_else(|| "the helper ended at once".to_owned().into())
}

fn told<E: Into<io::Error>>(call: &'static str) -> impl Fn(E) -> NoHelper {
    move |error| NoHelper::of(call, &error.into())
}
