//! What reads do to everybody else in the runtime: how late a timer is while 64 tasks read what is not in memory.
//!
//! It is the price-check on reading in place: whoever read everything so would win every other row and lose this one.
//! The floor is what the same reads do from threads that the runtime knows nothing of: they take the processor, the
//! device and the kernel's locks all the same.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
};

const TASKS: usize = 64;
const SIZE: usize = 256 << 10;
const TICK: Duration = Duration::from_millis(1);

/// A file for each task, on the device.
struct Files {
    directory: TempDir,
}

impl Files {
    fn create() -> Result<Arc<Self>> {
        let directory = tempfile::tempdir()?;
        for index in 0..TASKS {
            let path = directory.path().join(Self::name(index));
            fs::write(&path, vec![b'x'; SIZE])?;
            // What is not on the device can't be forgotten.
            fs::File::open(&path)?.sync_all()?;
        }
        Ok(Arc::new(Self { directory }))
    }

    fn name(index: usize) -> String {
        format!("file-{index:02}")
    }

    fn path(&self, index: usize) -> PathBuf {
        self.directory.path().join(Self::name(index))
    }

    /// Lets the host forget the content of a file.
    fn evict(&self, index: usize) -> Result<()> {
        Ok(fadvise(fs::File::open(self.path(index))?, 0, None, Advice::DontNeed)?)
    }
}

/// The row.
///
/// # Errors
/// What the disk says.
pub fn row() -> Result<Row> {
    let files = Files::create()?;
    let runtime = runtime()?;
    let limit = {
        let runtime = Arc::clone(&runtime);
        Variant::observed("nobody reads (limit)", move |count| ticker(&runtime, JoinSet::new(), count))
    };
    let fs: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(files.directory.path())?);
    let agentx = readers("agentx LocalFileSystem", &runtime, &files, move |_, index| {
        let fs = Arc::clone(&fs);
        async move { Ok(fs.read_file(&ResourcePath::root().join(Files::name(index))?).await?.len()) }
    });
    let tokio = readers("tokio::fs::read", &runtime, &files, |files, index| async move {
        Ok(tokio::fs::read(files.path(index)).await?.len())
    });
    let naive = readers("std::fs::read in the task", &runtime, &files, |files, index| async move {
        Ok(fs::read(files.path(index))?.len())
    });
    let floor = outside(&runtime, &files);
    let question = "How long is the longest 1 ms of a timer while 64 tasks read what is not in memory?";
    let row = Row::new("stall_guard", question, limit).per(1, "tick");
    Ok(row.with(floor).with(agentx).with(tokio).with(naive))
}

fn readers<R>(
    name: &str,
    runtime: &Arc<Runtime>,
    files: &Arc<Files>,
    read: impl Fn(Arc<Files>, usize) -> R + Clone + Send + Sync + 'static,
) -> Variant
where
    R: Future<Output = Result<usize>> + Send + 'static,
{
    let (runtime, files) = (Arc::clone(runtime), Arc::clone(files));
    Variant::observed(name, move |count| {
        let mut tasks = JoinSet::new();
        for index in 0..TASKS {
            let (files, read) = (Arc::clone(&files), read.clone());
            let work = async move {
                loop {
                    let evicted = Arc::clone(&files);
                    tokio::task::spawn_blocking(move || evicted.evict(index)).await??;
                    if read(Arc::clone(&files), index).await? != SIZE {
                        return Err("not the whole file".into());
                    }
                    tokio::task::yield_now().await;
                }
            };
            tasks.spawn_on(work, runtime.handle());
        }
        ticker(&runtime, tasks, count)
    })
}

/// The same reads by as many threads of their own.
fn outside(runtime: &Arc<Runtime>, files: &Arc<Files>) -> Variant {
    let (runtime, files) = (Arc::clone(runtime), Arc::clone(files));
    Variant::observed("std::fs::read in 64 other threads (floor)", move |count| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..TASKS)
                .map(|index| {
                    let (stop, files) = (&stop, &files);
                    scope.spawn(move || -> Result<()> {
                        while !stop.load(Ordering::Relaxed) {
                            files.evict(index)?;
                            if fs::read(files.path(index))?.len() != SIZE {
                                return Err("not the whole file".into());
                            }
                        }
                        Ok(())
                    })
                })
                .collect();
            let observed = ticker(&runtime, JoinSet::new(), count);
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().map_err(|_| "a reader panicked")??;
            }
            observed
        })
    })
}

/// How long a tick takes that 99 of 100 are not longer than, while the tasks do their work.
fn ticker(runtime: &Runtime, mut others: JoinSet<Result<()>>, count: u64) -> Result<Duration> {
    let (told, tell) = std::sync::mpsc::channel();
    in_task(runtime, async move {
        let mut ticks = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            tokio::time::sleep(TICK).await;
            ticks.push(start.elapsed());
        }
        // Nobody of them ends by itself but with an error.
        if let Some(ended) = others.try_join_next() {
            ended??;
        }
        others.shutdown().await;
        ticks.sort_unstable();
        let late = ticks.get((ticks.len() * 99).div_ceil(100).saturating_sub(1));
        Ok(told.send(late.copied().unwrap_or_default())?)
    })?;
    Ok(tell.recv()?)
}
