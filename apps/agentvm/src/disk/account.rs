//! What one owner takes, and may take.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agentx::{Error, ErrorKind, Result};
use tokio::{sync::Semaphore, time::sleep_until};

use super::{
    measure::{MOST_ENTRIES, Measured, Obstacle, Usage, walk},
    watch::Watch,
};

/// How many times as long as a measurement took, and how long at most, an owner waits for the next one. Who has so many files
/// that it takes long is slowed down, and nobody else.
const REST: u32 = 2;
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long a measurement counts while a command runs, which may write on.
const FRESH: Duration = Duration::from_secs(1);

/// All workspaces of one owner.
///
/// What is counted is never less than what is there, but for what a command has written since it was looked at. Writes
/// of files are added in full, removals wait for the next measurement, and nothing is refused before that was made.
#[derive(Debug)]
pub(super) struct Account {
    /// Where all workspaces are, by container and image.
    root: PathBuf,
    /// What the names of the owner's containers begin with.
    prefix: String,
    limit: u64,
    walks: Arc<Semaphore>,
    /// Held while anything is measured, and when that may be at the earliest: looking takes a third of the time at most.
    measuring: tokio::sync::Mutex<Option<Instant>>,
    state: Mutex<State>,
    pub(super) watch: Watch,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<PathBuf, Counted>,
    /// Whether all places are known.
    is_complete: bool,
    /// What is about to be written.
    held: Usage,
}

/// One workspace.
#[derive(Debug, Default)]
struct Counted {
    usage: Usage,
    /// What the largest file took when it was measured, in bytes.
    largest: u64,
    obstacle: Option<Obstacle>,
    /// What was written since the last measurement began.
    written: Usage,
    /// Whether less may be there: something was written or removed since.
    is_estimate: bool,
    /// Whether more may be there: a command has run since.
    is_behind: bool,
    /// How many commands run, and since when they were last looked at.
    commands: usize,
    measured: Option<Instant>,
}

/// Room for what is about to be written. It is counted as written when this is dropped, whatever came of it.
#[derive(Debug)]
pub(super) struct Held {
    account: Arc<Account>,
    path: PathBuf,
    usage: Usage,
}

/// A command that runs in a workspace. Dropping this means that it has ended.
#[derive(Debug)]
pub(super) struct AtWork {
    account: Arc<Account>,
    path: PathBuf,
    /// What the workspace had at its beginning.
    before: Measured,
}

impl Account {
    pub(super) fn new(root: PathBuf, prefix: String, limit: u64, walks: Arc<Semaphore>) -> Self {
        Self {
            root,
            prefix,
            limit,
            walks,
            measuring: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            watch: Watch::default(),
        }
    }

    /// Room for `usage` more at a place.
    ///
    /// # Errors
    /// `LimitExceeded` where there is none; `Unavailable` where the disk can't be read.
    pub(super) async fn admit(
        self: &Arc<Self>,
        operation: &'static str,
        path: &Path,
        usage: Usage,
    ) -> Result<Held> {
        self.catch_up().await?;
        if !self.has_room(usage) {
            self.make_exact().await?;
        }
        let mut state = self.state();
        if let Some(told) = self.excess(&state, usage) {
            return Err(Error::new(ErrorKind::LimitExceeded, operation).with_message(told));
        }
        state.held = state.held.plus(usage);
        Ok(Held { account: Arc::clone(self), path: path.to_owned(), usage })
    }

    /// Begins a command, and says how large a file it may write, or what is wrong where it may write to none. One that is
    /// there may grow by what is left.
    ///
    /// # Errors
    /// `Unavailable` where the disk can't be read.
    pub(super) async fn begin(
        self: &Arc<Self>,
        path: &Path,
    ) -> Result<(AtWork, std::result::Result<u64, String>)> {
        self.catch_up().await?;
        // Exactly: its own place, since it is measured by what is more than that, and all others, since it gets what is left.
        self.measure_each(|place, counted| {
            counted.is_estimate || (place == path && counted.measured.is_none())
        })
        .await?;
        if !self.has_room(Usage::default()) {
            self.make_exact().await?;
        }
        let mut state = self.state();
        let left = self.limit.saturating_sub(state.total().bytes);
        let wrong = self.excess(&state, Usage::default());
        let counted = state.places.entry(path.to_owned()).or_default();
        counted.commands += 1;
        let file_size = wrong.map_or_else(|| Ok(left.saturating_add(counted.largest)), Err);
        let before = counted.as_measured();
        Ok((AtWork { account: Arc::clone(self), path: path.to_owned(), before }, file_size))
    }

