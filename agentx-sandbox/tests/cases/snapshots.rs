use std::sync::Arc;

use agentx_core::{ErrorKind, Tool, ToolContext};
use agentx_resource::{
    FileSystem, FileSystemExt, MkdirOptions,
    layer::Quota,
    memory::{ManualClock, MemoryFileSystem},
};
use agentx_sandbox::{ChangeKind, SnapshotLimits, Snapshots, UndoLog, Undone, Workspace, tools};
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::{Pair, path};

async fn snapshots(pair: &Pair, store: &Arc<MemoryFileSystem>) -> Snapshots {
    Snapshots::open(pair.runtime.file_system().clone(), store.clone()).await.unwrap()
}

fn told(changes: &[agentx_sandbox::Change]) -> Vec<String> {
    let mark = |kind| match kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        _ => '~',
    };
    changes.iter().map(|change| format!("{}{}", mark(change.kind), change.path)).collect()
}

/// What a file system holds, by path; a directory ends with `/`.
async fn content(fs: &dyn FileSystem) -> Vec<(String, String)> {
    use futures::TryStreamExt;
    let mut all = Vec::new();
    let mut entries = fs.walk(&path("/"));
    while let Some(entry) = entries.try_next().await.unwrap() {
        let at = entry.path.unwrap();
        all.push(if entry.metadata.is_dir() {
            (format!("{at}/"), String::new())
        } else {
            (at.to_string(), fs.read_to_string(&at).await.unwrap())
        });
    }
    all.sort();
    all
}

async fn blobs(store: &MemoryFileSystem) -> usize {
    content(store)
        .await
        .iter()
        .filter(|(path, _)| path.starts_with("/blobs/") && !path.ends_with('/'))
        .count()
}

async fn change_everything(pair: &Pair) {
    let fs = pair.runtime.file_system();
    pair.put("/changed", "new").await;
    pair.put("/same", "same").await;
    fs.rm_all(&path("/removed")).await.unwrap();
    pair.put("/added/deep/file", "added").await;
    // A directory where a file was, and the other way round.
    fs.rm_all(&path("/file")).await.unwrap();
    pair.put("/file/below", "x").await;
    fs.rm_all(&path("/directory")).await.unwrap();
    pair.put("/directory", "x").await;
}

async fn tree(pair: &Pair) {
    for (file, content) in [
        ("/changed", "old"),
        ("/same", "same"),
        ("/removed/deep/file", "removed"),
        ("/file", "a file"),
        ("/directory/below", "below"),
        ("/sub/a", "a"),
    ] {
        pair.put(file, content).await;
    }
    pair.runtime.file_system().mkdir(&path("/empty"), MkdirOptions::default()).await.unwrap();
}

