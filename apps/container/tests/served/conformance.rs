//! The kit.

use std::sync::Arc;

use agentx::resource::{ExecRequest, FileSystem, ProcessExt, memory::MemoryFileSystem};
use agentx_conformance::{Fresh, Profile, pair::Pair};

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

agentx_conformance::pair_suite!(lazy_warm, || async {
    let served = Served::start().await;
    let pair = served.lazy(Arc::new(MemoryFileSystem::new()));
    pair.process().exec(ExecRequest::program("true", [""; 0])).await.unwrap();
    let pair: Fresh<Pair> = Fresh::pair(pair.files(), pair.process());
    pair.with_check(served.check()).with_guard(served)
});

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

// In the container, since a command has run.
agentx_conformance::file_system_suite!(lazy_files, || async {
    let served = Served::start().await;
    let lazy = served.lazy(Arc::new(MemoryFileSystem::new()));
    lazy.process().exec(ExecRequest::program("true", [""; 0])).await.unwrap();
    let files: Fresh<dyn FileSystem> = Fresh::new(lazy.files());
    files.with_check(served.check()).with_guard(served)
});