    /// What is there at a place, as of now.
    ///
    /// # Errors
    /// `Unavailable` where the disk can't be read.
    pub(super) async fn look(&self, path: &Path) -> Result<Usage> {
        let mut measuring = self.measuring.lock().await;
        self.measure(path, &mut measuring).await?;
        Ok(self.at(path).usage)
    }

    /// What is wrong, where more is taken than may be.
    pub(super) fn is_over(&self) -> Option<String> {
        self.excess(&self.state(), Usage::default())
    }

    fn at(&self, path: &Path) -> Measured {
        let state = self.state();
        let counted = state.places.get(path);
        counted.map(Counted::as_measured).unwrap_or_default()
    }

    /// Something was removed at a place.
    pub(super) fn removed(&self, path: &Path) {
        if let Some(counted) = self.state().places.get_mut(path) {
            counted.is_estimate = true;
        }
    }

    /// Something may have been written at a place that nobody was asked about.
    pub(super) fn touched(&self, path: &Path) {
        self.state().places.entry(path.to_owned()).or_default().is_behind = true;
    }

    /// The place is gone.
    pub(super) fn forget(&self, path: &Path) {
        self.state().places.remove(path);
    }

    fn has_room(&self, usage: Usage) -> bool {
        self.excess(&self.state(), usage).is_none()
    }

    /// What is wrong with `usage` more.
    fn excess(&self, state: &State, usage: Usage) -> Option<String> {
        if let Some(obstacle) = state.places.values().find_map(|counted| counted.obstacle) {
            return Some(format!("what the workspaces take can't be measured: {}", obstacle.told()));
        }
        let (used, limit) = (state.total(), self.limit);
        let all = used.plus(usage);
        if all.bytes > limit {
            let (taken, more) = (used.bytes, usage.bytes);
            let wrong = if taken > limit {
                "the quota of the disk is used up".to_owned()
            } else {
                format!("the quota of the disk has no room for {more} more bytes")
            };
            return Some(format!("{wrong}: all workspaces take {taken} of {limit}"));
        }
        (all.entries > MOST_ENTRIES).then(|| {
            format!("no more than {MOST_ENTRIES} files and directories are allowed, in all workspaces")
        })
    }

    /// Measures what is not known yet, and where commands have run.
    async fn catch_up(&self) -> Result<()> {
        self.find_places().await?;
        self.measure_each(|_, counted| {
            let is_old = || counted.measured.is_none_or(|measured| measured.elapsed() > FRESH);
            counted.is_behind || (counted.commands > 0 && is_old())
        })
        .await
    }

    /// Measures each place that was written to, removed from or left by a command since it was measured last.
    ///
    /// # Errors
    /// `Unavailable` where the disk can't be read.
    pub(super) async fn settle(&self) -> Result<()> {
        self.measure_each(|_, counted| counted.is_estimate || counted.is_behind).await
    }

    /// Measures each place of which less may be there than was counted.
    async fn make_exact(&self) -> Result<()> {
        self.measure_each(|_, counted| {
            counted.is_estimate || counted.is_behind || counted.commands > 0 || counted.obstacle.is_some()
        })
        .await
    }

    async fn measure_each(&self, is_meant: impl Fn(&Path, &Counted) -> bool) -> Result<()> {
        let meant = || {
            let state = self.state();
            let meant = state.places.iter().filter(|(path, counted)| is_meant(path, counted));
            meant.map(|(path, _)| path.clone()).collect::<Vec<_>>()
        };
        if meant().is_empty() {
            return Ok(());
        }
        let mut measuring = self.measuring.lock().await;
        // Somebody else may have done it meanwhile.
        for path in meant() {
            self.measure(&path, &mut measuring).await?;
        }
        Ok(())
    }

