use std::{any::Any, fmt, sync::Arc, time::Duration};

use agentx_resource::{ApiSupply, BoxFuture, Disk, Env, FileSystem, LLMProvider, Process};

use crate::{Failure, Outcome, Profile};

/// A case that takes longer hangs: generous, since it may wait for a loaded machine or a remote store.
const PATIENCE: Duration = Duration::from_mins(2);
/// One that is said to fail may do so by hanging, and is not waited for that long.
const PATIENCE_WITH_DEVIATION: Duration = Duration::from_secs(5);

/// One rule of the contract, and how it is tried.
pub struct Case<R: ?Sized> {
    name: &'static str,
    run: fn(Arc<R>) -> BoxFuture<'static, Outcome>,
}

/// A resource for one case: isolated from those of all other cases, and in the state that the suite asks for.
pub struct Fresh<R: ?Sized> {
    // Declared first, so that it is dropped before what it stands on.
    resource: Arc<R>,
    guard: Box<dyn Any + Send>,
}

impl<R: ?Sized> Case<R> {
    #[doc(hidden)]
    pub const fn new(name: &'static str, run: fn(Arc<R>) -> BoxFuture<'static, Outcome>) -> Self {
        Self { name, run }
    }

    /// The id of the case's row in `docs/semantics.md`.
    pub fn id(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Tries the case on `resource`.
    ///
    /// # Errors
    /// How the provider failed it, also by taking two minutes.
    pub async fn attempt(&self, resource: Arc<R>) -> Outcome {
        self.attempt_within(PATIENCE, resource).await
    }

    async fn attempt_within(&self, patience: Duration, resource: Arc<R>) -> Outcome {
        match tokio::time::timeout(patience, (self.run)(resource)).await {
            Ok(outcome) => outcome.map_err(|failure| failure.of(&self.id())),
            Err(_) => Err(Failure::new(format!("{}: no end after {patience:?}", self.id()))),
        }
    }

    /// Runs the case named `name` in a runtime of its own. What the suites' macros call.
    ///
    /// # Errors
    /// How the provider failed it, or that it did not fail what its profile says it fails.
    pub fn run<F, G>(cases: &[Self], name: &str, factory: F, profile: &Profile) -> Outcome
    where
        F: FnOnce() -> G,
        G: Future<Output: IntoFresh<R>>,
    {
        let Some(case) = cases.iter().find(|case| case.name == name) else {
            return Err(Failure::new(format!("no case is named {name}")));
        };
        let deviation = profile.reason(&case.id());
        let patience = if deviation.is_some() { PATIENCE_WITH_DEVIATION } else { PATIENCE };
        let outcome = runtime()?.block_on(async {
            let Fresh { resource, guard } = factory().await.into_fresh()?;
            let outcome = case.attempt_within(patience, resource).await;
            drop(guard);
            outcome
        });
        match deviation {
            None => outcome,
            Some(_) if outcome.is_err() => Ok(()),
            Some(reason) => Err(Failure::new(format!(
                "{}: passes, and the profile says that it fails ({reason}): remove the deviation",
                case.id()
            ))),
        }
    }
}

impl<R: ?Sized> Fresh<R> {
    /// This resource, which needs nothing else to live.
    pub fn new(resource: Arc<R>) -> Self {
        Self { resource, guard: Box::new(()) }
    }

    /// The resource, and what must outlive it.
    pub(crate) fn into_parts(self) -> (Arc<R>, Box<dyn Any + Send>) {
        (self.resource, self.guard)
    }

    /// Keeps `guard` until the case is over and the resource is dropped.
    pub fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        self.guard = Box::new((self.guard, guard));
        self
    }
}

/// A runtime of several threads, so that races are met.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no runtime: {error}")))
}

/// What a factory's future may give: a [`Fresh`], or a `Result` of one for a setup that can fail.
pub trait IntoFresh<R: ?Sized> {
    /// The resource.
    ///
    /// # Errors
    /// Why there is none.
    fn into_fresh(self) -> Result<Fresh<R>, Failure>;
}

impl<R: ?Sized> IntoFresh<R> for Fresh<R> {
    fn into_fresh(self) -> Result<Self, Failure> {
        Ok(self)
    }
}

impl<R: ?Sized, E: fmt::Debug> IntoFresh<R> for Result<Fresh<R>, E> {
    fn into_fresh(self) -> Result<Fresh<R>, Failure> {
        self.map_err(|error| Failure::new(format!("the factory failed: {error:?}")))
    }
}

impl Fresh<dyn FileSystem> {
    /// This file system.
    pub fn file_system(fs: impl FileSystem) -> Self {
        Self::new(Arc::new(fs))
    }
}

impl Fresh<dyn Process> {
    /// This process.
    pub fn process(process: impl Process) -> Self {
        Self::new(Arc::new(process))
    }
}

impl Fresh<dyn Env> {
    /// This environment.
    pub fn env(env: impl Env) -> Self {
        Self::new(Arc::new(env))
    }
}

impl Fresh<dyn Disk> {
    /// This disk.
    pub fn disk(disk: impl Disk) -> Self {
        Self::new(Arc::new(disk))
    }
}

impl Fresh<dyn LLMProvider<ApiSupply>> {
    /// This supplier of a model.
    pub fn llm_provider(provider: impl LLMProvider<ApiSupply>) -> Self {
        Self::new(Arc::new(provider))
    }
}

impl<R: ?Sized> fmt::Debug for Case<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<R: ?Sized + fmt::Debug> fmt::Debug for Fresh<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("resource", &self.resource).finish_non_exhaustive()
    }
}
