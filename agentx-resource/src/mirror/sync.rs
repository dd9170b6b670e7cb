use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt, StreamExt, stream, try_join};

use super::{
    BaseState, Copied, MirrorEvent, MirrorOptions, Pair, Side, Skipped, SyncFailure, SyncReport, Told,
    base::{Base, Record},
    plan::Plan,
    replica::{Issue, Replica, Snapshot},
    state::StateFile,
    step::{Change, Effect, Finished, Job},
};
use crate::{BoxFuture, Error, ErrorKind, ResourcePath, Result};

/// How often the trees are compared, where something changes meanwhile or a conflict makes new files.
const ROUNDS: usize = 3;
/// The state is written each time that this many paths were done, or an eighth of all that is known...
const CHECKPOINT_PATHS: usize = 256;
/// ...or files of so many bytes were copied.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Makes both trees alike.
pub(super) async fn run(pair: &Arc<Pair>, options: &MirrorOptions) -> Result<SyncReport> {
    let (state, base, base_state) = StateFile::open(pair, options).await?;
    let report = SyncReport { base: base_state, ..SyncReport::default() };
    let mut sync =
        Sync { pair, options, state, base, report, unsaved: Unsaved::default(), told: HashSet::new() };
    for round in 1..=ROUNDS {
        let again = sync.round(round == 1).await?;
        if !again {
            break;
        }
    }
    Ok(sync.report)
}

struct Sync<'a> {
    pair: &'a Arc<Pair>,
    options: &'a MirrorOptions,
    state: StateFile,
    base: Base,
    report: SyncReport,
    unsaved: Unsaved,
    /// The names of conflicts that this sync has told.
    told: HashSet<ResourcePath>,
}

/// What was done since the state was written.
#[derive(Default)]
struct Unsaved {
    paths: usize,
    bytes: u64,
    markers: bool,
}

