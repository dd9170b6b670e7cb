//! File system, settings and process as one place to work.

mod offload;
mod protected;
mod redact;
mod view;

use std::{sync::Arc, time::Duration};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{
    BackgroundProcesses, Child, Clock, Env, ExecOutput, ExecRequest, FileSystem, Process, ProcessExt,
    ResourcePath, Secret, ShellSession, Spawn, Stdin,
};
use bytes::Bytes;

pub use self::{offload::Offload, protected::ProtectedPaths};
pub(crate) use self::{
    redact::{RedactStream, Redactor},
    view::View,
};

/// A place where commands run: a [`FileSystem`], an [`Env`] and a [`Process`], with a working directory.
///
/// The file system and the process must be **coherent**: both see one tree, and what one writes the other reads at
/// once (both on one directory, both in one container, a virtual process over any file system).
///
/// A runtime is cheap to clone and has no state of its own, so several agents share one safely.
///
/// ```
/// use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
/// use agentx_sandbox::NodeRuntime;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let process = MemoryProcess::new(Arc::new(ManualClock::default())).shell(|context| async move {
///     context.stdout.write(context.env["GREETING"].clone()).await;
///     0
/// });
/// let env = MemoryEnv::new([("GREETING", "hello")])?;
/// let runtime = NodeRuntime::new(Arc::new(MemoryFileSystem::new()), Arc::new(env), Arc::new(process));
/// assert_eq!(runtime.run("echo -n $GREETING").await?.stdout_text(), "hello");
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct NodeRuntime {
    fs: Arc<dyn FileSystem>,
    env: Arc<dyn Env>,
    process: Arc<dyn Process>,
    view: View,
    cwd: ResourcePath,
    timeout: Duration,
    redactor: Redactor,
    protected: ProtectedPaths,
    offload: Option<Offload>,
}

impl NodeRuntime {
    /// How long a command may take that names no time itself, unless [`with_timeout`](Self::with_timeout) says
    /// otherwise: two minutes.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

    /// A runtime of these three, working in the root.
    pub fn new(fs: Arc<dyn FileSystem>, env: Arc<dyn Env>, process: Arc<dyn Process>) -> Self {
        Self {
            view: View::new(&process.capabilities().root),
            fs,
            env,
            process,
            cwd: ResourcePath::root(),
            timeout: Self::DEFAULT_TIMEOUT,
            redactor: Redactor::default(),
            protected: ProtectedPaths::default(),
            offload: None,
        }
    }

    /// Works in this directory: commands start there, and relative paths begin there.
    pub fn with_cwd(mut self, cwd: ResourcePath) -> Self {
        self.cwd = cwd;
        self
    }

