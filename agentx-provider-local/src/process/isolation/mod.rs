//! What a command may see and do: the types, and how they become a plan for the helper.

mod allow_list;
mod bubblewrap;
#[cfg(test)]
mod decode;
mod encode;
mod files;
mod filter;
mod handover;
mod plan;
mod probe;
mod protected;
mod proxy;
mod stand_in;
mod view;

use std::{
    fmt, fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx_resource::{ErrorKind, Result};
use rustix::rand::{GetRandomFlags, getrandom};

pub use self::{
    allow_list::AllowList,
    probe::{Attempt, Guarantee, Outcome, Probe, Verdict},
};
use self::{bubblewrap::Bubblewrap, files::Places, plan::Plan, protected::Protected};
pub(super) use self::{handover::HandedOver, protected::StandIns, proxy::Proxy};
use super::{
    error, failure,
    group::{Group, TreeGroup, TreeLimits},
};

/// What the commands of a [`LocalProcess`](crate::LocalProcess) may see and do.
///
/// It is off unless [`LocalProcess::with_isolation`](crate::LocalProcess::with_isolation) is given one: commands then
/// have all the rights of the user that runs the host. Each part gives guarantees of its own, and what the machine
/// can't give is an error of `with_isolation`, never left out in silence. [`probe`](Self::probe) tries on the spot
/// what holds.
///
/// | part | what it guarantees |
/// |---|---|
/// | [landlock](Self::with_landlock) | no file is read, written or executed outside the [readable](Self::with_readable) and [writable](Self::with_writable) places; no process outside is looked into or (from Linux 6.12 on) signalled |
/// | [seccomp](Self::with_seccomp) | no `io_uring`, `ptrace`, `bpf`, `userfaultfd`, keys, mounts, new namespaces, modules, executable `memfd`; no sockets but Unix, IP and routing |
/// | [namespaces](Self::with_namespaces) | nothing of the host's files is even visible but those places; the root is seen at `/workspace`; other processes, their sockets, memory and signals are out of reach; no capability, no setuid program works |
/// | [network](Self::with_network) | no network but a loopback device, or names of an allow list |
/// | [limits of the tree](Self::with_tree_limits) | all commands together, with what they have started, use no more memory, processes and processor time |
/// | [protected paths](Self::with_protected) | `.git/hooks`, shell start-up files and their like inside a writable place can't be changed or moved; those that were asked for by name can't be made either |
///
/// What no part gives: safety against errors of the kernel itself, side channels (timing, caches), exhaustion of
/// the disk, or against what a command writes into the root and
/// somebody runs later outside.
///
/// ```no_run
/// use agentx_provider_local::{Isolation, LocalProcess, Network};
///
/// # fn main() -> agentx_resource::Result<()> {
/// let isolation = Isolation::full().with_readable("/opt/toolchain").with_network(Network::None);
/// let process = LocalProcess::new("/home/me/project")?.with_isolation(isolation)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    engine: Engine,
    namespaces: Option<Namespaces>,
    network: Network,
    landlock: bool,
    seccomp: bool,
    system: bool,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    protected: Protected,
    root_at: String,
    scratch: u64,
    tree: TreeLimits,
    /// Whose limits are `tree`, where others share them.
    shared: Option<TreeGroup>,
}

/// Who has namespaces of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// The commands of one `LocalProcess` share them: they see each other, and a loopback device and `/tmp` are theirs
    /// together. The cheaper one.
    PerOwner,
    /// Each command has fresh ones, or ones in which nothing is left, apart from the user namespace and, under a proxy,
    /// the network: two commands share the root and the writable places alone.
    PerCommand,
}

/// What of the network a command reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// All that the host reaches.
    #[default]
    Host,
    /// Nothing but a loopback device of its own. Needs namespaces.
    None,
    /// The hosts of a list, through a proxy. Needs namespaces.
    Proxy(AllowList),
}