impl Sync<'_> {
    /// Looks at both trees, and does what is to be done. Says whether another look is needed.
    async fn round(&mut self, first: bool) -> Result<bool> {
        let Pair { local, remote } = &**self.pair;
        let (mut seen_local, mut seen_remote) =
            try_join!(local.snapshot(self.options), remote.snapshot(self.options))?;
        if first {
            self.know_trees(&seen_local, &seen_remote).await?;
        }
        if self.recovered(local, remote, &seen_local).await? {
            seen_local = local.snapshot(self.options).await?;
        }
        if self.recovered(remote, local, &seen_remote).await? {
            seen_remote = remote.snapshot(self.options).await?;
        }
        let (local, remote) = (seen_local, seen_remote);
        let plan = Plan::new(&self.base, &local, &remote, self.options);
        if plan.bytes > self.options.max_bytes {
            return Err(Error::new(ErrorKind::LimitExceeded, "sync").with_message(format!(
                "{} bytes are to be read, and {} are allowed",
                plan.bytes, self.options.max_bytes
            )));
        }
        self.begin(&plan, &local, &remote);
        // The entries are not needed any more, and may be many.
        drop((local, remote));
        let taken = Arc::new(plan.taken);
        for group in plan.groups {
            let (pair, taken) = (Arc::clone(self.pair), Arc::clone(&taken));
            let jobs = group.into_iter().map(move |step| -> BoxFuture<'static, Finished> {
                Job { pair: Arc::clone(&pair), taken: Arc::clone(&taken), step }.run().boxed()
            });
            let mut running = stream::iter(jobs).buffer_unordered(self.options.parallel.get());
            while let Some(finished) = running.next().await {
                self.note(finished);
                if self.unsaved.due(self.base.records.len()) {
                    self.save().await?;
                }
            }
        }
        if self.unsaved.any() {
            self.save().await?;
        }
        Ok(!self.report.deferred.is_empty())
    }

    /// What is counted anew in each round: a later look knows better.
    fn begin(&mut self, plan: &Plan, local: &Snapshot, remote: &Snapshot) {
        self.report.failures = Told::default();
        self.report.deferred = Told::default();
        let (a, b) = (local.skipped, remote.skipped);
        self.report.skipped = Skipped {
            symlinks: a.symlinks + b.symlinks,
            special: a.special + b.special,
            unaddressable: a.unaddressable + b.unaddressable,
            excluded: a.excluded + b.excluded,
            blocked: plan.blocked,
            held_directories: plan.held,
        };
        self.options.tell(&MirrorEvent::Compared { steps: plan.steps() as u64, bytes: plan.bytes });
    }

    /// Forgets what is known of the last sync if that was with other trees, since all that is missing in these would
    /// seem to have been removed.
    async fn know_trees(&mut self, local: &Snapshot, remote: &Snapshot) -> Result<()> {
        let markers = [
            (&self.pair.local, &local.marker, &mut self.base.local_marker),
            (&self.pair.remote, &remote.marker, &mut self.base.remote_marker),
        ];
        let mut others = false;
        for (replica, seen, known) in markers {
            let same = match (&*known, seen) {
                (Some(known), Some(seen)) => known.is(seen),
                (known, _) => known.is_none(),
            };
            others |= !same;
            if !same || known.is_none() {
                *known = match seen {
                    Some(seen) => Some(seen.clone()),
                    None => replica.make_marker().await?,
                };
                self.unsaved.markers |= known.is_some();
            }
        }
        if others {
            self.base.records.clear();
            self.report.base = BaseState::OtherTrees;
        }
        Ok(())
    }

    /// Ends what an interrupted sync has left aside. Says whether there was anything.
    async fn recovered(&self, replica: &Replica, other: &Replica, seen: &Snapshot) -> Result<bool> {
        for aside in &seen.aside {
            replica.recover(aside, &self.base, other).await?;
        }
        Ok(!seen.aside.is_empty())
    }

    fn note(&mut self, Finished { path, effect, result }: Finished) {
        let Effect { change, copied, removed, conflict, set_aside, held } = effect;
        match change {
            Change::None => {}
            Change::Set(record) => self.set(&path, Some(record)),
            Change::Remove => self.set(&path, None),
        }
        if let Some((to, bytes)) = copied {
            let count = match to {
                Side::Local => &mut self.report.pulled,
                Side::Remote => &mut self.report.pushed,
            };
            *count = Copied { files: count.files + 1, bytes: count.bytes + bytes };
            self.unsaved.bytes += bytes;
            self.options.tell(&MirrorEvent::Copied { path: path.clone(), to, bytes });
        }
        if let Some(from) = removed {
            match from {
                Side::Local => self.report.removed_local += 1,
                Side::Remote => self.report.removed_remote += 1,
            }
            self.options.tell(&MirrorEvent::Removed { path: path.clone(), from });
        }
        if let Some(conflict) = conflict
            && conflict.kept_as.as_ref().is_none_or(|kept_as| self.told.insert(kept_as.clone()))
        {
            self.options.tell(&MirrorEvent::Conflict(conflict.clone()));
            self.report.conflicts.push(conflict);
        }
        self.report.skipped.held_directories += u64::from(held);
        // What has a new name is copied to the other side in the next round.
        if let Some(path) = set_aside {
            self.report.deferred.push(path);
        }
        match result {
            Ok(()) => {}
            Err(Issue::Changed) => self.report.deferred.push(path),
            Err(Issue::Failed(error)) => {
                let failure = SyncFailure { path, error };
                self.options.tell(&MirrorEvent::Failed(failure.clone()));
                self.report.failures.push(failure);
            }
        }
    }

    fn set(&mut self, path: &ResourcePath, record: Option<Record>) {
        match record {
            Some(record) => self.base.records.insert(path.clone(), record),
            None => self.base.records.remove(path),
        };
        self.unsaved.paths += 1;
    }

    async fn save(&mut self) -> Result<()> {
        self.state.publish(&self.base).await?;
        self.unsaved = Unsaved::default();
        Ok(())
    }
}

impl Unsaved {
    fn any(&self) -> bool {
        self.paths > 0 || self.markers
    }

    fn due(&self, records: usize) -> bool {
        // In proportion to what is written, so that all writes together cost no more than a few times the last one.
        self.paths >= CHECKPOINT_PATHS.max(records / 8) || self.bytes >= CHECKPOINT_BYTES
    }
}
