//! The suites below every layer: one test runs all cases of one layer.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use agentx_conformance::{
    Case, Failure, Fresh, Profile, TokioClock, file_system, pair, pair::Pair, planted::Planted, process,
};
use agentx_provider_local::{LocalFileSystem, LocalProcess, Resolution};
use agentx_resource::{
    FileSystem, FileSystemExt, Layer, MkdirOptions, Process, ResourcePath, Result,
    layer::{Cache, Chroot, Freshness, Limit, Meter, Overlay, Quota, Retry, Route, Timeout, Trace},
};
use tempfile::TempDir;

use crate::{leftovers, planted};

type Files = Arc<dyn FileSystem>;
type Commands = Arc<dyn Process>;

/// All cases on what `build` makes of a fresh directory.
fn files_pass<F>(build: impl Fn(Files) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Files>>,
{
    let fresh = || async {
        let dir = tempfile::tempdir().unwrap();
        let fs: Files = Arc::new(LocalFileSystem::open(dir.path())?);
        let fresh = Fresh::new(build(fs).await?);
        Ok::<_, agentx_resource::Error>(fresh.with_check(leftovers::check(dir.path())).with_guard(dir))
    };
    Case::run_all(file_system::CASES, fresh, &Profile::new())
}

fn layered_files_pass(layer: &impl Layer<dyn FileSystem>) -> Result<(), Failure> {
    files_pass(|fs| async { Ok(layer.layer(fs)) })
}

fn layered_commands_pass(layer: &impl Layer<dyn Process>) -> Result<(), Failure> {
    let fresh = || async {
        let dir = tempfile::tempdir().unwrap();
        let process: Commands = Arc::new(LocalProcess::new(dir.path())?);
        let built = Fresh::new(layer.layer(process));
        Ok::<_, agentx_resource::Error>(built.with_check(leftovers::check(dir.path())).with_guard(dir))
    };
    Case::run_all(process::CASES, fresh, &Profile::new())
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

fn second() -> Result<(Files, TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    Ok((Arc::new(LocalFileSystem::open(dir.path())?), dir))
}

fn retry() -> Retry {
    Retry::new(Arc::new(TokioClock))
}

fn timeout() -> Timeout {
    Timeout::new(Arc::new(TokioClock), Duration::from_mins(1))
}

/// As many as a case has operations open at once.
fn limit() -> Limit {
    Limit::new(NonZeroUsize::MIN.saturating_add(20))
}

fn meter() -> Meter {
    Meter::new(Arc::new(TokioClock))
}

fn cache() -> Cache {
    Cache::new(Freshness::Validate, Arc::new(TokioClock))
}

fn quota() -> Quota {
    Quota::new().with_bytes(1 << 30).with_files(10_000)
}

#[test]
fn trace_files() -> Result<(), Failure> {
    layered_files_pass(&Trace)
}

#[test]
fn quota_files() -> Result<(), Failure> {
    // Each case has bounds of its own.
    files_pass(|fs| async { Ok(quota().layer(fs)) })
}

#[test]
fn cache_files() -> Result<(), Failure> {
    layered_files_pass(&cache())
}

#[test]
fn retry_files() -> Result<(), Failure> {
    layered_files_pass(&retry())
}

#[test]
fn timeout_files() -> Result<(), Failure> {
    layered_files_pass(&timeout())
}

#[test]
fn limit_files() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(limit().layer(fs)) })
}

#[test]
fn meter_files() -> Result<(), Failure> {
    layered_files_pass(&meter())
}

#[test]
fn chroot_files() -> Result<(), Failure> {
    files_pass(|fs| async move {
        fs.mkdir(&path("/a/d"), MkdirOptions::recursive()).await?;
        fs.write_file(&path("/a/beside"), "x").await?;
        Ok(Chroot::new(path("/a/d")).layer(fs))
    })
}