pub async fn a_tree_is_compared_and_put_back(pair: Pair) {
    tree(&pair).await;
    let fs = pair.runtime.file_system().clone();
    let before = content(&*fs).await;
    let store = Arc::new(MemoryFileSystem::new());
    let snapshots = snapshots(&pair, &store).await;
    let first = snapshots.take().await.unwrap();
    assert!(snapshots.diff(first).await.unwrap().is_empty());
    change_everything(&pair).await;
    let expected = [
        "+/added",
        "+/added/deep",
        "+/added/deep/file",
        "~/changed",
        "~/directory",
        "-/directory/below",
        "~/file",
        "+/file/below",
        "-/removed",
        "-/removed/deep",
        "-/removed/deep/file",
    ];
    assert_eq!(told(&snapshots.diff(first).await.unwrap()), expected);
    let after = content(&*fs).await;
    let second = snapshots.take().await.unwrap();

    let restored = snapshots.restore(first).await.unwrap();
    assert_eq!(content(&*fs).await, before);
    assert_eq!((restored.changed.len(), restored.skipped.len()), (11, 0));
    assert!(snapshots.diff(first).await.unwrap().is_empty());
    assert!(snapshots.restore(first).await.unwrap().changed.is_empty());
    snapshots.restore(second).await.unwrap();
    assert_eq!(content(&*fs).await, after);

    // A fork is apart.
    let fork: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    snapshots.fork(first, &fork).await.unwrap();
    assert_eq!(content(&*fork).await, before);
    fork.write_file(&path("/changed"), "forked").await.unwrap();
    assert_eq!(content(&*fs).await, after);
    assert_eq!(snapshots.fork(first, &fork).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    assert_eq!(
        snapshots.diff(agentx_sandbox::SnapshotId::new(99)).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

pub async fn a_content_is_kept_once_and_no_longer_than_needed(pair: Pair) {
    tree(&pair).await;
    let store = Arc::new(MemoryFileSystem::new());
    let snapshots_ = snapshots(&pair, &store).await;
    let first = snapshots_.take().await.unwrap();
    assert_eq!(blobs(&store).await, 6);
    pair.put("/changed", "new").await;
    let second = snapshots_.take().await.unwrap();
    assert_eq!(blobs(&store).await, 7, "the one that changed");
    snapshots_.remove(first).await.unwrap();
    assert_eq!(blobs(&store).await, 6);
    assert_eq!(snapshots_.list().await, [second]);
    assert_eq!(snapshots_.diff(first).await.unwrap_err().kind(), ErrorKind::NotFound);

    // Opened anew, what nobody counts on goes, and the rest is known.
    let stray = path("/blobs/7/1");
    store.mkdir(&path("/blobs/7"), MkdirOptions::recursive()).await.unwrap();
    store.write_file(&stray, "stray").await.unwrap();
    let again = snapshots(&pair, &store).await;
    assert!(!store.exists(&stray).await.unwrap());
    assert!(again.diff(second).await.unwrap().is_empty());
    again.take().await.unwrap();
    assert_eq!(blobs(&store).await, 6);

    store.write_file(&path("/snapshots/9.json"), "{").await.unwrap();
    let fs = pair.runtime.file_system().clone();
    let corrupt = Snapshots::open(fs, store.clone()).await.unwrap_err();
    assert_eq!(corrupt.kind(), ErrorKind::Corrupt);
    assert_eq!(store.read_to_string(&path("/snapshots/9.json")).await.unwrap(), "{");
}

pub async fn a_snapshot_that_fails_leaves_nothing(pair: Pair) {
    for number in 0..20 {
        pair.put(&format!("/{number}"), "x").await;
    }
    let inner = Arc::new(MemoryFileSystem::new());
    let store = Quota::new().with_files(5).open(inner.clone()).await.unwrap();
    let fs = pair.runtime.file_system().clone();
    let snapshots = Snapshots::open(fs.clone(), store).await.unwrap();
    assert_eq!(snapshots.take().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert!(snapshots.list().await.is_empty());
    assert_eq!(blobs(&inner).await, 5);
    // There is room for the next one, which is less.
    for number in 1..20 {
        fs.rm_all(&path(&format!("/{number}"))).await.unwrap();
    }
    snapshots.take().await.unwrap();
    assert_eq!(blobs(&inner).await, 1);
}

pub async fn a_tree_beyond_the_limits(pair: Pair) {
    tree(&pair).await;
    pair.put("/node_modules/large/file", "x".repeat(5000)).await;
    let store = Arc::new(MemoryFileSystem::new());
    let all = snapshots(&pair, &store).await.with_limits(SnapshotLimits::default().with_bytes(5000));
    assert_eq!(all.take().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(blobs(&store).await, 0);
    let some = all.with_excluded(["**/node_modules"]).unwrap();
    let first = some.take().await.unwrap();
    pair.put("/node_modules/large/file", "y").await;
    pair.put("/node_modules/new", "y").await;
    assert!(some.diff(first).await.unwrap().is_empty());
    some.restore(first).await.unwrap();
    assert_eq!(pair.get("/node_modules/new").await, "y");
    let one = some.with_limits(SnapshotLimits::default().with_snapshots(1));
    assert_eq!(one.take().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

pub async fn a_workspace_has_a_quota_and_states(pair: Pair) {
    let quota = Quota::new().with_bytes(10);
    let fs = quota.open(pair.runtime.file_system().clone()).await.unwrap();
    let workspace = Workspace::open(fs).await.unwrap();
    let report = path("/report");
    workspace.output().write_file(&report, "12345").await.unwrap();
    let refused = workspace.projects().write_file(&report, "123456").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    let snapshots = workspace.snapshots(Arc::new(MemoryFileSystem::new())).await.unwrap();
    let first = snapshots.take().await.unwrap();
    workspace.output().rm_all(&report).await.unwrap();
    snapshots.restore(first).await.unwrap();
    assert_eq!(workspace.output().read_to_string(&report).await.unwrap(), "12345");
    assert_eq!(quota.used().bytes, 5);
}

struct Recorded {
    pair: Pair,
    log: UndoLog,
    store: Arc<MemoryFileSystem>,
    tools: Vec<Arc<dyn Tool>>,
}

async fn recorded(pair: Pair) -> Recorded {
    let store = Arc::new(MemoryFileSystem::new());
    let log = UndoLog::open(&pair.runtime, snapshots(&pair, &store).await).await.unwrap();
    let tools = log.record(tools(&pair.runtime));
    Recorded { pair, log, store, tools }
}

impl Recorded {
    async fn call(&self, id: &str, tool: &str, input: Value) {
        let tool = self.tools.iter().find(|offered| offered.definition().name == tool).unwrap();
        let output = tool.call(input, ToolContext::new(id, Arc::new(ManualClock::default()))).await.unwrap();
        assert!(!output.is_error(), "{output:?}");
    }

    async fn undone(&self, id: &str) -> Vec<String> {
        match self.log.undo(id).await.unwrap() {
            Undone::Restored(restored) => told(&restored.changed),
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_call_is_taken_back(pair: Pair) {
    let all = recorded(pair).await;
    all.pair.put("/a.txt", "one").await;
    all.call("1", "edit", json!({"file_path": "a.txt", "old_string": "one", "new_string": "two"})).await;
    all.call("2", "edit", json!({"file_path": "a.txt", "old_string": "two", "new_string": "three"})).await;
    all.call("3", "write", json!({"file_path": "new/deep/b.txt", "content": "b"})).await;
    all.call("4", "bash", json!({"command": "echo four > a.txt; echo c > c.txt"})).await;
    all.call("5", "bash", json!({"command": "echo nothing"})).await;
    assert!(all.undone("5").await.is_empty());
    assert_eq!(all.undone("4").await, ["~/a.txt", "+/c.txt"].map(|told| told.replace('+', "-")));
    assert_eq!(all.pair.get("/a.txt").await, "three");
    assert_eq!(all.undone("3").await, ["-/new", "-/new/deep", "-/new/deep/b.txt"]);
    // Back through calls of one file, though each undo writes it anew.
    assert_eq!(all.undone("2").await, ["~/a.txt"]);
    assert_eq!(all.undone("1").await, ["~/a.txt"]);
    let fs = all.pair.runtime.file_system();
    assert_eq!(content(&**fs).await, [("/a.txt".to_owned(), "one".to_owned())]);
    let error = all.log.undo("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // What was kept for them goes with the next call.
    all.call("6", "bash", json!({"command": "echo"})).await;
    all.call("7", "bash", json!({"command": "echo"})).await;
    assert_eq!(blobs(&all.store).await, 1);
}

impl Recorded {
    /// The same files and the same store, in a program that was started anew.
    async fn reopened(self) -> Self {
        let Self { pair, store, .. } = self;
        let log = UndoLog::open(&pair.runtime, snapshots(&pair, &store).await).await.unwrap();
        let tools = log.record(tools(&pair.runtime));
        Self { pair, log, store, tools }
    }
}

pub async fn calls_of_an_earlier_program_are_taken_back(pair: Pair) {
    let all = recorded(pair).await;
    all.pair.put("/a.txt", "one").await;
    all.call("1", "edit", json!({"file_path": "a.txt", "old_string": "one", "new_string": "two"})).await;
    all.call("2", "bash", json!({"command": "echo three > a.txt; echo b > b.txt"})).await;
    all.call("3", "write", json!({"file_path": "c.txt", "content": "c"})).await;
    let all = all.reopened().await;
    assert_eq!(all.undone("2").await, ["~/a.txt", "-/b.txt"]);
    // What one undo changed of what the other goes by is known to the next program too.
    let all = all.reopened().await;
    assert_eq!(all.log.undo("2").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(all.undone("1").await, ["~/a.txt"]);
    assert_eq!(all.pair.get("/a.txt").await, "one");
    all.call("4", "write", json!({"file_path": "c.txt", "content": "d"})).await;
    let all = all.reopened().await;
    assert_eq!(all.undone("4").await, ["~/c.txt"]);
    assert_eq!(all.undone("3").await, ["-/c.txt"]);
    let all = all.reopened().await;
    assert_eq!(blobs(&all.store).await, 0);
    let calls = all.store.readdir(&path("/calls")).await.unwrap();
    assert!(calls.is_empty(), "{calls:?}");
}

pub async fn an_undo_that_was_cut_off_is_done_by_the_next_program(pair: Pair) {
    let all = recorded(pair).await;
    for file in ["/a", "/b", "/c"] {
        all.pair.put(file, "old").await;
    }
    all.call("1", "bash", json!({"command": "echo new > a; echo new > b; echo new > c; echo new > d"})).await;
    // A part of it has happened, and the store does not know.
    all.pair.put("/a", "old").await;
    all.pair.runtime.file_system().rm_all(&path("/d")).await.unwrap();
    let all = all.reopened().await;
    assert_eq!(all.undone("1").await, ["~/b", "~/c"]);
    for file in ["/a", "/b", "/c"] {
        assert_eq!(all.pair.get(file).await, "old");
    }
}

pub async fn a_call_that_can_not_be_read_is_told_and_left(pair: Pair) {
    let all = recorded(pair).await;
    all.call("1", "write", json!({"file_path": "a", "content": "a"})).await;
    all.store.write_file(&path("/calls/0.json"), "{").await.unwrap();
    let fs = Arc::clone(all.pair.runtime.file_system());
    let error = Snapshots::open(fs, Arc::clone(&all.store) as Arc<dyn FileSystem>).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(all.store.read_to_string(&path("/calls/0.json")).await.unwrap(), "{");
}

pub async fn a_call_beyond_the_limits_runs_and_stays(pair: Pair) {
    pair.put("/a.txt", "x".repeat(2000)).await;
    let store = Arc::new(MemoryFileSystem::new());
    let limits = SnapshotLimits::default().with_bytes(1000);
    let log = UndoLog::open(&pair.runtime, snapshots(&pair, &store).await.with_limits(limits)).await.unwrap();
    let tools = log.record(tools(&pair.runtime));
    let all = Recorded { pair, log, store, tools };
    all.call("1", "write", json!({"file_path": "a.txt", "content": "mine"})).await;
    assert_eq!(all.log.undo("1").await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(all.pair.get("/a.txt").await, "mine");
    all.call("2", "write", json!({"file_path": "a.txt", "content": "again"})).await;
    assert_eq!(all.undone("2").await, ["~/a.txt"]);
    all.pair.put("/large", "x".repeat(2000)).await;
    all.call("3", "bash", json!({"command": "echo b > b.txt"})).await;
    assert_eq!(all.log.undo("3").await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(all.pair.get("/b.txt").await, "b\n");
}

pub async fn what_somebody_else_changed_since_stays(pair: Pair) {
    let all = recorded(pair).await;
    all.pair.put("/a.txt", "one").await;
    all.pair.put("/b.txt", "one").await;
    all.call("1", "bash", json!({"command": "echo two > a.txt; echo two > b.txt; echo two > c.txt"})).await;
    all.pair.put("/b.txt", "theirs").await;
    all.pair.runtime.file_system().rm_all(&path("/c.txt")).await.unwrap();
    let conflict = all.log.undo("1").await.unwrap();
    // Nothing was where `c.txt` was made, and nothing is there now.
    assert_eq!(conflict, Undone::Conflict(vec![path("/b.txt")]));
    assert_eq!(all.pair.get("/a.txt").await, "two\n", "all or nothing");

    // What others put into a directory of the call stays there.
    all.call("2", "write", json!({"file_path": "new/mine", "content": "x"})).await;
    all.pair.put("/new/theirs", "x").await;
    all.undone("2").await;
    assert_eq!(all.pair.get("/new/theirs").await, "x");
    assert!(!all.pair.runtime.file_system().exists(&path("/new/mine")).await.unwrap());
}

pub async fn calls_at_the_same_time_are_told_apart_or_refused(pair: Pair) {
    let all = recorded(pair).await;
    let a = all.call("1", "write", json!({"file_path": "a", "content": "a"}));
    let b = all.call("2", "write", json!({"file_path": "b", "content": "b"}));
    futures::join!(a, b);
    assert_eq!(all.undone("1").await, ["-/a"]);
    assert_eq!(all.undone("2").await, ["-/b"]);
    // Of two commands, nothing tells which of them changed what.
    let hangs = Box::pin(all.call("3", "bash", json!({"command": "echo a > a; sleep 600"})));
    let ends = Box::pin(all.call("4", "bash", json!({"command": "echo b > b"})));
    let Either::Right(((), hangs)) = select(hangs, ends).await else { panic!("it sleeps") };
    drop(hangs);
    assert_eq!(all.log.undo("4").await.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(all.pair.get("/b").await, "b\n");
    // A call that was dropped is not remembered.
    assert_eq!(all.log.undo("3").await.unwrap_err().kind(), ErrorKind::NotFound);
    all.call("5", "bash", json!({"command": "echo b > c"})).await;
    assert_eq!(all.undone("5").await, ["-/c"]);
}