/// Who puts it into force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// The helper of this crate.
    #[default]
    Helper,
    /// `bubblewrap`: the program at this path, or of this name in the host's `PATH`. It makes fresh namespaces for each
    /// command, with the same view and the same filter. It knows neither Landlock nor a proxy, takes about four times as
    /// long as the helper, and tells a command that a signal ended as one that exited with 128 more than the signal.
    Bubblewrap(PathBuf),
}

impl Isolation {
    /// What [`full`](Self::full) protects inside a writable place, where it is there: what others run by themselves
    /// later, outside.
    pub const PROTECTED: [&str; 7] =
        [".git/hooks/", ".git/config", ".bashrc", ".bash_profile", ".profile", ".zshrc", ".envrc"];
    /// Where commands see the root, unless [`with_root_at`](Self::with_root_at) says otherwise.
    pub const ROOT_AT: &str = "/workspace";
    /// How many bytes fit into `/tmp`, unless [`with_scratch`](Self::with_scratch) says otherwise.
    pub const SCRATCH: u64 = 1 << 30;

    /// Nothing is isolated; to be built up.
    pub fn new() -> Self {
        Self {
            engine: Engine::Helper,
            namespaces: None,
            network: Network::Host,
            landlock: false,
            seccomp: false,
            system: true,
            readable: Vec::new(),
            writable: Vec::new(),
            protected: Protected::default(),
            root_at: Self::ROOT_AT.to_owned(),
            scratch: Self::SCRATCH,
            tree: TreeLimits::default(),
            shared: None,
        }
    }

    /// All that there is: fresh namespaces for each command, no network, Landlock, seccomp, protected paths.
    pub fn full() -> Self {
        Self::new()
            .with_landlock(true)
            .with_seccomp(true)
            .with_namespaces(Some(Namespaces::PerCommand))
            .with_network(Network::None)
            .with_protected_if_present(Self::PROTECTED)
    }

    /// Binds commands to the readable and writable places by Landlock. It needs Linux 5.13, or 6.2 without namespaces.
    pub fn with_landlock(mut self, landlock: bool) -> Self {
        self.landlock = landlock;
        self
    }

    /// Denies system calls that a command of an agent has no use for and that reach far into the kernel.
    pub fn with_seccomp(mut self, seccomp: bool) -> Self {
        self.seccomp = seccomp;
        self
    }

    /// Gives commands namespaces of their own, and with them a view of the file system that holds the readable and
    /// writable places, the root at `/workspace`, and a `/tmp`, `/dev` and `/proc` of their own.
    pub fn with_namespaces(mut self, namespaces: Option<Namespaces>) -> Self {
        self.namespaces = namespaces;
        self
    }

