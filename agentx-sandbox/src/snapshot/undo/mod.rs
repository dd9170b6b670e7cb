//! What calls of tools did to the files, and how it is taken back.

mod call;
mod record;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_core::{Error, ErrorKind, Result, Tool};
use agentx_resource::{FileSystemExt, MkdirOptions, ResourcePath, Version, WriteMode};

pub(super) use self::record::Stored;
use self::{
    call::{Call, Recorded},
    record::{Behind, Record, Taken},
};
use super::{
    Change, ChangeKind, Restored, Snapshots, State, remove,
    tree::{Node, Tree, gone, look, scan},
};
use crate::NodeRuntime;

/// Takes back what one call of `write`, `edit` or `bash` did to the files.
///
/// The calls of the tools that [`record`](Self::record) gives are remembered, the last 100 of them, in the store of the
/// snapshots: a log that is opened over it later has them too. One log has a store at a time; a clone is the same log.
///
/// * **Costs.** A call of `write` or `edit` copies the file as it was. A call of `bash` takes what a snapshot takes
///   (a listing, and a copy of each file that is new or changed since the last one), and lists the tree once more
///   after it.
/// * **Conflicts.** A call is taken back whole or not at all: not where something else has changed one of its files since,
///   nor where another recorded call ran at the same time and may have changed the same files.
/// * **A crash.** A call that was under way when the program was killed is not remembered. An undo that was is done by
///   the next one: what it had taken back already counts as done.
/// * **Bounds** and what is left alone: those of the [`Snapshots`]. A call in a tree beyond them runs, and can't be taken
///   back. What a command in the background changes after its call has ended belongs to no call.
///
/// ```
/// use agentx_core::ToolContext;
/// use agentx_resource::{FileSystemExt, ResourcePath};
/// use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
/// use agentx_sandbox::{NodeRuntime, Snapshots, UndoLog, tools};
/// use serde_json::json;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let (fs, clock) = (Arc::new(MemoryFileSystem::new()), Arc::new(ManualClock::default()));
/// let process = MemoryProcess::new(clock.clone()).with_file_system(fs.clone());
/// let runtime = NodeRuntime::new(fs.clone(), Arc::new(MemoryEnv::default()), Arc::new(process));
/// let log = UndoLog::open(&runtime, Snapshots::open(fs.clone(), Arc::new(MemoryFileSystem::new())).await?).await?;
///
/// let tools = log.record(tools(&runtime));
/// let write = tools.iter().find(|tool| tool.definition().name == "write").unwrap();
/// let input = json!({"file_path": "/a.txt", "content": "a mistake"});
/// write.call(input, ToolContext::new("call_1", clock)).await?;
/// log.undo("call_1").await?;
/// assert!(!fs.exists(&ResourcePath::new("/a.txt")?).await?);
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct UndoLog(Arc<Inner>);

struct Inner {
    runtime: NodeRuntime,
    snapshots: Snapshots,
    log: Mutex<Log>,
}

/// What [`UndoLog::undo`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undone {
    /// The changes were taken back.
    Restored(Restored),
    /// Something else changed these since, and nothing was done.
    Conflict(Vec<ResourcePath>),
}

/// How many calls are remembered.
const CALLS: usize = 100;

#[derive(Default)]
struct Log {
    calls: VecDeque<Record>,
    running: BTreeMap<u64, Running>,
    started: u64,
    /// What was kept for calls that are forgotten.
    garbage: Vec<Node>,
    behind: Behind,
}

struct Running {
    scope: Scope,
    overlapped: bool,
}

/// What a call may change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    File(ResourcePath),
    Tree,
}

impl UndoLog {
    /// The calls that the store of `snapshots` has; none yet in a new one. The snapshots are of the runtime's file
    /// system.
    ///
    /// # Errors
    /// `Unsupported` for a file system without conditional writes: there, nothing tells who changed a file. `Corrupt` for
    /// a call that can't be read as such, which is left as it is.
    pub async fn open(runtime: &NodeRuntime, snapshots: Snapshots) -> Result<Self> {
        if runtime.file_system().capabilities().if_match.is_none() {
            return Err(Error::new(ErrorKind::Unsupported, "undo")
                .with_message("the file system has no conditional writes"));
        }
        let mut log = Log::default();
        for (number, stored) in snapshots.state.lock().await.store.take_calls() {
            log.push(Record::of(number, stored)?);
        }
        Ok(Self(Arc::new(Inner { runtime: runtime.clone(), snapshots, log: Mutex::new(log) })))
    }

