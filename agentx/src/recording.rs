//! Whole runs of an agent: recorded once, replayed ever after.

use std::sync::Arc;
#[cfg(feature = "local")]
use std::{path::PathBuf, time::Duration};

use agentx_core::{
    Error, ErrorKind, Host, Model, Permission, Result, Tool,
    recorded::{self, RecordedModel, RecordedPermission, RecordedTool},
};
use agentx_resource::{FileSystem, cassette::Cassette, layer::Recorded};
#[cfg(feature = "local")]
use agentx_resource::{
    ResourcePath, Secret,
    cassette::{CassetteMode, CassetteOptions},
};
use agentx_sandbox::NodeRuntime;

/// How long a replay may stand still before that is told as a divergence.
#[cfg(feature = "local")]
const PATIENCE: Duration = Duration::from_secs(30);

/// A recording in this file: replayed where the file is there, recorded where it is not.
///
/// ```
/// use agentx::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let file = directory.path().join("hello.jsonl");
/// for round in ["recorded", "replayed"] {
///     let recording = agentx::recording(&file).open().await?;
///     let model = recording.model("claude", || Ok(ScriptedModel::replies([Reply::text("Hello!")])))?;
///     let agent = agentx::agent(model).recording(&recording).build().await?;
///     assert_eq!(agent.ask("Hi").await?.text, "Hello!");
///     assert_eq!(recording.is_replay(), round == "replayed");
///     recording.finish().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "local")]
pub fn recording(file: impl Into<PathBuf>) -> RecordingBuilder {
    let options = CassetteOptions::new(CassetteMode::RecordOnce);
    let options = options.with_patience(Arc::new(crate::SystemClock), PATIENCE);
    RecordingBuilder { file: file.into(), options }
}

/// How a recording is opened.
#[cfg(feature = "local")]
#[derive(Debug)]
#[must_use]
pub struct RecordingBuilder {
    file: PathBuf,
    options: CassetteOptions,
}

#[cfg(feature = "local")]
impl RecordingBuilder {
    /// Records anew, or replays, whether or not the file is there.
    pub fn mode(mut self, mode: CassetteMode) -> Self {
        self.options.mode = mode;
        self
    }

    /// Keeps this value out of the file: see [`CassetteOptions::with_secrets`].
    pub fn secret(mut self, secret: impl Into<Secret>) -> Self {
        self.options = self.options.with_secrets([secret.into()]);
        self
    }

    /// For a program whose tasks run in another order each time: see [`CassetteOptions::with_relaxed_order`].
    pub fn relaxed_order(mut self) -> Self {
        self.options = self.options.with_relaxed_order();
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// Those of [`Cassette::open`]; `NotFound` for a missing directory; `InvalidInput` for a path without a file's name.
    pub async fn open(self) -> Result<Recording> {
        let refused = |problem| {
            Error::new(ErrorKind::InvalidInput, "open recording")
                .with_path(self.file.display())
                .with_message(problem)
        };
        let name = self.file.file_name().ok_or_else(|| refused("it names no file"))?;
        let name = name.to_str().ok_or_else(|| refused("its name is not UTF-8"))?;
        let path = ResourcePath::root().join(name)?;
        let directory = match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => std::path::Path::new("."),
        };
        let store = Arc::new(agentx_provider_local::LocalFileSystem::open(directory)?);
        let options = self.options.with_shown_as(self.file.display().to_string());
        Ok(Recording::of(Cassette::open(store, path, options).await?))
    }
}

/// A run that is recorded or replayed: what an agent is made of, each part on one cassette.
///
/// What makes a part is a function, which is not called in a replay: that needs no key, no network, and none of the files
/// and programs that there were.
#[derive(Clone, Debug)]
pub struct Recording {
    cassette: Cassette,
}

impl Recording {
    /// A run on this cassette, wherever that lies.
    pub fn of(cassette: Cassette) -> Self {
        Self { cassette }
    }

    /// The cassette, for ports of your own.
    pub fn cassette(&self) -> &Cassette {
        &self.cassette
    }

    /// Whether everything comes from the cassette.
    pub fn is_replay(&self) -> bool {
        self.cassette.is_replay()
    }

