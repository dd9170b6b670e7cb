//! What a thousand sandboxes cost that are made, used once and destroyed by 64 tasks: the time that all but the
//! slowest of them take. An idle sandbox is no process, so that there can be many.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use agentx_provider_local::LocalProcess;
use agentx_resource::{ExecRequest, ProcessExt};
use tokio::{runtime::Runtime, task::JoinSet};

use super::runtime;
use crate::{
    Result,
    measure::{Row, Variant},
};

const SANDBOXES: usize = 1000;
const TASKS: usize = 64;
/// This part of all sandboxes is faster than what is told.
const PART: (usize, usize) = (95, 100);
const PROGRAM: &str = "/bin/true";

/// The row.
///
/// # Errors
/// What the host says.
pub fn row() -> Result<Row> {
    let runtime = runtime()?;
    let limit = variant("posix_spawn from threads (limit)", &runtime, || async {
        let work = || -> Result<bool> {
            let directory = tempfile::tempdir()?;
            Ok(Command::new(PROGRAM).current_dir(directory.path()).output()?.status.success())
        };
        tokio::task::spawn_blocking(work).await?
    });
    let agentx = variant("agentx LocalProcess", &runtime, || async {
        let directory = tempfile::tempdir()?;
        let process = LocalProcess::new(directory.path())?;
        Ok(process.exec(ExecRequest::program(PROGRAM, [""; 0])).await?.status.success())
    });
    let tokio = variant("tokio::process::Command", &runtime, || async {
        let directory = tempfile::tempdir()?;
        let mut command = tokio::process::Command::new(PROGRAM);
        Ok(command.current_dir(directory.path()).output().await?.status.success())
    });
    let question = "How long do 95 of 100 sandboxes take that 64 tasks make, use once and destroy?";
    Ok(Row::new("sandboxes", question, limit).per(1, "thousand").with(agentx).with(tokio))
}

fn variant<R>(name: &str, runtime: &Arc<Runtime>, once: impl Fn() -> R + Clone + Send + 'static) -> Variant
where
    R: Future<Output = Result<bool>> + Send + 'static,
{
    let runtime = Arc::clone(runtime);
    Variant::observed(name, move |count| {
        let mut observed = Duration::ZERO;
        for _ in 0..count {
            observed += runtime.block_on(thousand(once.clone()))?;
        }
        Ok(observed / u32::try_from(count)?)
    })
}

/// The time that the given part of a thousand takes at most, each from its beginning.
async fn thousand<R>(once: impl Fn() -> R + Clone + Send + 'static) -> Result<Duration>
where
    R: Future<Output = Result<bool>> + Send + 'static,
{
    let begun = Arc::new(AtomicUsize::new(0));
    let mut tasks: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    for _ in 0..TASKS {
        let (begun, once) = (Arc::clone(&begun), once.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.fetch_add(1, Ordering::Relaxed) < SANDBOXES {
                let since = Instant::now();
                if !once().await? {
                    return Err("the command failed".into());
                }
                times.push(since.elapsed());
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    times.sort_unstable();
    times.get(times.len() * PART.0 / PART.1).copied().ok_or_else(|| "no sandbox".into())
}