    /// What of the network a command reaches.
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Who puts it into force; the helper of this crate by default.
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Whether the programs and libraries of the system (`/usr`, `/bin`, `/lib` and the few files of `/etc` that they
    /// need) are readable; they are by default. Without them a command is nearly always one that can't start.
    pub fn with_system(mut self, system: bool) -> Self {
        self.system = system;
        self
    }

    /// Lets commands read and execute this file or directory of the host, at its own path.
    pub fn with_readable(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// Lets commands read, write and execute what is in this directory of the host, at its own path. The root of the
    /// `LocalProcess` is always writable.
    pub fn with_writable(mut self, path: impl Into<PathBuf>) -> Self {
        self.writable.push(path.into());
        self
    }

    /// Keeps these paths, relative to the root and to each writable place, as they are. Needs namespaces.
    ///
    /// What is missing stays missing: while the isolation is in force, an empty file or directory stands in its place
    /// on the host, and goes with the last command and `LocalProcess`, of whatever host, that needs it. One that a host
    /// leaves which is killed, the next that protects the same path removes. Protected is what is at the path when the
    /// isolation begins; hard links to it elsewhere in a writable place are not looked for.
    pub fn with_protected(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.protected.always.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The same for paths that are there when the isolation begins. What is not there may be made by a command.
    ///
    /// Of a path through directories, the first counts: where `.git` is, `.git/hooks/` is protected, and made for good
    /// where it is missing. One that ends in a slash is made as a directory.
    pub fn with_protected_if_present(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.protected.if_present.extend(paths.into_iter().map(Into::into));
        self
    }

    /// Nothing is protected.
    pub fn without_protected(mut self) -> Self {
        self.protected = Protected::default();
        self
    }

    /// Where commands see the root, given namespaces: an absolute path that the system itself does not use.
    pub fn with_root_at(mut self, path: impl Into<String>) -> Self {
        self.root_at = path.into();
        self
    }

    /// How many bytes fit into the `/tmp` that commands have of their own, given namespaces. It is memory.
    pub fn with_scratch(mut self, bytes: u64) -> Self {
        self.scratch = bytes;
        self
    }

    /// What all commands together may use, with everything that they have started. It needs no other part. It needs
    /// control groups that the host's user may make: on most machines, root, or a group that was delegated.
    ///
    /// Dropping the last clone returns when all commands are dead and the group is gone: after a few milliseconds, four
    /// seconds at most. What a host that was killed leaves behind, the next one removes.
    ///
    /// A command that runs as root, and without namespaces, can leave its group as it can do all else.
    pub fn with_tree_limits(mut self, limits: TreeLimits) -> Self {
        self.tree = limits;
        self.shared = None;
        self
    }

    /// The same, together with the commands of every other `LocalProcess` that is given this group.
    pub fn with_tree_group(mut self, group: TreeGroup) -> Self {
        self.tree = group.limits();
        self.shared = Some(group);
        self
    }
}

/// Nothing is isolated.
impl Default for Isolation {
    fn default() -> Self {
        Self::new()
    }
}

/// What the helper is to put into force, and what must live as long.
pub(super) struct Prepared {
    isolation: Isolation,
    /// In bytes; none where the helper does not put it into force.
    plan: Option<Vec<u8>>,
    bubblewrap: Option<Bubblewrap>,
    stand_ins: Arc<StandIns>,
    group: Option<Arc<Group>>,
}

/// Without the plan, which holds a key.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("isolation", &self.isolation)
            .field("bubblewrap", &self.bubblewrap)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    /// The plan on its way to a helper, where there is one.
    ///
    /// # Errors
    /// What the system says of a socket.
    pub(super) fn hand_over(&self) -> io::Result<Option<HandedOver>> {
        self.plan.as_deref().map(HandedOver::new).transpose()
    }

    /// The program to start in place of a command, where another puts the isolation into force, and its arguments.
    pub(super) fn wrap(
        &self,
        place: &[u8],
        program: &str,
        args: &[String],
    ) -> Option<(&'static str, Vec<String>)> {
        let bubblewrap = self.bubblewrap.as_ref()?;
        let place = place.strip_suffix(b"\0").unwrap_or(place);
        let place = String::from_utf8_lossy(place);
        Some((bubblewrap::SHELL, bubblewrap.args(&place, program, args)))
    }

    pub(super) fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    /// What stands in for protected paths, which must be there as long as a command runs.
    pub(super) fn stand_ins(&self) -> Arc<StandIns> {
        Arc::clone(&self.stand_ins)
    }

    /// The group that commands are limited in together.
    pub(super) fn group(&self) -> Option<Arc<Group>> {
        self.group.clone()
    }

    /// Whether commands see no processes but their own.
    pub(super) fn has_namespaces(&self) -> bool {
        self.isolation.namespaces.is_some()
    }

    /// Where commands see the root, when not where the host does.
    pub(super) fn root_at(&self) -> Option<&str> {
        self.has_namespaces().then_some(&self.isolation.root_at)
    }

    /// The proxy behind a socket that the helper listens on.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn proxy(&self, listener: OwnedFd) -> io::Result<Option<Proxy>> {
        match &self.isolation.network {
            Network::Proxy(list) => Proxy::new(listener, list.clone()).map(Some),
            _ => Ok(None),
        }
    }

    /// The variables by which programs find the proxy.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let is_proxy = matches!(self.isolation.network, Network::Proxy(_));
        let proxy = format!("http://127.0.0.1:{}", view::PROXY_PORT);
        let names =
            ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, proxy.clone()));
        let none = ["NO_PROXY", "no_proxy"].map(|name| (name, "localhost,127.0.0.1,::1".to_owned()));
        names.into_iter().chain(none).filter(move |_| is_proxy)
    }

    /// Where commands see a directory that the host has opened below `root`, with a NUL behind it; nothing where they
    /// see what the host does.
    ///
    /// # Errors
    /// `NotFound` for a directory that was moved out of the root meanwhile.
    pub(super) fn place(&self, directory: impl AsFd, root: &str) -> Result<Vec<u8>> {
        let Some(root_at) = self.root_at() else { return Ok(Vec::new()) };
        let link = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
        let path = fs::read_link(link).map_err(|source| failure("spawn", source))?;
        let below = path.strip_prefix(root).map_err(|_| {
            error(ErrorKind::NotFound, "spawn")
                .with_message("the working directory was moved out of the root")
        })?;
        let mut place = Path::new(root_at).join(below).into_os_string().into_encoded_bytes();
        // A path that ends in a slash is that of a directory as well.
        place.push(0);
        Ok(place)
    }
}