    /// Gives a command that names no time itself this long.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Keeps these values out of all that the tools answer: each occurrence becomes `[redacted]`, also in base64,
    /// percent-encoded and JSON-escaped form. Values shorter than 8 bytes are left alone, since they would match
    /// ordinary words. Replaces the values that were given before.
    ///
    /// What [`exec`](Self::exec) and its kin return to the application is not changed.
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        self.redactor = Redactor::new(secrets);
        self
    }

    /// Refuses to write and edit these files; by default [`ProtectedPaths::default`].
    pub fn with_protected(mut self, protected: ProtectedPaths) -> Self {
        self.protected = protected;
        self
    }

    /// Puts results that are too large for a model there.
    pub fn with_offload(mut self, offload: Offload) -> Self {
        self.offload = Some(offload);
        self
    }

    /// The file system.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// The settings, which are the variables of every command.
    pub fn env(&self) -> &Arc<dyn Env> {
        &self.env
    }

    /// The process.
    pub fn process(&self) -> &Arc<dyn Process> {
        &self.process
    }

    /// The working directory.
    pub fn cwd(&self) -> &ResourcePath {
        &self.cwd
    }

    /// Where commands see the root of the tree.
    pub fn root(&self) -> &str {
        self.view.root()
    }

    /// Where large results go.
    pub fn offload(&self) -> Option<&Offload> {
        self.offload.as_ref()
    }

    /// The place that `path` means: a path as a command sees it, absolute or relative to the working directory. `.` and
    /// `..` are taken by their letters, symlinks not looked at.
    ///
    /// # Errors
    /// `Escapes` for a path outside the root, `InvalidInput` for an empty one or one that begins with `~`,
    /// `InvalidPath` for one that no resource has.
    pub fn resolve(&self, path: &str) -> Result<ResourcePath> {
        self.view.resolve(&self.cwd, path)
    }

    /// The path by which a command sees this place.
    pub fn display(&self, path: &ResourcePath) -> String {
        self.view.display(path)
    }

    /// Runs shell source.
    ///
    /// # Errors
    /// Those of [`NodeRuntime::exec`]; `Unsupported` where the process has no shell.
    pub async fn run(&self, command: impl Into<String>) -> Result<ExecOutput> {
        self.exec(ExecRequest::shell(command)).await
    }

    /// Runs `source` as the program of an interpreter that reads it from its input: `node`, `python3`, `bash`.
    ///
    /// # Errors
    /// Those of [`NodeRuntime::exec`].
    pub async fn script(
        &self,
        interpreter: impl Into<String>,
        source: impl Into<Bytes>,
    ) -> Result<ExecOutput> {
        let request = ExecRequest::program(interpreter, [""; 0]).with_stdin(Stdin::Bytes(source.into()));
        self.exec(request).await
    }

    /// Runs `node` with these arguments: `node(["server.js"])`, `node(["-e", "console.log(1)"])`.
    ///
    /// # Errors
    /// Those of [`NodeRuntime::exec`].
    pub async fn node(&self, args: impl IntoIterator<Item = impl Into<String>>) -> Result<ExecOutput> {
        self.exec(ExecRequest::program("node", args)).await
    }

    /// Runs a command to its end. It gets the settings as variables, below those that it names itself; the working
    /// directory, where it names none (the root counts as none); and the runtime's timeout, where it names none.
    /// Memory is bounded by the request's output limit, twice. Dropping the future kills the command.
    ///
    /// # Errors
    /// Those of [`Env::get_all`] and [`ProcessExt::exec`]. A command that fails is no error: look at the status.
    pub async fn exec(&self, request: ExecRequest) -> Result<ExecOutput> {
        let request = self.prepare(request).await?;
        self.process.exec(request).await
    }

    /// Starts a command as [`NodeRuntime::exec`] does, for a caller that reads its output as it comes.
    ///
    /// # Errors
    /// Those of [`Env::get_all`] and [`Process::spawn`].
    pub async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let request = self.prepare(request).await?;
        self.process.spawn(request).await
    }

    /// One shell for many commands, which starts in the working directory with the settings of now as variables.
    ///
    /// # Errors
    /// Those of [`Env::get_all`].
    pub async fn shell_session(&self, clock: Arc<dyn Clock>) -> Result<ShellSession> {
        let request = self.with_settings(ExecRequest::program("sh", [""; 0])).await?;
        Ok(ShellSession::new(Arc::clone(&self.process), clock).with_request(request))
    }

    /// Commands in the background of this runtime's process; none yet.
    pub fn background(&self, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> BackgroundProcesses {
        BackgroundProcesses::new(Arc::clone(&self.process), clock, spawn)
    }

    async fn prepare(&self, request: ExecRequest) -> Result<ExecRequest> {
        let mut request = self.with_settings(request).await?;
        request.timeout.get_or_insert(self.timeout);
        Ok(request)
    }

    /// A request as it runs here, but for the timeout.
    pub(crate) async fn with_settings(&self, mut request: ExecRequest) -> Result<ExecRequest> {
        let mut variables = self.env.get_all().await?;
        variables.append(&mut request.env);
        request.env = variables;
        if request.cwd.is_root() {
            request.cwd = self.cwd.clone();
        }
        Ok(request)
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// The file that a tool may read at `path`: below the root, or a large result that was put away.
    pub(crate) fn readable(&self, path: &str) -> Result<Place> {
        let inside = self.resolve(path);
        if let (Err(error), Some(offload)) = (&inside, &self.offload)
            && error.kind() == ErrorKind::Escapes
            && let Some(place) = offload.place(path)
        {
            return Ok(place);
        }
        Ok(Place { fs: Arc::clone(&self.fs), path: inside?, view: self.view.clone() })
    }

    /// The file that a tool may write at `path`.
    pub(crate) fn writable(&self, path: &str, operation: &'static str) -> Result<Place> {
        let resolved = self.resolve(path)?;
        if self.protected.contains(&resolved) {
            return Err(Error::new(ErrorKind::PermissionDenied, operation)
                .with_path(self.display(&resolved))
                .with_message("this file is protected from tools; ask the user to change it"));
        }
        Ok(Place { fs: Arc::clone(&self.fs), path: resolved, view: self.view.clone() })
    }
}

/// A place in a file system, and how the agent sees it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) path: ResourcePath,
    view: View,
}

impl Place {
    /// Another place of the same file system.
    pub(crate) fn at(&self, path: ResourcePath) -> Self {
        Self { path, ..self.clone() }
    }

    /// The path as the agent sees it.
    pub(crate) fn shown(&self) -> String {
        self.view.display(&self.path)
    }

    /// Makes an error of the file system speak of the path that the agent sees.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = error.with_path(self.shown());
        match error.kind() {
            ErrorKind::Escapes => error.with_message(format!(
                "a symlink leads out of {}; only what is below it can be used",
                self.view.root()
            )),
            ErrorKind::NotFound => error.with_message("nothing is there; look around with ls or glob"),
            ErrorKind::IsADirectory => error.with_message("this is a directory; use ls for what is in it"),
            _ => error,
        }
    }
}
