//! Each broken provider is caught by the case that is there for it.
#![cfg(test)]

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use agentx_conformance::{
    Case, TokioClock, disk, env,
    faulty::{
        DiskFault, EnvFault, FaultyDisk, FaultyEnv, FaultyFileSystem, FaultyLlmProvider, FaultyProcess,
        FaultyRepositories, FileSystemFault, FileSystemMutation, LimitsFault, LlmProviderFault,
        MutantFileSystem, PairFault, PlantedFault, ProcessFault, RepositoryFault, faulty_limited,
        faulty_pair, faulty_planted,
    },
    file_system,
    limits::{self, Limited},
    llm, pair,
    planted::{self, Planted},
    process, repository,
};
use agentx_core::Repositories;
use agentx_resource::{ApiSupply, Disk, Env, FileSystem, LLMProvider, Process, memory::MemoryFileSystem};

/// Cases that a slow fault makes slower than they are worth here.
const LONG: [&str; 4] = ["list-many", "write-seen-whole", "append-race", "if-match-race"];

/// Cases of commands that have process ids: a Rust function has none, so these faults are shown where there are real
/// commands.
const REAL: [&str; 3] = ["kill-tree", "drop-ends", "exit-signal"];

/// Whether a race is met is chance: a racer may be alone on a loaded machine, but not each time.
fn attempts(id: &str) -> usize {
    if id.ends_with("race") || id == "write-seen-whole" { 100 } else { 1 }
}

/// Fails unless each fault is caught by the case that it names, and spares most of the others: a fault is one fault,
/// and a provider that fails everything would show only that the kit fails. Gives the ids of all cases that caught
/// one.
async fn all_are_caught<R: ?Sized, F: Copy + Debug>(
    cases: &[Case<R>],
    faults: &[F],
    caught_by: fn(F) -> &'static str,
    make: impl Fn(F) -> Arc<R>,
) -> BTreeSet<String> {
    let mut caught_any = BTreeSet::new();
    for fault in faults.iter().copied() {
        let id = caught_by(fault);
        let case = cases.iter().find(|case| case.id() == id).unwrap_or_else(|| panic!("no case {id}"));
        let mut caught = None;
        for _ in 0..attempts(id) {
            caught = case.attempt(make(fault)).await.err();
            if caught.is_some() {
                break;
            }
        }
        let failure = caught.unwrap_or_else(|| panic!("{fault:?} passes {id}"));
        caught_any.insert(id.to_owned());
        // By what the case asserts, not by a fault of its own.
        assert!(!failure.to_string().contains("a racer failed"), "{fault:?}: {failure}");

        let mut failed = Vec::new();
        for case in cases.iter().filter(|case| !LONG.contains(&&*case.id()) && !REAL.contains(&&*case.id())) {
            if case.attempt(make(fault)).await.is_err() {
                failed.push(case.id());
            }
        }
        // A small suite may have one fact that all of its cases stand on.
        assert!(cases.len() < 20 || failed.len() * 3 < cases.len(), "{fault:?} fails {failed:?}");
        caught_any.extend(failed);
    }
    caught_any
}

/// Fails unless each case has failed for some broken provider: one that never failed proves nothing.
fn assert_all_can_fail<R: ?Sized>(cases: &[Case<R>], failed: &BTreeSet<String>) {
    let never: Vec<_> = cases.iter().map(Case::id).filter(|id| !failed.contains(id)).collect();
    assert!(never.is_empty(), "no broken provider fails {never:?}");
}

#[test]
fn file_systems() {
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let mut failed = several.block_on(all_are_caught(
        file_system::CASES,
        FileSystemFault::ALL,
        FileSystemFault::caught_by,
        |fault| Arc::new(FaultyFileSystem::new(fault)) as Arc<dyn FileSystem>,
    ));
    // What waits for the end of something that does not end is done at once.
    let paused =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    for mutation in FileSystemMutation::all() {
        let mut caught = false;
        for case in file_system::CASES.iter().filter(|case| !LONG.contains(&&*case.id())) {
            let mutant = MutantFileSystem::new(Arc::new(MemoryFileSystem::new()), mutation);
            if paused.block_on(case.attempt(Arc::new(mutant))).is_err() {
                caught = true;
                failed.insert(case.id());
            }
        }
        assert!(caught, "{mutation:?} passes");
    }
    assert_all_can_fail(file_system::CASES, &failed);
}

