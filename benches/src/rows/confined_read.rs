//! What a cached read of 1 KiB costs when it can't leave its root, through the contract, in a task.

use std::{fs, hint::black_box, sync::Arc};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use tempfile::TempDir;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

/// The size of the file, in bytes.
pub const SIZE: usize = 1024;

/// A directory with one small file, which is in the page cache from the first read on.
#[derive(Clone, Debug)]
pub struct SmallFile {
    directory: Arc<TempDir>,
}

impl SmallFile {
    /// The file's name in the directory.
    pub const NAME: &str = "small.txt";

    /// Creates it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(Self::NAME), vec![b'x'; SIZE])?;
        Ok(Self { directory: Arc::new(directory) })
    }

    /// The directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Fails for content that is not the file's.
    ///
    /// # Errors
    /// That.
    pub fn check(content: &[u8]) -> Result<()> {
        if black_box(content).len() == SIZE { Ok(()) } else { Err("not the whole file".into()) }
    }
}

/// The row.
///
/// # Errors
/// What the disk says.
pub fn row() -> Result<Row> {
    over(&SmallFile::create()?)
}

/// [`row`] over this file, for peers to be added.
///
/// # Errors
/// What the disk says.
pub fn over(file: &SmallFile) -> Result<Row> {
    let runtime = runtime()?;
    let path = file.directory().join(SmallFile::NAME);

    let limit = {
        let (path, file) = (path.clone(), file.clone());
        Variant::new("std::fs::read, unconfined (limit)", move |count| {
            let _directory = &file;
            for _ in 0..count {
                SmallFile::check(&fs::read(&path)?)?;
            }
            Ok(())
        })
    };
    let agentx = {
        let fs: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(file.directory())?);
        let (runtime, path) = (Arc::clone(&runtime), ResourcePath::root().join(SmallFile::NAME)?);
        Variant::new("agentx LocalFileSystem, dyn FileSystem", move |count| {
            let (fs, path) = (Arc::clone(&fs), path.clone());
            in_task(&runtime, async move {
                for _ in 0..count {
                    SmallFile::check(&fs.read_file(&path).await?)?;
                }
                Ok(())
            })
        })
    };
    let tokio = Variant::new("tokio::fs::read, unconfined", move |count| {
        let path = path.clone();
        in_task(&runtime, async move {
            for _ in 0..count {
                SmallFile::check(&tokio::fs::read(&path).await?)?;
            }
            Ok(())
        })
    });
    let question = "What does a cached read of 1 KiB cost that can't leave its root?";
    Ok(Row::new("confined_read", question, limit).per(1, "read").with(agentx).with(tokio))
}
