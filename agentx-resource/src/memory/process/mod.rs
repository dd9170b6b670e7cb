mod child;
mod input;
mod output;
mod program;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;

use self::{
    child::{Idle, MemoryChild},
    input::InputPipe,
    output::OutputPipe,
};
pub use self::{input::ProgramInput, output::ProgramOutput, program::ProgramContext};
use super::PROVIDER;
use crate::{
    BoxFuture, Child, Clock, Error, ErrorKind, ExecRequest, FileSystem, FileSystemExt, Invocation, Process,
    ProcessCapabilities, ResourcePath, Result,
};

type Program = Arc<dyn Fn(ProgramContext) -> BoxFuture<'static, i32> + Send + Sync>;

/// Runs Rust functions as programs, without a thread: a child makes progress while its events are awaited.
///
/// A function gets its arguments, variables, input and output in a [`ProgramContext`], and its result is the exit
/// code. When the child is killed, times out or is dropped, the function's future is dropped. Shell source goes to
/// the function that was named the [`shell`](MemoryProcess::shell), and is `Unsupported` where none was.
///
/// ```
/// use agentx_resource::{ExecRequest, ProcessExt, memory::{ManualClock, MemoryProcess}};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let process = MemoryProcess::new(Arc::new(ManualClock::default())).program("echo", |context| async move {
///     context.stdout.write(context.args().join(" ") + "\n").await;
///     0
/// });
/// let output = process.exec(ExecRequest::program("echo", ["a", "b"])).await?;
/// assert_eq!(output.stdout_text(), "a b\n");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryProcess {
    clock: Arc<dyn Clock>,
    root: String,
    programs: BTreeMap<String, Program>,
    shell: Option<Program>,
    files: Option<Arc<dyn FileSystem>>,
    next_id: Arc<AtomicU64>,
}

impl MemoryProcess {
    /// A process without programs, whose commands see the root at `/`. Timeouts go by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            root: "/".to_owned(),
            programs: BTreeMap::new(),
            shell: None,
            files: None,
            next_id: Arc::default(),
        }
    }

    /// Says where commands see the root. A trailing slash is dropped.
    pub fn with_root(mut self, root: impl Into<String>) -> Self {
        let root = root.into();
        let trimmed = root.trim_end_matches('/');
        self.root = if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() };
        self
    }

    /// Gives programs these files, and takes working directories from there. Without files, the root is the only
    /// directory.
    pub fn with_file_system(mut self, files: Arc<dyn FileSystem>) -> Self {
        self.files = Some(files);
        self
    }

    /// Runs `function` as the program `name`.
    pub fn program<F, R>(mut self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(ProgramContext) -> R + Send + Sync + 'static,
        R: Future<Output = i32> + Send + 'static,
    {
        self.programs.insert(name.into(), boxed(function));
        self
    }

    /// Runs `function` for shell source.
    pub fn shell<F, R>(mut self, function: F) -> Self
    where
        F: Fn(ProgramContext) -> R + Send + Sync + 'static,
        R: Future<Output = i32> + Send + 'static,
    {
        self.shell = Some(boxed(function));
        self
    }

    fn find(&self, invocation: &Invocation) -> Result<Program> {
        match invocation {
            Invocation::Program { program, .. } => {
                Ok(self.programs.get(program).map_or_else(|| boxed(not_found), Arc::clone))
            }
            Invocation::Shell { .. } => self
                .shell
                .clone()
                .ok_or_else(|| fail(ErrorKind::Unsupported, "shell").with_message("no shell was registered")),
        }
    }

    async fn check_cwd(&self, cwd: &ResourcePath) -> Result<()> {
        match &self.files {
            Some(files) => {
                let metadata =
                    files.metadata(cwd).await.map_err(|error| fail(error.kind(), cwd).with_source(error))?;
                if metadata.is_dir() { Ok(()) } else { Err(fail(ErrorKind::NotADirectory, cwd)) }
            }
            None if cwd.is_root() => Ok(()),
            None => Err(fail(ErrorKind::NotFound, cwd)),
        }
    }
}

/// Shows the names of the programs.
impl fmt::Debug for MemoryProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryProcess")
            .field("root", &self.root)
            .field("programs", &self.programs.keys())
            .field("shell", &self.shell.is_some())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Process for MemoryProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        let capabilities = ProcessCapabilities::new(self.root.as_str()).with_live_stdin();
        if self.shell.is_some() { capabilities.with_shell() } else { capabilities }
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        check(&request)?;
        let program = self.find(&request.invocation)?;
        self.check_cwd(&request.cwd).await?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let deadline = request.timeout.map(|timeout| self.clock.sleep(timeout));
        let idle = request.idle_timeout.map(|timeout| Idle::new(Arc::clone(&self.clock), timeout));
        let (input, output) = (InputPipe::new(&request.stdin), OutputPipe::new(request.output_limit));
        let context = ProgramContext::new(request, &self.root, &input, &output, self.files.clone());
        Ok(Box::new(MemoryChild::new(id, program(context), deadline, idle, input, output)))
    }
}

fn boxed<F, R>(function: F) -> Program
where
    F: Fn(ProgramContext) -> R + Send + Sync + 'static,
    R: Future<Output = i32> + Send + 'static,
{
    Arc::new(move |context| Box::pin(function(context)))
}

async fn not_found(context: ProgramContext) -> i32 {
    if let Invocation::Program { program, .. } = &context.invocation {
        context.stderr.write(format!("{program}: command not found\n")).await;
    }
    127
}

/// Refuses what no platform could run.
fn check(request: &ExecRequest) -> Result<()> {
    let (program, words): (&str, &[String]) = match &request.invocation {
        Invocation::Program { program, args } => (program, args),
        Invocation::Shell { script } => ("shell", std::slice::from_ref(script)),
    };
    let refused = |message| Err(fail(ErrorKind::InvalidInput, program).with_message(message));
    if program.is_empty() {
        return refused("no program is named");
    }
    if program.contains('\0') || words.iter().any(|word| word.contains('\0')) {
        return refused("NUL in the command");
    }
    if !request.limits.is_none() || request.terminal.is_some() {
        return Err(fail(ErrorKind::Unsupported, program).with_message("neither limits nor terminals"));
    }
    // The value may be a secret, and the name is the caller's own text.
    if request
        .env
        .iter()
        .any(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || value.contains('\0'))
    {
        return refused("a variable with an empty name, with `=` in its name or with NUL");
    }
    Ok(())
}

fn fail(kind: ErrorKind, subject: impl fmt::Display) -> Error {
    Error::new(kind, "spawn").with_path(subject).with_provider(PROVIDER)
}

#[cfg(test)]
mod tests;
