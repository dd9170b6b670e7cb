//! The kit.

use std::sync::Arc;

use agentx::resource::{ExecRequest, FileSystem, ProcessExt, memory::MemoryFileSystem};
use agentx_conformance::{
    Case, Failure, Fresh, Profile, file_system,
    pair::{CASES as PAIR_CASES, Pair},
    process::CASES as PROCESS_CASES,
};
use agentx_provider_cloudflare::{ContainerOptions, LazyContainer, SandboxProcess};

use crate::support::Served;

agentx_conformance::process_suite!(process, || async {
    let served = Served::start().await;
    Fresh::process(served.container().await.process()).with_check(served.check()).with_guard(served)
});

agentx_conformance::file_system_suite!(files, || async {
    let served = Served::start().await;
    Fresh::file_system(served.container().await.files()).with_check(served.check()).with_guard(served)
});

agentx_conformance::pair_suite!(pair, || async {
    let served = Served::start().await;
    let container = served.container().await;
    let pair: Fresh<Pair> = Fresh::pair(Arc::new(container.files()), Arc::new(container.process()));
    pair.with_check(served.check()).with_guard(served)
});

// The first command of each case moves the tree.
agentx_conformance::pair_suite!(lazy, || async { lazy_pair(Served::start().await) }, cold());

/// In the container from the beginning, since a command has run.
async fn warm(served: &Served) -> LazyContainer {
    let lazy = served.lazy(Arc::new(MemoryFileSystem::new()));
    lazy.process().exec(ExecRequest::program("true", [""; 0])).await.unwrap();
    lazy
}

#[test]
fn lazy_warm_pairs() -> Result<(), Failure> {
    let fresh = || async {
        let served = Served::start().await;
        let lazy = warm(&served).await;
        Fresh::pair(lazy.files(), lazy.process()).with_check(served.check()).with_guard(served)
    };
    Case::run_all(PAIR_CASES, fresh, &Profile::new())
}

#[test]
fn lazy_warm_files() -> Result<(), Failure> {
    let fresh = || async {
        let served = Served::start().await;
        let files: Fresh<dyn FileSystem> = Fresh::new(warm(&served).await.files());
        files.with_check(served.check()).with_guard(served)
    };
    Case::run_all(file_system::CASES, fresh, &Profile::new())
}

fn lazy_pair(served: Served) -> Fresh<Pair> {
    let lazy = served.lazy(Arc::new(MemoryFileSystem::new()));
    let pair: Fresh<Pair> = Fresh::pair(lazy.files(), lazy.process());
    pair.with_check(served.check()).with_guard(served)
}

fn cold() -> Profile {
    let why =
        "a file that is being written in the store keeps the tree there: the first command waits for it";
    Profile::new().deviates("pair-writer-unfinished", why)
}

/// By the published API alone, which our server answers, too.
#[test]
fn published_api() -> Result<(), Failure> {
    let fresh = || async {
        let served = Served::start().await;
        let root = served.root.to_str().unwrap().to_owned();
        let process = SandboxProcess::connect(&served.at(), root, ContainerOptions::default()).await.unwrap();
        Fresh::process(process).with_check(served.check()).with_guard(served)
    };
    Case::run_all(PROCESS_CASES, fresh, &published())
}

fn published() -> Profile {
    Profile::new()
        .deviates("exec-binary", "output is text in that API")
        .deviates("stdin-large", "input travels within the command's text")
        .deviates("stdin-unread", "input travels within the command's text")
        .deviates("events-dropped-call", "input travels within the command's text")
        .deviates("exit-signal", "that API tells a signal as a code, as a shell does")
}
