//! The suites below every layer over memory: one test runs all cases of one layer.
#![cfg(test)]

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use agentx_conformance::{
    Case, Failure, Fresh, Profile, TokioClock, env, file_system, llm, pair, planted,
    process::{self, toolbox},
};
use agentx_resource::{
    ApiSupply, Env, FileSystem, FileSystemExt, LLMProvider, Layer, MkdirOptions, Process, ResourcePath,
    Result,
    cassette::{Cassette, CassetteMode, CassetteOptions},
    layer::{
        Cache, Chroot, Freshness, Limit, Meter, Overlay, Quota, Recorded, Retry, Route, Timeout, Trace,
        WriteBack,
    },
    memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryLlmProvider},
};

type Files = Arc<dyn FileSystem>;
type Commands = Arc<dyn Process>;

/// All cases on what `build` makes of an empty file system.
fn files_pass<F>(build: impl Fn(Files) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Files>>,
{
    let fresh = || async { build(Arc::new(MemoryFileSystem::new())).await.map(Fresh::new) };
    Case::run_all(file_system::CASES, fresh, &Profile::new())
}

fn layered_files_pass(layer: &impl Layer<dyn FileSystem>) -> Result<(), Failure> {
    files_pass(|fs| async { Ok(layer.layer(fs)) })
}

fn layered_commands_pass(layer: &impl Layer<dyn Process>) -> Result<(), Failure> {
    let fresh = || async { Fresh::new(layer.layer(Arc::new(toolbox(Arc::new(TokioClock))))) };
    Case::run_all(process::CASES, fresh, &no_ids())
}

fn layered_settings_pass(layer: &impl Layer<dyn Env>) -> Result<(), Failure> {
    let fresh = || async {
        MemoryEnv::new(env::SETTINGS).map(|settings| Fresh::new(layer.layer(Arc::new(settings))))
    };
    Case::run_all(env::CASES, fresh, &Profile::new())
}

fn layered_supply_passes(layer: &impl Layer<dyn LLMProvider<ApiSupply>>) -> Result<(), Failure> {
    let fresh = || async {
        let supply = MemoryLlmProvider::new("fixed", ApiSupply::new(llm::KEY));
        Fresh::new(layer.layer(Arc::new(supply)))
    };
    Case::run_all(llm::CASES, fresh, &Profile::new())
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
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

/// The clock stands still, so that nothing is ever too old.
fn cache(freshness: Freshness) -> Cache {
    Cache::new(freshness, Arc::new(ManualClock::default()))
}

fn quota() -> Quota {
    Quota::new().with_bytes(1 << 30).with_files(10_000)
}

#[test]
fn trace_passes() -> Result<(), Failure> {
    layered_files_pass(&Trace)?;
    layered_commands_pass(&Trace)?;
    layered_settings_pass(&Trace)?;
    layered_supply_passes(&Trace)
}

/// While it records, on a cassette of its own for each case.
#[test]
fn recorded_passes() -> Result<(), Failure> {
    async fn recorded() -> Result<Recorded> {
        let store = Arc::new(MemoryFileSystem::new());
        let options = CassetteOptions::new(CassetteMode::Record);
        Ok(Recorded::new(&Cassette::open(store, path("/run.jsonl"), options).await?, "case"))
    }
    files_pass(|fs| async { recorded().await?.file_system(|| Ok(fs)) })?;
    let commands = || async {
        recorded().await?.process(|| Ok(Arc::new(toolbox(Arc::new(TokioClock))))).map(Fresh::new)
    };
    Case::run_all(process::CASES, commands, &no_ids())?;
    let settings =
        || async { recorded().await?.env(|| Ok(Arc::new(MemoryEnv::new(env::SETTINGS)?))).map(Fresh::new) };
    Case::run_all(env::CASES, settings, &Profile::new())?;
    let supply = || async {
        let supply = || Ok(Arc::new(MemoryLlmProvider::new("fixed", ApiSupply::new(llm::KEY))) as Arc<_>);
        recorded().await?.llm_provider(|| ApiSupply::new("none"), supply).map(Fresh::new)
    };
    Case::run_all(llm::CASES, supply, &Profile::new())
}

#[test]
fn retry_passes() -> Result<(), Failure> {
    layered_files_pass(&retry())?;
    layered_settings_pass(&retry())?;
    layered_supply_passes(&retry())
}

#[test]
fn timeout_passes() -> Result<(), Failure> {
    layered_files_pass(&timeout())?;
    layered_commands_pass(&timeout())?;
    layered_supply_passes(&timeout())
}

#[test]
fn limit_passes() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(limit().layer(fs)) })?;
    layered_commands_pass(&limit())
}

#[test]
fn meter_passes() -> Result<(), Failure> {
    layered_files_pass(&meter())?;
    layered_commands_pass(&meter())?;
    layered_settings_pass(&meter())
}

#[test]
fn cache_passes() -> Result<(), Failure> {
    for freshness in [Freshness::Validate, Freshness::For(Duration::from_secs(1))] {
        files_pass(|fs| async { Ok(cache(freshness).layer(fs)) })?;
    }
    Ok(())
}

#[test]
fn quota_passes() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(quota().layer(fs)) })?;
    files_pass(|fs| async { Quota::new().open(fs).await })
}

