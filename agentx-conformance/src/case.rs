use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::BoxFuture;
use futures::{StreamExt, stream};

use crate::{Failure, IntoFresh, Outcome, Profile, Subject, Summary};

/// A case that takes longer hangs: generous, since it may wait for a loaded machine or a remote store.
const PATIENCE: Duration = Duration::from_mins(2);
/// One that is said to fail may do so by hanging, and is not waited for that long.
const PATIENCE_WITH_DEVIATION: Duration = Duration::from_secs(5);
/// How many cases run at once where one test runs them all.
const AT_ONCE: usize = 4;

/// One rule of the contract, and how it is tried.
pub struct Case<R: ?Sized> {
    name: &'static str,
    run: fn(Arc<R>) -> BoxFuture<'static, Outcome>,
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
        self.attempt_within(PATIENCE, resource).await.map_err(|failure| failure.of(&self.id()))
    }

    async fn attempt_within(&self, patience: Duration, resource: Arc<R>) -> Outcome {
        match tokio::time::timeout(patience, (self.run)(resource)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::new(format!("no end after {patience:?}"))),
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
        runtime()?.block_on(case.judged(factory, profile))
    }

    /// Runs all cases in one runtime, four at a time: for one test in place of one for each case.
    ///
    /// ```
    /// use agentx_conformance::{Case, Fresh, Profile, file_system};
    /// use agentx_resource::memory::MemoryFileSystem;
    ///
    /// let fresh = || async { Fresh::file_system(MemoryFileSystem::new()) };
    /// Case::run_all(file_system::CASES, fresh, &Profile::new())?;
    /// # Ok::<(), agentx_conformance::Failure>(())
    /// ```
    ///
    /// # Errors
    /// All failures, as one.
    pub fn run_all<F, G>(cases: &[Self], factory: F, profile: &Profile) -> Outcome
    where
        F: Fn() -> G,
        G: Future<Output: IntoFresh<R>>,
    {
        profile.check(cases)?;
        let outcomes = runtime()?.block_on(
            stream::iter(cases.iter().map(|case| case.judged(&factory, profile)))
                .buffer_unordered(AT_ONCE)
                .collect::<Vec<_>>(),
        );
        let failures: Vec<String> =
            outcomes.into_iter().filter_map(|outcome| Some(outcome.err()?.to_string())).collect();
        if failures.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"))))
    }

    /// Whether the provider does what the case and the profile say.
    async fn judged<F, G>(&self, factory: F, profile: &Profile) -> Outcome
    where
        F: FnOnce() -> G,
        G: Future<Output: IntoFresh<R>>,
    {
        let deviation = profile.reason(&self.id());
        let patience = if deviation.is_some() { PATIENCE_WITH_DEVIATION } else { PATIENCE };
        let fresh = factory().await.into_fresh()?;
        let outcome = fresh.tried(|resource| self.attempt_within(patience, resource)).await;
        match deviation {
            None => outcome.map_err(|failure| failure.of(&self.id())),
            Some(_) if outcome.is_err() => Ok(()),
            Some(reason) => Err(Failure::new(format!(
                "{}: passes, and the profile says that it fails ({reason}): remove the deviation",
                self.id()
            ))),
        }
    }

    /// Prints one line of what the suite asks of a provider: cases, capabilities that it does not declare, deviations.
    /// What the test `summary` of each suite does.
    ///
    /// # Errors
    /// A deviation from a case that there is not, or without a reason; that the line can't be written.
    pub fn summarize<F, G>(cases: &[Self], suite: &str, factory: F, profile: &Profile) -> Outcome
    where
        R: Subject,
        F: FnOnce() -> G,
        G: Future<Output: IntoFresh<R>>,
    {
        profile.check(cases)?;
        let refused = runtime()?.block_on(async {
            let (resource, _guard) = factory().await.into_fresh()?.into_parts();
            Ok::<_, Failure>(resource.refused())
        })?;
        Summary::new(suite, cases.len(), refused, profile).print()
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

impl<R: ?Sized> fmt::Debug for Case<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("id", &self.id()).finish_non_exhaustive()
    }
}
