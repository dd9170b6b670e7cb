mod env;
mod fs;
mod llm;
mod process;
mod request;

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde_json::Value;

use self::{env::RecordedEnv, fs::RecordedFileSystem, llm::RecordedLlmProvider, process::RecordedProcess};
use crate::{
    Env, FileSystem, LLMProvider, Process, Result,
    cassette::{Call, Cassette},
};

/// Resources whose every answer is on a [`Cassette`]: recorded while it records, given from there when it replays. A
/// resource that is replayed is not even made: it is given by a function that is called to record.
///
/// What belongs together has a name, by which a replay finds it again. A name stands for one resource of each kind.
///
/// Secrets: the values of variables are withheld, in settings and in commands alike, but for those that
/// [`with_variables`](Self::with_variables) names; a model's supply never reaches the cassette. What commands print and
/// files hold is written as it is, less the secrets that the cassette knows of.
///
/// An agent that works in one shell for all its commands ([`ShellSession`](crate::ShellSession)) can't be replayed through
/// its process: each shell has secret marks of its own. Record its tools instead.
///
/// Needs the feature `record`; [`cassette`](crate::cassette) has an example.
#[derive(Clone, Debug)]
pub struct Recorded {
    cassette: Cassette,
    name: Arc<str>,
    shown: Arc<BTreeSet<String>>,
}

impl Recorded {
    /// The resources of this name on a cassette.
    pub fn new(cassette: &Cassette, name: impl Into<Arc<str>>) -> Self {
        Self { cassette: cassette.clone(), name: name.into(), shown: Arc::default() }
    }

    /// Records the values of these variables too. In a replay all others read `[withheld]`.
    pub fn with_variables(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.shown = Arc::new(names.into_iter().map(Into::into).collect());
        self
    }

    /// A file system.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no file system of this name was recorded.
    pub fn file_system(
        &self,
        make: impl FnOnce() -> Result<Arc<dyn FileSystem>>,
    ) -> Result<Arc<dyn FileSystem>> {
        let port = self.port(make)?;
        let capabilities =
            self.cassette.constant("fs.capabilities", &self.name, || Ok(port.live()?.capabilities()))?;
        Ok(Arc::new(RecordedFileSystem::new(port, capabilities)))
    }

    /// A process.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no process of this name was recorded.
    pub fn process(&self, make: impl FnOnce() -> Result<Arc<dyn Process>>) -> Result<Arc<dyn Process>> {
        let port = self.port(make)?;
        let capabilities =
            self.cassette.constant("process.capabilities", &self.name, || Ok(port.live()?.capabilities()))?;
        Ok(Arc::new(RecordedProcess::new(port, capabilities, self.shown.clone())))
    }

    /// Settings.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn env(&self, make: impl FnOnce() -> Result<Arc<dyn Env>>) -> Result<Arc<dyn Env>> {
        Ok(Arc::new(RecordedEnv::new(self.port(make)?, self.shown.clone())))
    }

    /// Who supplies a model. Only whether there was a supply is recorded: a replay gives what `stand_in` makes.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn llm_provider<S: Send + 'static>(
        &self,
        stand_in: impl Fn() -> S + Send + Sync + 'static,
        make: impl FnOnce() -> Result<Arc<dyn LLMProvider<S>>>,
    ) -> Result<Arc<dyn LLMProvider<S>>> {
        let port = self.port(make)?;
        Ok(Arc::new(RecordedLlmProvider::new(port, Arc::new(stand_in))))
    }

    fn port<R: ?Sized>(&self, make: impl FnOnce() -> Result<Arc<R>>) -> Result<Port<R>> {
        let live = if self.cassette.is_replay() { None } else { Some(make()?) };
        Ok(Port { cassette: self.cassette.clone(), name: self.name.clone(), live })
    }
}

/// A resource, where there is one, and where its answers are.
struct Port<R: ?Sized> {
    cassette: Cassette,
    name: Arc<str>,
    live: Option<Arc<R>>,
}

impl<R: ?Sized> Port<R> {
    async fn call(&self, operation: &'static str, request: Value) -> Result<Call> {
        self.cassette.call(operation, &self.name, request).await
    }

    /// The resource; asked for only to record.
    fn live(&self) -> Result<&Arc<R>> {
        self.live.as_ref().ok_or_else(not_live)
    }
}

impl<R: ?Sized> Clone for Port<R> {
    fn clone(&self) -> Self {
        Self { cassette: self.cassette.clone(), name: self.name.clone(), live: self.live.clone() }
    }
}

impl<R: fmt::Debug + ?Sized> fmt::Debug for Port<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name).field("live", &self.live).finish_non_exhaustive()
    }
}

fn not_live() -> crate::Error {
    crate::Error::new(crate::ErrorKind::Internal, "replay").with_message("nothing goes through in a replay")
}

#[cfg(test)]
mod tests;
