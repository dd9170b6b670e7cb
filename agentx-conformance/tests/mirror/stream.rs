//! A large file goes through in pieces.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use agentx_resource::{
    DirEntry, EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions, Version,
    WriteOptions,
    memory::MemoryFileSystem,
    mirror::{MirrorDisk, MirrorOptions},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, executor::block_on, stream};

use crate::world::path;

const PIECE: u64 = 64 << 10;
const PIECES: u64 = 1 << 14;

/// A tree in which `/huge`, of 1 GiB, is made as it is read, or forgotten as it is written.
#[derive(Debug)]
struct Huge {
    inner: MemoryFileSystem,
    has: bool,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    made: AtomicU64,
    written: AtomicU64,
    /// The most pieces that were made and not written yet.
    most: AtomicU64,
}

fn huge() -> Metadata {
    Metadata::file(PIECE * PIECES).with_version(Version::new("huge"))
}

fn is_huge(at: &ResourcePath) -> bool {
    at.as_str() == "/huge"
}

#[async_trait]
impl FileSystem for Huge {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, at: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        if !is_huge(at) {
            return self.inner.read(at, options).await;
        }
        let (counts, piece) = (Arc::clone(&self.counts), Bytes::from(vec![b'x'; 64 << 10]));
        let body = stream::iter(0..PIECES).map(move |_| {
            let waiting = counts.made.fetch_add(1, Relaxed) + 1 - counts.written.load(Relaxed);
            counts.most.fetch_max(waiting, Relaxed);
            Ok(piece.clone())
        });
        Ok(FileRead::new(huge(), 0..PIECE * PIECES, body.boxed()))
    }

    async fn write(&self, at: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        assert!(!is_huge(at), "written at once");
        self.inner.write(at, data, options).await
    }

    async fn writer(&self, at: &ResourcePath, _options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        assert!(is_huge(at), "a small file is written at once");
        Ok(Box::new(Forgets(Arc::clone(&self.counts))))
    }

    async fn stat(&self, at: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(at, options).await
    }

    fn list(&self, at: &ResourcePath, options: ListOptions) -> EntryStream {
        let extra = self.has.then(|| Ok(DirEntry::new(path("/huge"), huge())));
        stream::iter(extra).chain(self.inner.list(at, options)).boxed()
    }

    async fn mkdir(&self, at: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(at, options).await
    }

    async fn rm(&self, at: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.inner.rm(at, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.copy(from, to, options).await
    }
}

#[derive(Debug)]
struct Forgets(Arc<Counts>);

#[async_trait]
impl FileWriter for Forgets {
    async fn write(&mut self, _data: Bytes) -> Result<()> {
        self.0.written.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        Ok(huge())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_gibibyte_goes_through_one_piece_at_a_time() {
    let counts = Arc::new(Counts::default());
    let tree = |has| Huge { inner: MemoryFileSystem::new(), has, counts: Arc::clone(&counts) };
    let disk = MirrorDisk::new(Arc::new(tree(true)), Arc::new(tree(false)), MirrorOptions::new("/mirror"));
    let report = block_on(disk.sync()).unwrap().complete().unwrap();
    assert_eq!(report.pulled.bytes, PIECE * PIECES);
    assert_eq!(counts.written.load(Relaxed), PIECES);
    assert_eq!(counts.most.load(Relaxed), 1);
}
