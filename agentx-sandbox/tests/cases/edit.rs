use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{
    EntryStream, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, StatOptions, TransferOptions, WriteOptions,
};
use agentx_sandbox::{NodeRuntime, ProtectedPaths};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::Pair;

fn edit(old: &str, new: &str) -> Value {
    json!({"file_path": "a.txt", "old_string": old, "new_string": new})
}

fn edit_all(old: &str, new: &str) -> Value {
    json!({"file_path": "a.txt", "old_string": old, "new_string": new, "replace_all": true})
}

async fn refused(pair: &Pair, input: Value, words: &str) {
    let error = pair.refused("edit", input).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(words), "{error}");
}

pub async fn exactly_one_occurrence(pair: Pair) {
    pair.put("/a.txt", "one\ntwo\ntwo\n").await;
    let told = pair.call("edit", edit("one", "1")).await;
    assert_eq!(told, format!("Replaced 1 occurrence in {}, at line 1.", pair.shown("/a.txt")));
    refused(&pair, edit("two", "2"), "found 2 times").await;
    refused(&pair, edit("three", "3"), "not found").await;
    refused(&pair, edit_all("three", "3"), "not found").await;
    assert_eq!(pair.get("/a.txt").await, "1\ntwo\ntwo\n");
    let told = pair.call("edit", edit_all("two", "2")).await;
    assert!(told.starts_with("Replaced 2 occurrences") && told.ends_with("the first at line 2."), "{told}");
    assert_eq!(pair.get("/a.txt").await, "1\n2\n2\n");
}

pub async fn the_text_is_plain(pair: Pair) {
    pair.put("/a.txt", "a.b $x").await;
    pair.call("edit", edit(".", "$&$1")).await;
    pair.call("edit", edit("$x", "\\0")).await;
    assert_eq!(pair.get("/a.txt").await, "a$&$1b \\0");
}

pub async fn line_ends_are_kept(pair: Pair) {
    pair.put("/a.txt", "a\r\nb\r\nc\r\n").await;
    // What read shows is what edit takes.
    let shown = pair.call("read", json!({"file_path": "a.txt"})).await;
    assert_eq!(shown, "     1\ta\n     2\tb\n     3\tc\n");
    pair.call("edit", edit("a\nb", "x\ny\nz")).await;
    assert_eq!(pair.get("/a.txt").await, "x\r\ny\r\nz\r\nc\r\n");
}

/// Somebody else writes the file between each of the first reads and the write that follows it.
#[derive(Debug)]
struct Meddler {
    inner: Arc<dyn FileSystem>,
    left: AtomicUsize,
}

#[async_trait]
impl FileSystem for Meddler {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let read = self.inner.read(path, options).await?;
        let metadata = read.metadata.clone();
        let bytes = read.bytes(1000).await?;
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let mut other = bytes.to_vec();
            other.extend_from_slice(b"theirs\n");
            self.inner.write_file(path, other).await?;
        }
        let range = 0..bytes.len() as u64;
        Ok(FileRead::new(metadata, range, Box::pin(futures::stream::iter([Ok(bytes)]))))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.inner.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.inner.writer(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.copy(from, to, options).await
    }
}

