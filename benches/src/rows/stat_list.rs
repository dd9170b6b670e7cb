//! What looking costs: at a file, at nothing, at a directory.

use std::{fs, hint::black_box, path::Path, sync::Arc};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ListOptions, ResourcePath, StatOptions};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const ENTRIES: usize = 100;
const FILE: &str = "file-050.txt";
const ABSENT: &str = "absent.txt";

/// A directory of a hundred small files, looked at through the contract.
struct Directory {
    host: Arc<TempDir>,
    fs: Arc<dyn FileSystem>,
    runtime: Arc<Runtime>,
}

impl Directory {
    fn create() -> Result<Self> {
        let host = tempfile::tempdir()?;
        for index in 0..ENTRIES {
            fs::write(host.path().join(format!("file-{index:03}.txt")), "x")?;
        }
        let fs = Arc::new(LocalFileSystem::open(host.path())?);
        Ok(Self { host: Arc::new(host), fs, runtime: runtime()? })
    }

    /// Work on the host's own path.
    fn blocking(&self, name: &str, work: impl Fn(&Path) -> Result<()> + 'static) -> Variant {
        let host = Arc::clone(&self.host);
        Variant::new(name, move |count| (0..count).try_for_each(|_| work(host.path())))
    }

    /// Work in a task.
    fn task<W>(
        &self,
        name: &str,
        work: impl Fn(Arc<dyn FileSystem>, Arc<TempDir>, u64) -> W + 'static,
    ) -> Variant
    where
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let (fs, host, runtime) = (Arc::clone(&self.fs), Arc::clone(&self.host), Arc::clone(&self.runtime));
        Variant::new(name, move |count| in_task(&runtime, work(Arc::clone(&fs), Arc::clone(&host), count)))
    }
}

/// The row of `stat`.
///
/// # Errors
/// What the disk says.
pub fn stat() -> Result<Row> {
    let directory = Directory::create()?;
    let limit = directory.blocking("std::fs::metadata, unconfined (limit)", |host| {
        one_byte(fs::metadata(host.join(FILE))?.len())
    });
    let agentx = directory.task("agentx stat, with its version", |fs, _, count| async move {
        let path = ResourcePath::root().join(FILE)?;
        for _ in 0..count {
            one_byte(fs.stat(&path, StatOptions::default()).await?.len)?;
        }
        Ok(())
    });
    let tokio = directory.task("tokio::fs::metadata, unconfined", |_, host, count| async move {
        let path = host.path().join(FILE);
        for _ in 0..count {
            one_byte(tokio::fs::metadata(&path).await?.len())?;
        }
        Ok(())
    });
    let question = "What does a look at a file cost?";
    Ok(Row::new("stat", question, limit).per(1, "look").with(agentx).with(tokio))
}

/// The row of `exists` where nothing is.
///
/// # Errors
/// What the disk says.
pub fn exists() -> Result<Row> {
    let directory = Directory::create()?;
    let limit = directory
        .blocking("std::fs::exists, unconfined (limit)", |host| absent(fs::exists(host.join(ABSENT))?));
    let agentx = directory.task("agentx exists", |fs, _, count| async move {
        let path = ResourcePath::root().join(ABSENT)?;
        for _ in 0..count {
            absent(fs.exists(&path).await?)?;
        }
        Ok(())
    });
    let tokio = directory.task("tokio::fs::try_exists, unconfined", |_, host, count| async move {
        let path = host.path().join(ABSENT);
        for _ in 0..count {
            absent(tokio::fs::try_exists(&path).await?)?;
        }
        Ok(())
    });
    let question = "What does it cost to learn that nothing is there?";
    Ok(Row::new("exists", question, limit).per(1, "look").with(agentx).with(tokio))
}

/// The row of `list`.
///
/// # Errors
/// What the disk says.
pub fn list() -> Result<Row> {
    let directory = Directory::create()?;
    let limit = directory.blocking("std::fs::read_dir with metadata (limit)", |host| {
        let mut bytes = 0;
        for entry in fs::read_dir(host)? {
            let entry = entry?;
            black_box(entry.file_name());
            bytes += entry.metadata()?.len();
        }
        all(bytes)
    });
    let names = directory.blocking("std::fs::read_dir, names alone", |host| {
        let mut count = 0;
        for entry in fs::read_dir(host)? {
            black_box(entry?.file_name());
            count += 1;
        }
        all(count)
    });
    let agentx = directory.task("agentx list: size, time, version, mode", |fs, _, count| async move {
        for _ in 0..count {
            let mut bytes = 0;
            let mut entries = fs.list(&ResourcePath::root(), ListOptions::default());
            while let Some(entry) = entries.try_next().await? {
                bytes += black_box(entry).metadata.len;
            }
            all(bytes)?;
        }
        Ok(())
    });
    let hop = directory.task("tokio::task::spawn_blocking: std with metadata", |_, host, count| async move {
        for _ in 0..count {
            let host = Arc::clone(&host);
            let bytes = tokio::task::spawn_blocking(move || -> Result<u64> {
                fs::read_dir(host.path())?.try_fold(0, |bytes, entry| Ok(bytes + entry?.metadata()?.len()))
            });
            all(bytes.await??)?;
        }
        Ok(())
    });
    let tokio = directory.task("tokio::fs::read_dir with metadata", |_, host, count| async move {
        for _ in 0..count {
            let mut bytes = 0;
            let mut entries = tokio::fs::read_dir(host.path()).await?;
            while let Some(entry) = entries.next_entry().await? {
                bytes += entry.metadata().await?.len();
            }
            all(bytes)?;
        }
        Ok(())
    });
    let question = "What does a list of 100 files cost?";
    let row = Row::new("list", question, limit).per(1, "list").with(names);
    Ok(row.with(agentx).with(hop).with(tokio))
}

fn one_byte(len: u64) -> Result<()> {
    if black_box(len) == 1 { Ok(()) } else { Err("not the file".into()) }
}

fn absent(found: bool) -> Result<()> {
    if black_box(found) { Err("there is something".into()) } else { Ok(()) }
}

/// Each file holds one byte.
fn all(bytes: u64) -> Result<()> {
    if bytes == ENTRIES as u64 { Ok(()) } else { Err("not all entries".into()) }
}
