use std::{any::Any, fmt, sync::Arc, time::Duration};

use agentx_resource::{ApiSupply, Disk, Env, FileSystem, LLMProvider, Process};

use crate::{Failure, Outcome};

/// How often it is looked at what is left of a case: ten seconds in all.
const LOOKS: usize = 500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

type Check = Box<dyn Fn() -> Result<(), String> + Send>;

/// A resource for one case: isolated from those of all other cases, and in the state that the suite asks for.
pub struct Fresh<R: ?Sized> {
    // Declared first, so that it is dropped before what it stands on.
    resource: Arc<R>,
    guard: Box<dyn Any + Send>,
    checks: Vec<Check>,
}

impl<R: ?Sized> Fresh<R> {
    /// This resource, which needs nothing else to live.
    pub fn new(resource: Arc<R>) -> Self {
        Self { resource, guard: Box::new(()), checks: Vec::new() }
    }

    /// The resource, and what must outlive it.
    pub(crate) fn into_parts(self) -> (Arc<R>, Box<dyn Any + Send>) {
        (self.resource, self.guard)
    }

    /// Gives the resource to `attempt`, and looks afterwards at what is left of it.
    pub(crate) async fn tried<F>(self, attempt: impl FnOnce(Arc<R>) -> F) -> Outcome
    where
        F: Future<Output = Outcome>,
    {
        let Self { resource, guard, checks } = self;
        attempt(resource).await?;
        for check in &checks {
            settles(check).await?;
        }
        drop(guard);
        Ok(())
    }

    /// What `make` makes of the resource, with the same guards and checks: such as a layer over it.
    pub fn map(self, make: impl FnOnce(R) -> R) -> Self
    where
        R: Sized + Clone,
    {
        let Self { resource, guard, checks } = self;
        Self { resource: Arc::new(make((*resource).clone())), guard, checks }
    }

    /// Keeps `guard` until the case is over and the resource is dropped.
    pub fn with_guard(mut self, guard: impl Send + 'static) -> Self {
        self.guard = Box::new((self.guard, guard));
        self
    }

    /// Asks `check` when the case has passed and the resource is dropped: whether nothing is left that should not be,
    /// such as a process, an open file or a temporary file. What goes on in the background may need a moment to end,
    /// so that it is asked for up to ten seconds; then its answer fails the case.
    ///
    /// ```
    /// use agentx_conformance::Fresh;
    /// use agentx_resource::memory::MemoryFileSystem;
    ///
    /// let fs = MemoryFileSystem::new();
    /// let handle = fs.clone();
    /// let _fresh = Fresh::file_system(fs).with_check(move || {
    ///     let left = format!("{handle:?}").contains("temporary");
    ///     if left { Err("a temporary file is left".to_owned()) } else { Ok(()) }
    /// });
    /// ```
    pub fn with_check(mut self, check: impl Fn() -> Result<(), String> + Send + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }
}

/// Asks until the answer is that nothing is left.
async fn settles(check: &Check) -> Outcome {
    let mut left = Ok(());
    for _ in 0..LOOKS {
        left = check();
        if left.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    left.map_err(|left| Failure::new(format!("after the case: {left}")))
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

impl<R: ?Sized + fmt::Debug> fmt::Debug for Fresh<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("resource", &self.resource).finish_non_exhaustive()
    }
}
