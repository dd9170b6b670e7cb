use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{InputPipe, OutputPipe, ProgramInput, ProgramOutput};
use crate::{ExecRequest, FileSystem, Invocation, OutputStream, ResourcePath};

/// What a program of a [`MemoryProcess`](super::MemoryProcess) gets.
#[non_exhaustive]
pub struct ProgramContext {
    /// How it was called.
    pub invocation: Invocation,
    /// Its working directory, in the process's tree.
    pub cwd: ResourcePath,
    /// Where the process's tree is seen, as in [`ProcessCapabilities::root`](crate::ProcessCapabilities::root).
    pub root: String,
    /// Its variables: those of the request, and no others.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: ProgramInput,
    /// Its output.
    pub stdout: ProgramOutput,
    /// Its messages.
    pub stderr: ProgramOutput,
    /// The process's tree, where the process has one.
    pub files: Option<Arc<dyn FileSystem>>,
}

impl ProgramContext {
    pub(super) fn new(
        request: ExecRequest,
        root: &str,
        input: &Arc<InputPipe>,
        output: &Arc<OutputPipe>,
        files: Option<Arc<dyn FileSystem>>,
    ) -> Self {
        Self {
            invocation: request.invocation,
            cwd: request.cwd,
            root: root.to_owned(),
            env: request.env,
            stdin: ProgramInput::new(Arc::clone(input)),
            stdout: ProgramOutput::new(Arc::clone(output), OutputStream::Stdout),
            stderr: ProgramOutput::new(Arc::clone(output), OutputStream::Stderr),
            files,
        }
    }

    /// The arguments, without the program's name; none for shell source.
    pub fn args(&self) -> &[String] {
        match &self.invocation {
            Invocation::Program { args, .. } => args,
            Invocation::Shell { .. } => &[],
        }
    }
}

/// Shows the names of variables, never their values.
impl fmt::Debug for ProgramContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramContext")
            .field("invocation", &self.invocation)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