    /// A model. Its name is that by which a replay finds it again.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no model of this name was recorded.
    pub fn model<M: Model>(&self, name: &str, make: impl FnOnce() -> Result<M>) -> Result<RecordedModel> {
        RecordedModel::new(&self.cassette, name, make)
    }

    /// A place to work: its files, its settings and its commands. What is set on it (a working directory, a timeout) is set
    /// on what this gives. Values of variables are withheld from the file: see [`Recorded`].
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no place of this name was recorded.
    pub fn runtime(&self, name: &str, make: impl FnOnce() -> Result<NodeRuntime>) -> Result<NodeRuntime> {
        let live = if self.is_replay() { None } else { Some(make()?) };
        let recorded = Recorded::new(&self.cassette, name);
        let live = || {
            let replayed =
                || Error::new(ErrorKind::Internal, "replay").with_message("nothing is made in a replay");
            live.as_ref().ok_or_else(replayed)
        };
        Ok(NodeRuntime::new(
            recorded.file_system(|| Ok(live()?.file_system().clone()))?,
            recorded.env(|| Ok(live()?.env().clone()))?,
            recorded.process(|| Ok(live()?.process().clone()))?,
        ))
    }

    /// A file system, such as that of a workspace.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no file system of this name was recorded.
    pub fn file_system(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Arc<dyn FileSystem>>,
    ) -> Result<Arc<dyn FileSystem>> {
        Recorded::new(&self.cassette, name).file_system(make)
    }

    /// A tool that reaches the world by ways of its own; one that uses recorded resources runs as it is.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no tool of this name was recorded.
    pub fn tool(&self, name: &str, make: impl FnOnce() -> Result<Arc<dyn Tool>>) -> Result<RecordedTool> {
        RecordedTool::new(&self.cassette, name, make)
    }

    /// A permission that asks somebody.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn permission(
        &self,
        make: impl FnOnce() -> Result<Arc<dyn Permission>>,
    ) -> Result<RecordedPermission> {
        RecordedPermission::new(&self.cassette, make)
    }

    /// A host whose time and ids are on the cassette. [`AgentBuilder::recording`](crate::AgentBuilder::recording) does
    /// this by itself.
    pub fn host(&self, host: Host) -> Host {
        recorded::host(&self.cassette, host)
    }

    /// Puts what the program does in the middle of a turn in its place: see [`Cassette::mark`].
    ///
    /// # Errors
    /// Those of [`Cassette::mark`].
    pub async fn mark(&self, name: &str) -> Result<()> {
        self.cassette.mark(name).await
    }

    /// Ends the recording, or proves that the whole of it was replayed. Without this, a recording is told as cut off.
    ///
    /// # Errors
    /// Those of [`Cassette::finish`].
    pub async fn finish(&self) -> Result<()> {
        self.cassette.finish().await
    }
}

#[cfg(all(test, feature = "local"))]
mod tests {
    use agentx_core::{Reply, ScriptedModel};

    use super::*;

    /// Whatever goes wrong with a recording, its error names the file as the program named it.
    #[tokio::test]
    async fn errors_name_the_file_that_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.jsonl");
        let said = |error: Error| (error.kind(), error.path().map(str::to_owned));
        let named = |kind| (kind, Some(file.display().to_string()));

        let missing = recording(&file).mode(CassetteMode::Replay).open().await.unwrap_err();
        assert_eq!(said(missing), named(ErrorKind::NotFound));

        let recorded = recording(&file).open().await.unwrap();
        drop(recorded.model("m", || Ok(ScriptedModel::replies([Reply::text("Hello!")]))).unwrap());
        recorded.finish().await.unwrap();
        let replayed = recording(&file).open().await.unwrap();
        let diverged = replayed.mark("one that was never set").await.unwrap_err();
        assert_eq!(said(diverged), named(ErrorKind::Diverged));

        std::fs::write(&file, "no recording\n").unwrap();
        let corrupt = recording(&file).open().await.unwrap_err();
        assert_eq!(said(corrupt), named(ErrorKind::Corrupt));
    }
}
