//! Commands that run, and what they write meanwhile.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agentx::resource::Child;
use tokio::time::sleep;

use super::account::{Account, AtWork};

/// How long what commands have written is not looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A command that is watched while it runs.
pub(crate) struct Watched {
    // First: it is dead before it counts as over.
    pub(crate) child: Box<dyn Child>,
    work: AtWork,
    /// Why it was ended.
    ended: OnceLock<String>,
    /// Whether its workspace could not be measured when it was looked at last.
    was_hidden: AtomicBool,
}

/// The commands of one owner.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Watching>);

#[derive(Debug, Default)]
struct Watching {
    commands: Vec<Weak<Watched>>,
    /// Whether a task looks.
    is_watched: bool,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("child", &self.child)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Watched {
    /// Why it was ended, where this did it.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    /// Whether it is to end, where its owner has too much.
    fn is_at_fault(&self) -> bool {
        // A directory may be closed for a moment without any harm.
        let is_hidden = self.work.is_hidden();
        let was_hidden = self.was_hidden.swap(is_hidden, Ordering::Relaxed);
        self.work.has_grown() || (is_hidden && was_hidden)
    }
}

/// Watches a command from now on, until it is dropped.
pub(super) fn watched(account: &Arc<Account>, work: AtWork, child: Box<dyn Child>) -> Arc<Watched> {
    let (ended, was_hidden) = (OnceLock::new(), AtomicBool::new(false));
    let command = Arc::new(Watched { child, work, ended, was_hidden });
    let mut watching = account.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
    watching.commands.push(Arc::downgrade(&command));
    if !watching.is_watched {
        watching.is_watched = true;
        drop(tokio::spawn(watch(Arc::clone(account))));
    }
    command
}

/// Looks until no command runs.
async fn watch(account: Arc<Account>) {
    loop {
        sleep(LOOK).await;
        let Some(places) = running(&account, |command| command.work.path().to_owned()) else { return };
        for place in places.into_iter().collect::<BTreeSet<_>>() {
            if let Err(error) = account.look(&place).await {
                tracing::error!(%error, "what a command writes can't be watched");
            }
        }
        if account.is_over().is_none() {
            continue;
        }
        // Nobody is ended for what was merely reckoned, elsewhere.
        if let Err(error) = account.settle().await {
            tracing::error!(%error, "what a workspace takes can't be settled");
        }
        let Some(told) = account.is_over() else { continue };
        let end = |command: Arc<Watched>| {
            if command.is_at_fault() && command.ended.set(told.clone()).is_ok() {
                drop(tokio::spawn(async move {
                    if let Err(error) = command.child.kill().await {
                        tracing::error!(%error, "a command that writes too much can't be ended");
                    }
                }));
            }
        };
        if running(&account, end).is_none() {
            return;
        }
    }
}

/// What is to be said of each command that runs; none where there is nothing more to watch. None is held for longer than
/// this takes: a command that nobody waits for any more ends at once.
fn running<T>(account: &Account, each: impl Fn(Arc<Watched>) -> T) -> Option<Vec<T>> {
    let mut watching = account.watch.0.lock().unwrap_or_else(PoisonError::into_inner);
    watching.commands.retain(|command| command.strong_count() > 0);
    watching.is_watched = !watching.commands.is_empty();
    let commands = watching.commands.clone();
    let is_watched = watching.is_watched;
    // Whoever drops the last handle ends a command, which may take a moment.
    drop(watching);
    is_watched.then(|| commands.iter().filter_map(Weak::upgrade).map(each).collect())
}