    /// Finds the workspaces that were there before this process.
    async fn find_places(&self) -> Result<()> {
        if self.state().is_complete {
            return Ok(());
        }
        let _measuring = self.measuring.lock().await;
        let (root, prefix) = (self.root.clone(), self.prefix.clone());
        let found = tokio::task::spawn_blocking(move || find(&root, &prefix)).await;
        let found = found.map_err(io::Error::other).flatten().map_err(|error| failed(&self.root, error))?;
        let mut state = self.state();
        for path in found {
            state.places.entry(path).or_insert_with(|| Counted { is_behind: true, ..Counted::default() });
        }
        state.is_complete = true;
        Ok(())
    }

    /// Measures one place, not before `next`, for which nobody else is at it.
    async fn measure(&self, path: &Path, next: &mut Option<Instant>) -> Result<()> {
        if let Some(next) = *next {
            sleep_until(next.into()).await;
        }
        // The semaphore is never closed.
        let _permit = self.walks.acquire().await;
        let walking = Walking::begin(self, path);
        let since = Instant::now();
        let measured = walk(path.to_owned()).await.map_err(|error| failed(path, error))?;
        let now = Instant::now();
        *next = Some(now + ((now - since) * REST).min(LONGEST_REST));
        walking.end(measured);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtWork {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether more is in its workspace than at its beginning, as far as that was looked at.
    pub(super) fn has_grown(&self) -> bool {
        let (now, before) = (self.account.at(&self.path).usage, self.before.usage);
        now.bytes > before.bytes || now.entries > before.entries
    }

    /// Whether its workspace can't be measured any more.
    pub(super) fn is_hidden(&self) -> bool {
        self.before.obstacle.is_none() && self.account.at(&self.path).obstacle.is_some()
    }
}

impl Counted {
    fn as_measured(&self) -> Measured {
        Measured { usage: self.usage, largest: self.largest, obstacle: self.obstacle }
    }
}

impl State {
    fn total(&self) -> Usage {
        self.places.values().fold(self.held, |sum, counted| sum.plus(counted.usage))
    }
}

/// The directories of images in containers whose names begin so.
pub(super) fn find(root: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = |path: &Path| match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    };
    let mut found = Vec::new();
    for container in entries(root)? {
        if container.file_name().to_str().is_some_and(|name| name.starts_with(prefix)) {
            found.extend(entries(&container.path())?.into_iter().map(|image| image.path()));
        }
    }
    Ok(found)
}

fn failed(path: &Path, error: io::Error) -> Error {
    // The path is the server's own matter.
    tracing::error!(path = %path.display(), %error, "a workspace can't be measured");
    Error::new(ErrorKind::Unavailable, "measure workspace").with_source(error)
}

/// A measurement under way. Dropped before its end, it leaves the place to be measured again.
struct Walking<'account> {
    account: &'account Account,
    path: &'account Path,
    is_over: bool,
}

impl<'account> Walking<'account> {
    fn begin(account: &'account Account, path: &'account Path) -> Self {
        let mut state = account.state();
        let counted = state.places.entry(path.to_owned()).or_default();
        counted.written = Usage::default();
        (counted.is_estimate, counted.is_behind) = (false, false);
        counted.measured = Some(Instant::now());
        Self { account, path, is_over: false }
    }

    fn end(mut self, measured: Measured) {
        self.is_over = true;
        // It may have been forgotten meanwhile.
        if let Some(counted) = self.account.state().places.get_mut(self.path) {
            counted.usage = measured.usage.plus(counted.written);
            (counted.largest, counted.obstacle) = (measured.largest, measured.obstacle);
        }
    }
}

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.account.touched(self.path);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.account.state();
        state.held = state.held.minus(self.usage);
        let counted = state.places.entry(std::mem::take(&mut self.path)).or_default();
        counted.usage = counted.usage.plus(self.usage);
        counted.written = counted.written.plus(self.usage);
        counted.is_estimate = true;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some(counted) = self.account.state().places.get_mut(&self.path) {
            counted.commands = counted.commands.saturating_sub(1);
            counted.is_behind = true;
        }
    }
}
