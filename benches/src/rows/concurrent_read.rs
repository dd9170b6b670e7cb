//! What cached reads cost when 64 tasks do them at once, against two threads that have nothing else to do.

use std::{fs, sync::Arc, thread};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use tokio::task::JoinSet;

use super::{confined_read::CachedFile, in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const TASKS: u64 = 64;
const THREADS: u64 = 2;

/// The row of 1 KiB.
///
/// # Errors
/// What the disk says.
pub fn of_1_kib() -> Result<Row> {
    let question = "What do cached reads of 1 KiB cost in 64 tasks at once?";
    over("concurrent_read", question, &CachedFile::create(1 << 10)?)
}

/// The row of 64 KiB.
///
/// # Errors
/// What the disk says.
pub fn of_64_kib() -> Result<Row> {
    let question = "What do cached reads of 64 KiB cost in 64 tasks at once?";
    over("concurrent_read_64k", question, &CachedFile::create(64 << 10)?)
}

fn over(name: &'static str, question: &'static str, file: &CachedFile) -> Result<Row> {
    let runtime = runtime()?;
    let path = file.directory().join(CachedFile::NAME);

    let limit = {
        let (path, file) = (path.clone(), file.clone());
        Variant::new("std::fs::read in 2 threads, unconfined (limit)", move |count| {
            let work = || -> Result<()> {
                for _ in 0..count * TASKS / THREADS {
                    file.check(&fs::read(&path)?)?;
                }
                Ok(())
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
                threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a reader panicked")?)
            })
        })
    };
    let agentx = {
        let fs: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(file.directory())?);
        let (runtime, file) = (Arc::clone(&runtime), file.clone());
        let path = ResourcePath::root().join(CachedFile::NAME)?;
        Variant::new("agentx LocalFileSystem, dyn FileSystem", move |count| {
            let (fs, path, file) = (Arc::clone(&fs), path.clone(), file.clone());
            in_task(
                &runtime,
                at_once(move || {
                    let (fs, path, file) = (Arc::clone(&fs), path.clone(), file.clone());
                    async move {
                        for _ in 0..count {
                            file.check(&fs.read_file(&path).await?)?;
                        }
                        Ok(())
                    }
                }),
            )
        })
    };
    let file = file.clone();
    let tokio = Variant::new("tokio::fs::read, unconfined", move |count| {
        let (path, file) = (path.clone(), file.clone());
        in_task(
            &runtime,
            at_once(move || {
                let (path, file) = (path.clone(), file.clone());
                async move {
                    for _ in 0..count {
                        file.check(&tokio::fs::read(&path).await?)?;
                    }
                    Ok(())
                }
            }),
        )
    });
    Ok(Row::new(name, question, limit).per(TASKS, "read").with(agentx).with(tokio))
}

/// The same work in all tasks, until the last is done.
async fn at_once<W>(work: impl Fn() -> W) -> Result<()>
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks: JoinSet<_> = (0..TASKS).map(|_| work()).collect();
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
