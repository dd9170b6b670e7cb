use std::{collections::BTreeMap, sync::Arc};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{
    FileSystem, FileSystemExt, Metadata, ReadOptions, ResourcePath, Version, WriteMode, WriteOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{
    tree::{Blob, Node, Tree, gone},
    undo::Stored,
};

/// How many files are copied at a time.
const COPIES_AT_ONCE: usize = 8;
/// The largest record of a snapshot or a call.
const MAX_RECORD: u64 = 256 << 20;

/// Where snapshots, calls and contents are kept: `/snapshots/N.json`, `/calls/N.json`, and `/blobs/N/M` for what they
/// hold.
///
/// A snapshot is there once its record is, which is written at last and whole. A content is kept as long as somebody
/// counts on it; what nobody counts on is removed when the store is opened.
#[derive(Debug)]
pub(super) struct Store {
    fs: Arc<dyn FileSystem>,
    pub(super) snapshots: Vec<u64>,
    /// The calls that were there, until a log takes them.
    calls: Vec<(u64, Stored)>,
    /// The number of the next call.
    next_call: u64,
    uses: BTreeMap<Blob, usize>,
    /// The number of the next run of copies.
    next: u64,
    /// A run of copies that was dropped or failed.
    unfinished: Option<u64>,
}

impl Store {
    pub(super) async fn open(fs: Arc<dyn FileSystem>) -> Result<Self> {
        let mut snapshots = numbers(&fs, "/snapshots").await?;
        snapshots.sort_unstable();
        let mut store = Self {
            fs,
            snapshots,
            calls: Vec::new(),
            next_call: 0,
            uses: BTreeMap::new(),
            next: 0,
            unfinished: None,
        };
        for number in store.snapshots.clone() {
            let tree = store.load(number).await?;
            store.count(&tree);
        }
        let mut calls = numbers(&store.fs, "/calls").await?;
        calls.sort_unstable();
        for number in calls {
            let call: Stored = store.read("load call", number, &call_path(number)?).await?;
            store.hold(call.kept());
            store.calls.push((number, call));
            store.next_call = number + 1;
        }
        for run in numbers(&store.fs, "/blobs").await? {
            let directory = ResourcePath::new(format!("/blobs/{run}"))?;
            for number in numbers(&store.fs, directory.as_str()).await? {
                if !store.uses.contains_key(&Blob(run, number)) {
                    store.fs.rm_all(&Blob(run, number).path()?).await?;
                }
            }
            store.next = store.next.max(run + 1);
        }
        store.next = store.snapshots.last().map_or(store.next, |last| store.next.max(last + 1));
        Ok(store)
    }

    /// Copies the contents of a tree that `kept` does not have yet, and counts on all of them. One number for the run.
    pub(super) async fn keep(
        &mut self,
        from: &Arc<dyn FileSystem>,
        tree: &mut Tree,
        kept: &Tree,
    ) -> Result<u64> {
        if let Some(unfinished) = self.unfinished {
            self.fs.rm_all(&ResourcePath::new(format!("/blobs/{unfinished}"))?).await?;
        }
        let run = self.next;
        self.next += 1;
        self.unfinished = Some(run);
        let mut missing = Vec::new();
        for (path, node) in tree.iter_mut() {
            let same = kept.get(path).filter(|kept| kept.is(node)).and_then(Node::blob);
            match (node, same) {
                (Node::File { blob, .. }, Some(same)) => *blob = Some(same),
                (Node::File { .. }, None) => missing.push(path.clone()),
                _ => {}
            }
        }
        let copies = (0..).zip(missing).map(|(number, path)| {
            let (from, to) = (Arc::clone(from), Arc::clone(&self.fs));
            async move {
                let blob = Blob(run, number);
                match copy(&*from, &path, &*to, &blob.path()?, WriteMode::Overwrite).await {
                    Ok((source, _)) => Ok((path, Some((source, blob)))),
                    Err(error) if gone(&error) => Ok((path, None)),
                    Err(error) => Err(error),
                }
            }
        });
        let mut copies = stream::iter(copies).buffer_unordered(COPIES_AT_ONCE);
        while let Some((path, copied)) = copies.try_next().await? {
            match copied {
                Some((source, kept)) => {
                    let version = source.version.map(|version| version.as_str().to_owned());
                    tree.insert(path, Node::File { len: source.len, version, blob: Some(kept) });
                }
                // It went while the tree was copied.
                None => {
                    tree.remove(&path);
                }
            }
        }
        drop(copies);
        self.unfinished = None;
        self.count(tree);
        Ok(run)
    }

    /// Makes a tree whose contents are kept a snapshot.
    pub(super) async fn save(&mut self, number: u64, tree: &Tree) -> Result<()> {
        let entries: Vec<(&str, &Node)> = tree.iter().map(|(path, node)| (path.as_str(), node)).collect();
        let record = serde_json::to_vec(&entries)
            .map_err(|error| Error::new(ErrorKind::Internal, "save snapshot").with_source(error))?;
        let options = WriteOptions::from(WriteMode::CreateNew).with_create_parents();
        self.fs.write(&record_path(number)?, record.into(), options).await?;
        self.count(tree);
        self.snapshots.push(number);
        Ok(())
    }

    pub(super) async fn load(&self, number: u64) -> Result<Tree> {
        let entries: Vec<(String, Node)> = self.read("load snapshot", number, &record_path(number)?).await?;
        let parsed = entries.into_iter().map(|(path, node)| Ok((ResourcePath::new(path)?, node)));
        parsed.collect::<Result<Tree>>().map_err(|error| {
            Error::new(ErrorKind::Corrupt, "load snapshot").with_path(number).with_message(error.to_string())
        })
    }

    /// A record of ours.
    async fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        number: u64,
        path: &ResourcePath,
    ) -> Result<T> {
        let read = self.fs.read(path, ReadOptions::default()).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(ErrorKind::NotFound, operation).with_path(number),
            _ => error,
        })?;
        serde_json::from_slice(&read.bytes(MAX_RECORD).await?).map_err(|error| {
            Error::new(ErrorKind::Corrupt, operation).with_path(number).with_message(error.to_string())
        })
    }

    /// The calls that were there when the store was opened; what they hold is counted on already.
    pub(super) fn take_calls(&mut self) -> Vec<(u64, Stored)> {
        std::mem::take(&mut self.calls)
    }

    /// Keeps what is remembered of a call; gives its number.
    pub(super) async fn save_call(&mut self, call: &Stored) -> Result<u64> {
        let number = self.next_call;
        self.next_call += 1;
        self.write_call(number, call, WriteMode::CreateNew).await?;
        Ok(number)
    }

    pub(super) async fn update_call(&mut self, number: u64, call: &Stored) -> Result<()> {
        self.write_call(number, call, WriteMode::Overwrite).await
    }

    pub(super) async fn remove_call(&mut self, number: u64) -> Result<()> {
        self.fs.rm_all(&call_path(number)?).await
    }

    async fn write_call(&self, number: u64, call: &Stored, mode: WriteMode) -> Result<()> {
        let record = serde_json::to_vec(call)
            .map_err(|error| Error::new(ErrorKind::Internal, "save call").with_source(error))?;
        let options = WriteOptions::from(mode).with_create_parents();
        self.fs.write(&call_path(number)?, record.into(), options).await.map(drop)
    }

    pub(super) async fn remove(&mut self, number: u64) -> Result<()> {
        let tree = self.load(number).await?;
        self.fs.rm_all(&record_path(number)?).await?;
        self.snapshots.retain(|kept| *kept != number);
        self.release(tree.values()).await
    }

    fn count(&mut self, tree: &Tree) {
        self.hold(tree.values());
    }

    /// Counts on these contents once more.
    pub(super) fn hold<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        for blob in nodes.into_iter().filter_map(Node::blob) {
            *self.uses.entry(blob).or_default() += 1;
        }
    }

    /// Counts on these contents once less, and removes those that nobody counts on. One that stays behind by an error
    /// goes when the store is opened.
    pub(super) async fn release(&mut self, nodes: impl IntoIterator<Item = &Node>) -> Result<()> {
        let mut unused = Vec::new();
        for blob in nodes.into_iter().filter_map(Node::blob) {
            let Some(uses) = self.uses.get_mut(&blob) else { continue };
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&blob);
                unused.push(blob);
            }
        }
        for blob in unused {
            self.fs.rm_all(&blob.path()?).await?;
        }
        Ok(())
    }

    /// Writes a kept content to a file.
    pub(super) async fn write(
        &self,
        blob: Blob,
        to: &dyn FileSystem,
        path: &ResourcePath,
        mode: WriteMode,
    ) -> Result<Option<Version>> {
        let (_, written) = copy(&*self.fs, &blob.path()?, to, path, mode).await?;
        Ok(written.version)
    }

    /// Whether a file holds what was kept.
    pub(super) async fn equals(&self, blob: Blob, fs: &dyn FileSystem, path: &ResourcePath) -> Result<bool> {
        let mut kept = self.fs.read(&blob.path()?, ReadOptions::default()).await?;
        let mut file = match fs.read(path, ReadOptions::default()).await {
            Ok(file) if file.metadata.len == kept.metadata.len => file,
            Ok(_) => return Ok(false),
            Err(error) if gone(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let (mut left, mut right) = (bytes::Bytes::new(), bytes::Bytes::new());
        loop {
            if left.is_empty() {
                left = kept.body.try_next().await?.unwrap_or_default();
            }
            if right.is_empty() {
                right = file.body.try_next().await?.unwrap_or_default();
            }
            let len = left.len().min(right.len());
            if len == 0 {
                return Ok(left.is_empty() && right.is_empty());
            }
            if left.split_to(len) != right.split_to(len) {
                return Ok(false);
            }
        }
    }
}

impl Blob {
    fn path(self) -> Result<ResourcePath> {
        ResourcePath::new(format!("/blobs/{}/{}", self.0, self.1))
    }
}

fn call_path(number: u64) -> Result<ResourcePath> {
    ResourcePath::new(format!("/calls/{number}.json"))
}

fn record_path(number: u64) -> Result<ResourcePath> {
    ResourcePath::new(format!("/snapshots/{number}.json"))
}

/// The entries of a directory that are numbers of ours; none where it is not there.
async fn numbers(fs: &Arc<dyn FileSystem>, directory: &str) -> Result<Vec<u64>> {
    let entries = match fs.readdir(&ResourcePath::new(directory)?).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let numbers = entries.iter().filter_map(|entry| entry.name.trim_end_matches(".json").parse().ok());
    Ok(numbers.collect())
}

/// Copies a file piece by piece; it is published whole.
async fn copy(
    from: &dyn FileSystem,
    source: &ResourcePath,
    to: &dyn FileSystem,
    target: &ResourcePath,
    mode: WriteMode,
) -> Result<(Metadata, Metadata)> {
    let mut read = from.read(source, ReadOptions::default()).await?;
    let mut writer = to.writer(target, WriteOptions::from(mode).with_create_parents()).await?;
    let mut copied = 0_u64;
    while let Some(piece) = read.body.try_next().await? {
        copied += piece.len() as u64;
        writer.write(piece).await?;
    }
    if copied != read.metadata.len {
        return Err(Error::new(ErrorKind::Truncated, "copy").with_path(source));
    }
    let written = writer.close().await?;
    Ok((read.metadata, written))
}