pub async fn a_file_that_somebody_else_writes(pair: Pair) {
    let meddle = |times| {
        let inner = Arc::clone(pair.runtime.file_system());
        let fs = Arc::new(Meddler { inner, left: AtomicUsize::new(times) });
        NodeRuntime::new(fs, Arc::clone(pair.runtime.env()), Arc::clone(pair.runtime.process()))
    };
    pair.put("/a.txt", "mine\n").await;
    let once = agentx_sandbox::tools(&meddle(1));
    super::call(&once, "edit", edit("mine", "edited")).await.unwrap();
    assert_eq!(pair.get("/a.txt").await, "edited\ntheirs\n", "nothing is lost");

    let always = agentx_sandbox::tools(&meddle(2));
    let error: Error = super::call(&always, "edit", edit("edited", "again")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(pair.get("/a.txt").await, "edited\ntheirs\ntheirs\ntheirs\n");
}

pub async fn agents_that_edit_at_once(pair: Pair) {
    // Each agent has tools of its own over one runtime.
    let (alice, bob) = (agentx_sandbox::tools(&pair.runtime), agentx_sandbox::tools(&pair.runtime));
    let mut kept = 0;
    for round in 0..50 {
        pair.put("/a.txt", "one\ntwo\n").await;
        let ours = super::call(&alice, "edit", edit("one", &format!("alice {round}")));
        let theirs = super::call(&bob, "edit", edit("two", &format!("bob {round}")));
        let (ours, theirs) = futures::join!(ours, theirs);
        for refused in [&ours, &theirs].into_iter().filter_map(|edited| edited.as_ref().err()) {
            assert_eq!(refused.kind(), ErrorKind::Busy);
        }
        let first = if ours.is_ok() { format!("alice {round}") } else { "one".to_owned() };
        let second = if theirs.is_ok() { format!("bob {round}") } else { "two".to_owned() };
        assert_eq!(pair.get("/a.txt").await, format!("{first}\n{second}\n"), "nothing is lost");
        kept += usize::from(ours.is_ok()) + usize::from(theirs.is_ok());
    }
    assert!(kept >= 50, "one of them always wins: {kept}");

    // Of two who want the same line, one is told that it is no longer there.
    pair.put("/a.txt", "one\n").await;
    let ours = super::call(&alice, "edit", edit("one", "alice"));
    let theirs = super::call(&bob, "edit", edit("one", "bob"));
    let (ours, theirs) = futures::join!(ours, theirs);
    assert!(ours.is_ok() != theirs.is_ok(), "{ours:?} {theirs:?}");
    assert_eq!(pair.get("/a.txt").await, if ours.is_ok() { "alice\n" } else { "bob\n" });
}

pub async fn protected_files(pair: Pair) {
    pair.put("/.git/hooks/pre-commit", "exit 0").await;
    for file in
        [".git/hooks/pre-commit", "./x/../.git/hooks/pre-commit", ".git/config", ".bashrc", "sub/.profile"]
    {
        let write = pair.refused("write", json!({"file_path": file, "content": "x"})).await;
        assert_eq!(write.kind(), ErrorKind::PermissionDenied, "{file}");
        let edit = json!({"file_path": file, "old_string": "exit", "new_string": "x"});
        assert_eq!(pair.refused("edit", edit).await.kind(), ErrorKind::PermissionDenied, "{file}");
    }
    assert_eq!(pair.get("/.git/hooks/pre-commit").await, "exit 0");
    let write = json!({"file_path": ".gitignore", "content": "target"});
    pair.call("write", write).await;

    let own = ProtectedPaths::new(["/secrets/**"]).unwrap();
    let pair = pair.with(|runtime| runtime.with_protected(own));
    pair.call("write", json!({"file_path": ".bashrc", "content": "x"})).await;
    let error = pair.refused("write", json!({"file_path": "secrets/key", "content": "x"})).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

pub async fn bad_input(pair: Pair) {
    pair.put("/a.txt", "a").await;
    refused(&pair, edit("", "x"), "use write").await;
    refused(&pair, edit("a", "a"), "the same").await;
    refused(&pair, json!({"file_path": "a.txt", "old_string": "a"}), "`new_string`").await;
    pair.put("/a.txt", b"\xff\xfea\0").await;
    refused(&pair, edit("a", "b"), "not UTF-8").await;
    let missing = json!({"file_path": "b.txt", "old_string": "a", "new_string": "b"});
    assert_eq!(pair.refused("edit", missing).await.kind(), ErrorKind::NotFound);
    let directory = json!({"file_path": ".", "old_string": "a", "new_string": "b"});
    assert_eq!(pair.refused("edit", directory).await.kind(), ErrorKind::IsADirectory);
}