    /// The same tools, with `write`, `edit` and `bash` remembered.
    pub fn record(&self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Vec<Arc<dyn Tool>> {
        let recorded = |tool: Arc<dyn Tool>| match tool.definition().name.as_str() {
            "write" | "edit" | "bash" => Arc::new(Recorded { inner: tool, log: self.clone() }),
            _ => tool,
        };
        tools.into_iter().map(recorded).collect()
    }

    /// Takes back what a call did. It takes many steps, each of them whole; after one that fails or is dropped, another
    /// `undo` does the rest.
    ///
    /// # Errors
    /// `NotFound` for a call that is not, or no longer, remembered; `Busy` for one that ran along with another which may
    /// have changed the same files; why the call's changes were not remembered; what the file systems report.
    pub async fn undo(&self, call: &str) -> Result<Undone> {
        let mut state = self.0.snapshots.state.lock().await;
        let undone = self.take_back(&state, call).await;
        // Also of what was taken back before something failed.
        self.clean(&mut state).await?;
        undone
    }

    async fn take_back(&self, state: &State, call: &str) -> Result<Undone> {
        let fs = &**self.0.runtime.file_system();
        let (mut changes, mut done, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        for change in self.changes_of(call)? {
            let now = self.now(&change.path, change.after.as_ref()).await?;
            if same(now.as_ref(), change.after.as_ref()) {
                changes.push(change);
            } else if self.is_as_before(state, &change, now.as_ref()).await? {
                done.push((change, now));
            } else {
                conflicts.push(change.path);
            }
        }
        if !conflicts.is_empty() {
            return Ok(Undone::Conflict(conflicts));
        }
        for (change, now) in done {
            let version = now.as_ref().and_then(Node::version).map(Version::new);
            self.done(call, &change, version.as_ref());
        }
        let mut restored = Restored::default();
        // What is in a directory goes before it.
        for change in changes.iter().rev().filter(|change| change.before.is_none()) {
            remove(fs, &change.path).await?;
            restored.changed.push(Change { path: change.path.clone(), kind: ChangeKind::Removed });
            self.done(call, change, None);
        }
        for change in &changes {
            let Some(before) = &change.before else { continue };
            let path = &change.path;
            let kind = if change.after.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            let mut version = None;
            match before {
                Node::Directory => {
                    if change.after.is_some() {
                        remove(fs, path).await?;
                    }
                    fs.mkdir(path, MkdirOptions::recursive()).await?;
                }
                Node::File { blob: Some(blob), .. } => {
                    let mode = match &change.after {
                        Some(Node::File { version: Some(version), .. }) => {
                            WriteMode::IfMatch(Version::new(version))
                        }
                        Some(_) => {
                            remove(fs, path).await?;
                            WriteMode::CreateNew
                        }
                        None => WriteMode::CreateNew,
                    };
                    version = state.store.write(*blob, fs, path, mode).await?;
                }
                Node::File { blob: None, .. } => {
                    return Err(Error::new(ErrorKind::Corrupt, "undo").with_path(path));
                }
                Node::Symlink(_) => {
                    restored.skipped.push(path.clone());
                    self.done(call, change, None);
                    continue;
                }
            }
            restored.changed.push(Change { path: path.clone(), kind });
            self.done(call, change, version.as_ref());
        }
        restored.changed.sort_by(|a, b| a.path.cmp(&b.path));
        let mut log = self.log();
        if let Some(index) = log.calls.iter().position(|record| record.call == call) {
            log.forget(index);
        }
        Ok(Undone::Restored(restored))
    }

    /// Whether a place is already what it was: an undo was cut off, or somebody else took the change back.
    async fn is_as_before(&self, state: &State, change: &Taken, now: Option<&Node>) -> Result<bool> {
        match (&change.before, now) {
            (None, None) | (Some(Node::Directory), Some(Node::Directory)) => Ok(true),
            (Some(Node::File { blob: Some(blob), .. }), Some(Node::File { .. })) => {
                let fs = &**self.0.runtime.file_system();
                state.store.equals(*blob, fs, &change.path).await
            }
            _ => Ok(false),
        }
    }

    fn changes_of(&self, call: &str) -> Result<Vec<Taken>> {
        let log = self.log();
        let Some(record) = log.calls.iter().find(|record| record.call == call) else {
            return Err(Error::new(ErrorKind::NotFound, "undo").with_path(call));
        };
        if record.overlapped {
            return Err(Error::new(ErrorKind::Busy, "undo").with_path(call).with_message(
                "another call ran at the same time, and whose changes are whose is not known",
            ));
        }
        record.changes.clone()
    }

    /// One change is taken back. Where that brought back what an earlier call left, that call is to know it again.
    fn done(&self, call: &str, done: &Taken, version: Option<&Version>) {
        let was = done.before.as_ref().and_then(Node::version);
        let mut log = self.log();
        let Log { calls, garbage, behind, .. } = &mut *log;
        for record in calls.iter_mut() {
            let Ok(changes) = &mut record.changes else { continue };
            if record.call == call {
                changes.retain(|change| change.path != done.path);
                behind.changed.extend(record.number);
                continue;
            }
            for change in changes.iter_mut().filter(|change| change.path == done.path) {
                if let (Some(Node::File { version: after, .. }), Some(version)) = (&mut change.after, version)
                    && after.as_deref() == was
                {
                    *after = Some(version.as_str().to_owned());
                    behind.changed.extend(record.number);
                }
            }
        }
        garbage.extend(done.before.clone());
    }

    /// What is at a place now; seen as it was seen when it was remembered.
    async fn now(&self, path: &ResourcePath, after: Option<&Node>) -> Result<Option<Node>> {
        match after {
            Some(Node::File { .. }) => self.follow(path).await,
            _ => look(&**self.0.runtime.file_system(), path).await,
        }
    }

    async fn follow(&self, path: &ResourcePath) -> Result<Option<Node>> {
        match self.0.runtime.file_system().metadata(path).await {
            Ok(metadata) => Ok(Node::of(&metadata)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps what a call may change.
    async fn before(&self, scope: &Scope) -> Result<Tree> {
        let snapshots = &self.0.snapshots;
        let mut state = snapshots.state.lock().await;
        self.clean(&mut state).await?;
        match scope {
            Scope::Tree => {
                snapshots.keep(&mut state).await?;
                let State { store, latest } = &mut *state;
                store.hold(latest.values());
                Ok(latest.clone())
            }
            Scope::File(_) => {
                let mut tree = self.after(scope).await?;
                let bytes: u64 = tree.values().map(Node::len).sum();
                let limit = snapshots.limits.bytes;
                if bytes > limit {
                    return Err(Error::new(ErrorKind::LimitExceeded, "undo")
                        .with_message(format!("the file had {bytes} bytes, and at most {limit} are kept")));
                }
                let State { store, latest } = &mut *state;
                store.keep(self.0.runtime.file_system(), &mut tree, latest).await?;
                Ok(tree)
            }
        }
    }

    /// What is there of what a call may change.
    async fn after(&self, scope: &Scope) -> Result<Tree> {
        let snapshots = &self.0.snapshots;
        match scope {
            Scope::Tree => scan(&*snapshots.fs, &snapshots.excluded, &snapshots.limits).await,
            Scope::File(path) => {
                let mut tree = Tree::new();
                if let Some(node) = self.follow(path).await? {
                    tree.insert(path.clone(), node);
                }
                let mut parent = path.parent().filter(|parent| !parent.is_root());
                while let Some(directory) = parent {
                    if let Some(node) = self.follow(&directory).await? {
                        tree.insert(directory.clone(), node);
                    }
                    parent = directory.parent().filter(|parent| !parent.is_root());
                }
                Ok(tree)
            }
        }
    }

    /// Brings the store up to what is remembered, and gives up what was kept for calls that are forgotten.
    async fn clean(&self, state: &mut State) -> Result<()> {
        let (garbage, behind, changed) = {
            let mut log = self.log();
            let behind = std::mem::take(&mut log.behind);
            let changed: Vec<_> = log
                .calls
                .iter()
                .filter_map(|record| Some((record.number?, record.stored()?)))
                .filter(|(number, _)| behind.changed.contains(number))
                .collect();
            (std::mem::take(&mut log.garbage), behind, changed)
        };
        // First what counts on a content, then the content.
        for number in behind.forgotten {
            state.store.remove_call(number).await?;
        }
        for (number, stored) in changed {
            state.store.update_call(number, &stored).await?;
        }
        state.store.release(&garbage).await
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing panics while it is held.
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, scope: Scope) -> Call<'_> {
        let mut log = self.log();
        let mut overlapped = false;
        for running in log.running.values_mut() {
            if running.scope == scope || running.scope == Scope::Tree || scope == Scope::Tree {
                running.overlapped = true;
                overlapped = true;
            }
        }
        log.started += 1;
        let number = log.started;
        log.running.insert(number, Running { scope, overlapped });
        Call { log: self, number, kept: Tree::new() }
    }
}

impl Log {
    /// Remembers a call as the last one.
    fn push(&mut self, record: Record) {
        if let Some(same) = self.calls.iter().position(|other| other.call == record.call) {
            self.forget(same);
        }
        self.calls.push_back(record);
        if self.calls.len() > CALLS {
            self.forget(0);
        }
    }

    fn forget(&mut self, index: usize) {
        let Some(record) = self.calls.remove(index) else { return };
        self.behind.forgotten.extend(record.number);
        let changes = record.changes.into_iter().flatten();
        self.garbage.extend(changes.filter_map(|change| change.before));
    }
}

fn same(now: Option<&Node>, then: Option<&Node>) -> bool {
    match (now, then) {
        (None, None) => true,
        (Some(now), Some(then)) => now.is(then),
        _ => false,
    }
}

impl fmt::Debug for UndoLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UndoLog").field("snapshots", &self.0.snapshots).finish_non_exhaustive()
    }
}