/// What nobody can guess.
fn choose_key() -> Result<u64> {
    let mut key = [0; 8];
    // So few bytes always come whole.
    getrandom(&mut key, GetRandomFlags::empty()).map_err(|errno| failure("isolate", errno.into()))?;
    Ok(u64::from_le_bytes(key))
}

impl Isolation {
    /// Works out what this means on this machine, for a root.
    ///
    /// # Errors
    /// `InvalidInput` for parts that contradict each other, and for a place that can't be shared; those of looking
    /// places up.
    pub(super) fn prepare(self, root: &Path) -> Result<Prepared> {
        self.check()?;
        let places = Places::find(&self, root)?;
        let writable = places.writable.iter().map(PathBuf::as_path).chain([root]);
        let stand_ins = StandIns::make(&self.protected, writable)?;
        let namespaces = self.namespaces.map(|scope| view::namespaces(&self, scope, &places, root));
        let landlock = self.landlock.then(|| files::landlock(&self, &places, root));
        let is_shared = self.engine != Engine::Helper || self.namespaces != Some(Namespaces::PerCommand);
        let key = if is_shared { None } else { Some(choose_key()?) };
        let filter = if self.seccomp { filter::compile(key) } else { Vec::new() };
        let plan = Plan {
            namespaces: namespaces.transpose()?,
            landlock: landlock.transpose()?,
            filter,
            key: key.unwrap_or_default(),
        };
        let (plan, bubblewrap) = match &self.engine {
            Engine::Helper => (Some(encode::encode(&plan)), None),
            Engine::Bubblewrap(program) => (None, Some(Bubblewrap::new(program, &plan)?)),
        };
        let group = match &self.shared {
            Some(shared) => Some(shared.group()),
            None => Group::new(&self.tree)?.map(Arc::new),
        };
        Ok(Prepared { isolation: self, plan, bubblewrap, stand_ins: Arc::new(stand_ins), group })
    }

    /// Whether any file is out of reach.
    fn confines_files(&self) -> bool {
        self.landlock || self.namespaces.is_some()
    }

    /// The places of the host that are given to commands, but for the system's and the root.
    fn places(&self) -> impl Iterator<Item = &Path> {
        self.readable.iter().chain(&self.writable).map(PathBuf::as_path)
    }

    fn check(&self) -> Result<()> {
        let contradiction = |message| Err(error(ErrorKind::InvalidInput, "isolate").with_message(message));
        self.tree.check()?;
        if self.namespaces.is_none() && self.network != Network::Host {
            return contradiction("a network other than the host's needs namespaces");
        }
        if self.namespaces.is_none() && !self.protected.is_none() {
            return contradiction("protected paths need namespaces");
        }
        if let (Engine::Bubblewrap(_), Some(message)) = (&self.engine, bubblewrap::contradiction(self)) {
            return contradiction(message);
        }
        Ok(())
    }
}