#[test]
fn overlay_files() -> Result<(), Failure> {
    let fresh = || async {
        let ((base, base_dir), (upper, upper_dir)) = (second()?, second()?);
        let overlay = Fresh::file_system(Overlay::open(base, upper).await?);
        let overlay = overlay.with_check(leftovers::check(base_dir.path()));
        let overlay = overlay.with_check(leftovers::check(upper_dir.path()));
        Ok::<_, agentx_resource::Error>(overlay.with_guard((base_dir, upper_dir)))
    };
    Case::run_all(file_system::CASES, fresh, &Profile::new())
}

/// In a mount, and beside one on the way to another.
#[test]
fn route_files() -> Result<(), Failure> {
    for (place, seen) in [("/a/d", "/a/d"), ("/a/b/c/d", "/a/x")] {
        let fresh = || async {
            let ((base, base_dir), (mount, mount_dir)) = (second()?, second()?);
            let fs = Route::new().with_mount(path(place), mount).layer(base);
            fs.mkdir(&path(seen), MkdirOptions::recursive()).await?;
            let fs = Fresh::new(Chroot::new(path(seen)).layer(fs));
            let fs = fs.with_check(leftovers::check(base_dir.path()));
            let fs = fs.with_check(leftovers::check(mount_dir.path()));
            Ok::<_, agentx_resource::Error>(fs.with_guard((base_dir, mount_dir)))
        };
        Case::run_all(file_system::CASES, fresh, &Profile::new())?;
    }
    Ok(())
}

/// What is planted in a directory shows above its layers.
#[test]
fn stacked_planted() -> Result<(), Failure> {
    let fresh = || async {
        let fresh = planted::world(Resolution::Kernel)?;
        let layers = |fs| {
            let fs = cache().layer(retry().layer(timeout().layer(limit().layer(meter().layer(fs)))));
            Trace.layer(quota().layer(fs))
        };
        Ok::<_, agentx_resource::Error>(fresh.map(|made| Planted { files: layers(made.files), ..made }))
    };
    Case::run_all(agentx_conformance::planted::CASES, fresh, &Profile::new())
}

/// All of them, in the order that is documented.
#[test]
fn stacked_files() -> Result<(), Failure> {
    files_pass(|fs| async {
        fs.mkdir(&path("/d"), MkdirOptions::default()).await?;
        let fs = limit().layer(meter().layer(Chroot::new(path("/d")).layer(fs)));
        Ok(Trace.layer(quota().layer(cache().layer(retry().layer(timeout().layer(fs))))))
    })
}

#[test]
fn stacked_commands() -> Result<(), Failure> {
    let fresh = || async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let process: Commands = Arc::new(LocalProcess::new(dir.path())?);
        let process = limit().layer(meter().layer(Chroot::new(path("/d")).layer(process)));
        let process: Commands = Trace.layer(timeout().layer(process));
        let built = Fresh::new(process).with_check(leftovers::check(dir.path()));
        Ok::<_, agentx_resource::Error>(built.with_guard(dir))
    };
    Case::run_all(process::CASES, fresh, &Profile::new())
}

#[test]
fn trace_commands() -> Result<(), Failure> {
    layered_commands_pass(&Trace)
}

#[test]
fn timeout_commands() -> Result<(), Failure> {
    layered_commands_pass(&timeout())
}

#[test]
fn limit_commands() -> Result<(), Failure> {
    layered_commands_pass(&limit())
}

#[test]
fn meter_commands() -> Result<(), Failure> {
    layered_commands_pass(&meter())
}

/// Files and commands behind one view of a directory.
#[test]
fn chroot_pair() -> Result<(), Failure> {
    let fresh = || async {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let files: Files = Arc::new(LocalFileSystem::open(dir.path())?);
        let process: Commands = Arc::new(LocalProcess::new(dir.path())?);
        let chroot = Chroot::new(path("/d"));
        let pair: Fresh<Pair> = Fresh::pair(chroot.layer(files), chroot.layer(process));
        Ok::<_, agentx_resource::Error>(pair.with_check(leftovers::check(dir.path())).with_guard(dir))
    };
    Case::run_all(pair::CASES, fresh, &Profile::new())
}
