use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_core::{Error, ErrorKind, Result, Tool, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{FileSystemExt, MkdirOptions, ResourcePath, Version, WriteMode};
use async_trait::async_trait;
use serde_json::Value;

use super::{
    Change, ChangeKind, Restored, Snapshots, State, remove,
    tree::{Node, Tree, candidates, gone, look, scan},
};
use crate::NodeRuntime;

/// Takes back what one call of `write`, `edit` or `bash` did to the files.
///
/// The calls of the tools that [`record`](Self::record) gives are remembered, the last 100 of them, as long as this value
/// lives. A clone is the same log.
///
/// * **Costs.** A call of `write` or `edit` copies the file as it was. A call of `bash` takes what a snapshot takes
///   (a listing, and a copy of each file that is new or changed since the last one), and lists the tree once more
///   after it.
/// * **Conflicts.** A call is taken back whole or not at all: not where something else has changed one of its files since,
///   nor where another recorded call ran at the same time and may have changed the same files.
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
/// let log = UndoLog::new(&runtime, Snapshots::open(fs.clone(), Arc::new(MemoryFileSystem::new())).await?)?;
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

struct Record {
    call: String,
    overlapped: bool,
    changes: Result<Vec<Taken>>,
}

/// One change of a call.
#[derive(Clone)]
struct Taken {
    path: ResourcePath,
    before: Option<Node>,
    after: Option<Node>,
}

impl UndoLog {
    /// No calls yet. `snapshots` are of the runtime's file system.
    ///
    /// # Errors
    /// `Unsupported` for a file system without conditional writes: there, nothing tells who changed a file.
    pub fn new(runtime: &NodeRuntime, snapshots: Snapshots) -> Result<Self> {
        if runtime.file_system().capabilities().if_match.is_none() {
            return Err(Error::new(ErrorKind::Unsupported, "undo")
                .with_message("the file system has no conditional writes"));
        }
        let runtime = runtime.clone();
        Ok(Self(Arc::new(Inner { runtime, snapshots, log: Mutex::default() })))
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
        let fs = &**self.0.runtime.file_system();
        let mut state = self.0.snapshots.state.lock().await;
        let changes = self.changes_of(call)?;
        let mut conflicts = Vec::new();
        for change in &changes {
            if !same(self.now(&change.path, change.after.as_ref()).await?.as_ref(), change.after.as_ref()) {
                conflicts.push(change.path.clone());
            }
        }
        if !conflicts.is_empty() {
            return Ok(Undone::Conflict(conflicts));
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
        self.log().calls.retain(|record| record.call != call);
        self.clean(&mut state).await?;
        Ok(Undone::Restored(restored))
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
        let Log { calls, garbage, .. } = &mut *log;
        for record in calls.iter_mut() {
            let Ok(changes) = &mut record.changes else { continue };
            if record.call == call {
                changes.retain(|change| change.path != done.path);
                continue;
            }
            for change in changes.iter_mut().filter(|change| change.path == done.path) {
                if let (Some(Node::File { version: after, .. }), Some(version)) = (&mut change.after, version)
                    && after.as_deref() == was
                {
                    *after = Some(version.as_str().to_owned());
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

    /// Gives up what was kept for calls that are forgotten.
    async fn clean(&self, state: &mut State) -> Result<()> {
        let garbage = std::mem::take(&mut self.log().garbage);
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

/// A call that runs.
struct Call<'l> {
    log: &'l UndoLog,
    number: u64,
    /// What is kept of the state before.
    kept: Tree,
}

impl Call<'_> {
    async fn remember(self, call: String, scope: &Scope, before: Result<()>) {
        let changes = match before {
            Ok(()) => self.log.after(scope).await.map(|after| {
                let changes = candidates(&self.kept, &after).into_iter().map(|Change { path, .. }| Taken {
                    before: self.kept.get(&path).cloned(),
                    after: after.get(&path).cloned(),
                    path,
                });
                changes.collect()
            }),
            Err(error) => Err(error),
        };
        if let Ok(changes) = &changes {
            let changes: &Vec<Taken> = changes;
            // They stay kept when the rest is given up.
            let mut state = self.log.0.snapshots.state.lock().await;
            state.store.hold(changes.iter().filter_map(|change| change.before.as_ref()));
        }
        let mut log = self.log.log();
        let overlapped = log.running.get(&self.number).is_some_and(|running| running.overlapped);
        if let Some(same) = log.calls.iter().position(|record| record.call == call) {
            log.forget(same);
        }
        log.calls.push_back(Record { call, overlapped, changes });
        if log.calls.len() > CALLS {
            log.forget(0);
        }
    }
}

impl Log {
    fn forget(&mut self, index: usize) {
        let changes = self.calls.remove(index).and_then(|record| record.changes.ok());
        self.garbage.extend(changes.into_iter().flatten().filter_map(|change| change.before));
    }
}

/// Also for a call that is dropped, which is not remembered.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut log = self.log.log();
        log.running.remove(&self.number);
        log.garbage.extend(std::mem::take(&mut self.kept).into_values().filter(|node| node.blob().is_some()));
    }
}

fn same(now: Option<&Node>, then: Option<&Node>) -> bool {
    match (now, then) {
        (None, None) => true,
        (Some(now), Some(then)) => now.is(then),
        _ => false,
    }
}

#[derive(Debug)]
struct Recorded {
    inner: Arc<dyn Tool>,
    log: UndoLog,
}

#[async_trait]
impl Tool for Recorded {
    fn definition(&self) -> &ToolDefinition {
        self.inner.definition()
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let scope = match self.definition().name.as_str() {
            "bash" => Scope::Tree,
            _ => {
                let path = input.get("file_path").and_then(Value::as_str).unwrap_or_default();
                match self.log.0.runtime.resolve(path) {
                    Ok(path) => Scope::File(path),
                    // The tool says what is wrong, and does nothing.
                    Err(_) => return self.inner.call(input, context).await,
                }
            }
        };
        let mut call = self.log.begin(scope.clone());
        let before = self.log.before(&scope).await.map(|kept| call.kept = kept);
        let id = context.call_id.clone();
        let output = self.inner.call(input, context).await;
        call.remember(id, &scope, before).await;
        output
    }
}

impl fmt::Debug for UndoLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UndoLog").field("snapshots", &self.0.snapshots).finish_non_exhaustive()
    }
}
