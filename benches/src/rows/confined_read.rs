//! What a cached read costs when it can't leave its root, through the contract, in a task.

use std::{fs, hint::black_box, sync::Arc};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use tempfile::TempDir;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

/// A directory with one file, which is in the page cache from the first read on.
#[derive(Clone, Debug)]
pub struct CachedFile {
    directory: Arc<TempDir>,
    size: usize,
}

impl CachedFile {
    /// The file's name in the directory.
    pub const NAME: &str = "file.txt";

    /// Creates one of so many bytes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(size: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(Self::NAME), vec![b'x'; size])?;
        Ok(Self { directory: Arc::new(directory), size })
    }

    /// The directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Fails for content that is not the file's.
    ///
    /// # Errors
    /// That.
    pub fn check(&self, content: &[u8]) -> Result<()> {
        if black_box(content).len() == self.size { Ok(()) } else { Err("not the whole file".into()) }
    }
}

/// The row of 1 KiB.
///
/// # Errors
/// What the disk says.
pub fn of_1_kib() -> Result<Row> {
    over(
        "confined_read",
        "What does a cached read of 1 KiB cost that can't leave its root?",
        &CachedFile::create(1 << 10)?,
    )
}

/// The row of 64 KiB.
///
/// # Errors
/// What the disk says.
pub fn of_64_kib() -> Result<Row> {
    let question = "What does a cached read of 64 KiB cost that can't leave its root?";
    over("confined_read_64k", question, &CachedFile::create(64 << 10)?)
}

/// The row of 16 MiB, which is never read in place.
///
/// # Errors
/// What the disk says.
pub fn of_16_mib() -> Result<Row> {
    let question = "What does a cached read of 16 MiB cost that can't leave its root?";
    over("confined_read_16m", question, &CachedFile::create(16 << 20)?)
}

/// A row over this file, for peers to be added.
///
/// # Errors
/// What the disk says.
pub fn over(name: &'static str, question: &'static str, file: &CachedFile) -> Result<Row> {
    let runtime = runtime()?;
    let path = file.directory().join(CachedFile::NAME);

    let limit = {
        let (path, file) = (path.clone(), file.clone());
        Variant::new("std::fs::read, unconfined (limit)", move |count| {
            for _ in 0..count {
                file.check(&fs::read(&path)?)?;
            }
            Ok(())
        })
    };
    let agentx = {
        let fs: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(file.directory())?);
        let (runtime, file) = (Arc::clone(&runtime), file.clone());
        let path = ResourcePath::root().join(CachedFile::NAME)?;
        Variant::new("agentx LocalFileSystem, dyn FileSystem", move |count| {
            let (fs, path, file) = (Arc::clone(&fs), path.clone(), file.clone());
            in_task(&runtime, async move {
                for _ in 0..count {
                    file.check(&fs.read_file(&path).await?)?;
                }
                Ok(())
            })
        })
    };
    let file = file.clone();
    let tokio = Variant::new("tokio::fs::read, unconfined", move |count| {
        let (path, file) = (path.clone(), file.clone());
        in_task(&runtime, async move {
            for _ in 0..count {
                file.check(&tokio::fs::read(&path).await?)?;
            }
            Ok(())
        })
    });
    Ok(Row::new(name, question, limit).per(1, "read").with(agentx).with(tokio))
}