// A mistake about links shows in most that is done with them: it is enough that the named case finds it.
#[tokio::test(start_paused = true)]
async fn planted_things() {
    let mut failed = BTreeSet::new();
    for fault in PlantedFault::ALL {
        for case in planted::CASES {
            let made = Arc::new(faulty_planted(*fault).await.unwrap());
            if case.attempt(made).await.is_err() {
                failed.insert(case.id());
            } else {
                assert_ne!(case.id(), fault.caught_by(), "{fault:?} is not caught");
            }
        }
    }
    for mutation in FileSystemMutation::all() {
        for case in planted::CASES {
            let (files, plant) = planted::memory();
            let files = Arc::new(MutantFileSystem::new(files, mutation));
            if case.attempt(Arc::new(Planted { files, plant })).await.is_err() {
                failed.insert(case.id());
            }
        }
    }
    assert_all_can_fail(planted::CASES, &failed);
}

#[tokio::test(start_paused = true)]
async fn limits_of_names_and_sizes() {
    let mut failed = BTreeSet::new();
    for case in limits::CASES {
        case.attempt(Arc::new(faulty_limited(None))).await.unwrap();
        for fault in LimitsFault::ALL {
            if case.attempt(Arc::new(faulty_limited(Some(*fault)))).await.is_err() {
                failed.insert(case.id());
            } else {
                assert_ne!(case.id(), fault.caught_by(), "{fault:?} is not caught");
            }
        }
        for mutation in FileSystemMutation::all() {
            let Limited { files, limits } = faulty_limited(None);
            let files = Arc::new(MutantFileSystem::new(files, mutation));
            if case.attempt(Arc::new(Limited { files, limits })).await.is_err() {
                failed.insert(case.id());
            }
        }
    }
    assert_all_can_fail(limits::CASES, &failed);
}

// Time stands still unless all wait for it, so that a command that hangs is given up at once.
#[tokio::test(start_paused = true)]
async fn processes() {
    let faults: Vec<_> =
        ProcessFault::ALL.iter().copied().filter(|fault| !REAL.contains(&fault.caught_by())).collect();
    let mut failed = all_are_caught(process::CASES, &faults, ProcessFault::caught_by, |fault| {
        let toolbox = Arc::new(process::toolbox(Arc::new(TokioClock)));
        Arc::new(FaultyProcess::new(toolbox, fault)) as Arc<dyn Process>
    })
    .await;
    failed.extend(REAL.map(str::to_owned));
    assert_all_can_fail(process::CASES, &failed);
}

// Two trees, or one that is seen elsewhere, are found by most cases: it is enough that the named one does.
#[tokio::test]
async fn pairs() {
    let mut failed = BTreeSet::new();
    for fault in PairFault::ALL {
        for case in pair::CASES {
            let pair = faulty_pair(Arc::new(TokioClock), *fault).await.unwrap();
            if case.attempt(Arc::new(pair)).await.is_err() {
                failed.insert(case.id());
            } else {
                assert_ne!(case.id(), fault.caught_by(), "{fault:?} is not caught");
            }
        }
    }
    assert_all_can_fail(pair::CASES, &failed);
}

#[tokio::test]
async fn environments() {
    let failed = all_are_caught(env::CASES, EnvFault::ALL, EnvFault::caught_by, |fault| {
        Arc::new(FaultyEnv::new(fault).unwrap()) as Arc<dyn Env>
    })
    .await;
    assert_all_can_fail(env::CASES, &failed);
}

#[tokio::test]
async fn disks() {
    let failed = all_are_caught(disk::CASES, DiskFault::ALL, DiskFault::caught_by, |fault| {
        Arc::new(FaultyDisk::new(fault)) as Arc<dyn Disk>
    })
    .await;
    assert_all_can_fail(disk::CASES, &failed);
}

#[tokio::test]
async fn suppliers_of_models() {
    let failed = all_are_caught(llm::CASES, LlmProviderFault::ALL, LlmProviderFault::caught_by, |fault| {
        Arc::new(FaultyLlmProvider::new(fault)) as Arc<dyn LLMProvider<ApiSupply>>
    })
    .await;
    assert_all_can_fail(llm::CASES, &failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repositories() {
    let failed =
        all_are_caught(repository::CASES, RepositoryFault::ALL, RepositoryFault::caught_by, |fault| {
            Arc::new(Repositories::new(FaultyRepositories::new(fault)))
        })
        .await;
    assert_all_can_fail(repository::CASES, &failed);
}
