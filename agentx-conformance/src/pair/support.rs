use std::sync::Arc;

use agentx_resource::{ExecOutput, ExecRequest, FileSystemExt, ProcessExt, ResourcePath, Stdin};
use bytes::Bytes;

use super::Pair;
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq},
};

/// What each case gets.
pub(super) type Subject = Arc<Pair>;

/// A path of a case.
#[track_caller]
pub(super) fn path(text: &str) -> Result<ResourcePath, Failure> {
    Ok(ResourcePath::new(text)?)
}

impl Pair {
    /// Runs a program at the root, whatever comes of it.
    pub(super) async fn run(&self, program: &str, args: &[&str]) -> Result<ExecOutput, Failure> {
        Ok(self.process.exec(ExecRequest::program(program, args.iter().copied())).await?)
    }

    /// Runs a program at the root, which must succeed, and gives what it printed.
    pub(super) async fn done(&self, program: &str, args: &[&str]) -> Result<Bytes, Failure> {
        let output = self.run(program, args).await?;
        ensure(output.status.success(), format!("{program} {args:?} fails: {output:?}"))?;
        Ok(output.stdout)
    }

    /// Writes a file by a command.
    pub(super) async fn tee(&self, at: &str, content: &[u8]) -> Outcome {
        let stdin = Stdin::Bytes(Bytes::copy_from_slice(content));
        let output = self.process.exec(ExecRequest::program("tee", [at]).with_stdin(stdin)).await?;
        ensure(output.status.success(), format!("tee {at:?} fails: {output:?}"))
    }

    /// Fails unless a command reads `content` at `at`.
    pub(super) async fn cats(&self, at: &str, content: &str) -> Outcome {
        let found = self.done("cat", &[at]).await?;
        ensure_eq(String::from_utf8_lossy(&found), content, format!("what a command reads of {at:?}"))
    }

    /// Fails unless a command finds nothing to read at `at`.
    pub(super) async fn cats_nothing(&self, at: &str) -> Outcome {
        let output = self.run("cat", &[at]).await?;
        ensure(
            !output.status.success() && output.stdout.is_empty(),
            format!("a command still reads {at:?}: {output:?}"),
        )
    }

    /// Fails unless the file system reads `content` at `at`.
    pub(super) async fn holds(&self, at: &str, content: &str) -> Outcome {
        let found = self.files.read_file(&path(at)?).await?;
        ensure_eq(String::from_utf8_lossy(&found), content, format!("what the file system reads of {at}"))
    }

    /// The path as a command sees it.
    pub(super) fn seen(&self, at: &ResourcePath) -> String {
        let root = self.process.capabilities().root;
        if at.is_root() { root } else { format!("{}{at}", root.trim_end_matches('/')) }
    }

    /// The path that a command means by `seen`.
    pub(super) fn meant(&self, seen: &str) -> Result<ResourcePath, Failure> {
        let root = self.process.capabilities().root;
        let below = seen.strip_prefix(root.trim_end_matches('/'));
        match below.filter(|below| below.is_empty() || below.starts_with('/')) {
            Some("") => Ok(ResourcePath::root()),
            Some(below) => path(below),
            None => Err(Failure::new(format!("a command prints {seen:?}, which is not below {root:?}"))),
        }
    }
}