/// A directory of a tree that holds more, so that a path that is not mapped shows.
async fn chrooted(whole: Files) -> Result<(Files, Chroot)> {
    whole.mkdir(&path("/a/d"), MkdirOptions::recursive()).await?;
    whole.write_file(&path("/a/beside"), "x").await?;
    let chroot = Chroot::new(path("/a/d"));
    Ok((chroot.layer(whole), chroot))
}

#[test]
fn chroot_passes() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(chrooted(fs).await?.0) })?;
    let commands = || async {
        let whole: Files = Arc::new(MemoryFileSystem::new());
        let (_, chroot) = chrooted(Arc::clone(&whole)).await?;
        let process = toolbox(Arc::new(TokioClock)).with_root("/workspace").with_file_system(whole);
        Ok::<_, agentx_resource::Error>(Fresh::new(chroot.layer(Arc::new(process) as Commands)))
    };
    Case::run_all(process::CASES, commands, &no_ids())?;
    let both = || async {
        let whole: Files = Arc::new(MemoryFileSystem::new());
        let (files, chroot) = chrooted(Arc::clone(&whole)).await?;
        let process = toolbox(Arc::new(TokioClock)).with_root("/workspace").with_file_system(whole);
        let process = chroot.layer(Arc::new(process) as Commands);
        Ok::<_, agentx_resource::Error>(Fresh::pair(files, process))
    };
    Case::run_all(pair::CASES, both, &Profile::new())
}

#[test]
fn overlay_passes() -> Result<(), Failure> {
    files_pass(|base| async {
        Ok(Arc::new(Overlay::open(base, Arc::new(MemoryFileSystem::new())).await?) as Files)
    })
}

/// A directory of the base whose content was removed, with names that the cases use below it.
#[test]
fn overlay_passes_over_what_is_removed() -> Result<(), Failure> {
    files_pass(|base| async move {
        let seen = path("/s");
        for name in ["a/b/c", "d/f", "x/y", "log", "counter"] {
            let at = seen.join(name)?;
            base.mkdir(&at.parent().unwrap_or_else(ResourcePath::root), MkdirOptions::recursive()).await?;
            base.write_file(&at, "of the base").await?;
        }
        let overlay = Overlay::open(base, Arc::new(MemoryFileSystem::new())).await?;
        for entry in overlay.readdir(&seen).await? {
            if let Some(path) = entry.path {
                overlay.rm_all(&path).await?;
            }
        }
        Ok(Chroot::new(seen).layer(Arc::new(overlay) as Files))
    })
}

/// What goes on without mounts, in a mount, and beside one on the way to another.
#[test]
fn route_passes() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(Route::new().layer(fs)) })?;
    for (place, seen) in [("/a/d", "/a/d"), ("/a/b/c/d", "/a/x")] {
        files_pass(|fs| async move {
            let route = Route::new()
                .with_mount(path(place), Arc::new(MemoryFileSystem::new()))
                .with_mount(path("/a"), Arc::new(MemoryFileSystem::new()));
            let whole = route.layer(fs);
            whole.mkdir(&path(seen), MkdirOptions::recursive()).await?;
            Ok(Chroot::new(path(seen)).layer(whole))
        })?;
    }
    Ok(())
}

/// What is planted below a layer shows above it. A chroot is no boundary, and what is planted in an overlay's base does
/// not lead to what was written above it: both say so, and are not among these.
fn planted_passes<F>(build: impl Fn(Files) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Files>>,
{
    let fresh = || async {
        let (files, plant) = planted::memory();
        build(files).await.map(|files| Fresh::planted(files, plant))
    };
    Case::run_all(planted::CASES, fresh, &Profile::new())
}

#[test]
fn what_is_planted_shows_above_each_layer() -> Result<(), Failure> {
    planted_passes(|fs| async { Ok(Trace.layer(fs)) })?;
    planted_passes(|fs| async { Ok(quota().layer(fs)) })?;
    planted_passes(|fs| async { Ok(cache(Freshness::Validate).layer(fs)) })?;
    planted_passes(|fs| async { Ok(retry().layer(fs)) })?;
    planted_passes(|fs| async { Ok(timeout().layer(fs)) })?;
    planted_passes(|fs| async { Ok(limit().layer(fs)) })?;
    planted_passes(|fs| async { Ok(meter().layer(fs)) })?;
    planted_passes(|fs| async { Ok(Route::new().layer(fs)) })?;
    planted_passes(|fs| async {
        let fs = limit().layer(meter().layer(fs));
        let fs = cache(Freshness::Validate).layer(retry().layer(timeout().layer(fs)));
        Ok(Trace.layer(quota().layer(fs)))
    })
}

/// All of them, in the order that is documented.
#[test]
fn the_stack_passes() -> Result<(), Failure> {
    files_pass(|fs| async {
        fs.mkdir(&path("/d"), MkdirOptions::default()).await?;
        let fs = limit().layer(meter().layer(Chroot::new(path("/d")).layer(fs)));
        let fs = cache(Freshness::Validate).layer(retry().layer(timeout().layer(fs)));
        Ok(Trace.layer(quota().layer(fs)))
    })
}

fn no_ids() -> Profile {
    let reason = "a Rust function has no process id and gets no signal";
    Profile::new().deviates("kill-tree", reason).deviates("drop-ends", reason).deviates("exit-signal", reason)
}

#[test]
fn file_system_below_write_back() -> Result<(), Failure> {
    files_pass(|fs| async { Ok(Arc::new(WriteBack::open(fs)?) as Files) })
}
