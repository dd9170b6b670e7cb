//! What it costs to learn that two trees of 10,000 files are still alike, and to copy the one file that is not.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::mirror::{MirrorDisk, MirrorOptions};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const DIRECTORIES: usize = 100;
const FILES: u64 = 10_000;
const CONTENT: &[u8] = &[b'x'; 1 << 10];

/// Two directories of the host that a disk has made alike.
struct Trees {
    remote: TempDir,
    local: TempDir,
    disk: MirrorDisk,
}

impl Trees {
    fn create(runtime: &Runtime) -> Result<Arc<Self>> {
        let (remote, local) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for directory in 0..DIRECTORIES {
            fs::create_dir(remote.path().join(directory.to_string()))?;
        }
        for file in 0..FILES {
            fs::write(path(remote.path(), file), CONTENT)?;
        }
        let open = |tree: &TempDir| LocalFileSystem::open(tree.path()).map(Arc::new);
        let options = MirrorOptions::new(local.path().display().to_string());
        let disk = MirrorDisk::new(open(&remote)?, open(&local)?, options);
        let trees = Arc::new(Self { remote, local, disk });
        let first = Arc::clone(&trees);
        in_task(runtime, async move { first.sync(FILES).await })?;
        Ok(trees)
    }

    /// A sync that has to copy so many files.
    async fn sync(&self, copies: u64) -> Result<()> {
        let report = self.disk.sync().await?.complete()?;
        same(report.pulled.files + report.pushed.files, copies)
    }
}

/// The row.
///
/// # Errors
/// What the disk says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let trees = Trees::create(&runtime)?;
    let limit = {
        let trees = Arc::clone(&trees);
        Variant::new("std: a look at each file of both (limit)", move |count| {
            (0..count).try_for_each(|_| {
                same(looked_at(trees.remote.path())? + looked_at(trees.local.path())?, 2 * FILES)
            })
        })
    };
    let unchanged = {
        let (trees, runtime) = (Arc::clone(&trees), Arc::clone(&runtime));
        Variant::new("agentx MirrorDisk, nothing changed", move |count| {
            let trees = Arc::clone(&trees);
            in_task(&runtime, async move {
                for _ in 0..count {
                    trees.sync(0).await?;
                }
                Ok(())
            })
        })
    };
    let changed = {
        let trees = Arc::clone(&trees);
        Variant::new("agentx MirrorDisk, one file changed", move |count| {
            let trees = Arc::clone(&trees);
            in_task(&runtime, async move {
                for _ in 0..count {
                    fs::write(path(trees.local.path(), 7), CONTENT)?;
                    trees.sync(1).await?;
                }
                Ok(())
            })
        })
    };
    let compared = Variant::new("std: both contents of each file compared", move |count| {
        (0..count).try_for_each(|_| same(equal(trees.remote.path(), trees.local.path())?, FILES))
    });
    let question = "What does it cost to keep two trees of 10,000 files alike?";
    Ok(Row::new("mirror", question, limit).per(FILES, "file").with(unchanged).with(changed).with(compared))
}

fn path(tree: &Path, file: u64) -> PathBuf {
    tree.join((file % DIRECTORIES as u64).to_string()).join(file.to_string())
}

/// How many files are in the directories of a tree.
fn looked_at(tree: &Path) -> Result<u64> {
    let mut files = 0;
    for directory in 0..DIRECTORIES {
        for entry in fs::read_dir(tree.join(directory.to_string()))? {
            files += u64::from(black_box(entry?.metadata()?).is_file());
        }
    }
    Ok(files)
}

/// How many files have the same content in both trees.
fn equal(remote: &Path, local: &Path) -> Result<u64> {
    let mut equal = 0;
    for file in 0..FILES {
        equal += u64::from(fs::read(path(remote, file))? == fs::read(path(local, file))?);
    }
    Ok(equal)
}

fn same(found: u64, expected: u64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{found} files, and not {expected}").into()) }
}
