//! The suites over the resources in memory, which are what the suites say.

use std::sync::Arc;

use agentx_conformance::{
    Fresh, Profile, TokioClock, env, limits::Limits, llm, pair::Pair, process::toolbox,
};
use agentx_resource::{
    ApiSupply, FileSystem,
    memory::{MemoryDisk, MemoryEnv, MemoryFileSystem, MemoryLlmProvider},
};

agentx_conformance::file_system_suite!(file_system, || async { Fresh::file_system(MemoryFileSystem::new()) });

agentx_conformance::limits_suite!(limits, || async {
    Fresh::limited(Arc::new(MemoryFileSystem::new()), Limits::new())
});

agentx_conformance::process_suite!(
    process,
    || async { Fresh::process(toolbox(Arc::new(TokioClock))) },
    no_ids()
);

agentx_conformance::pair_suite!(pair, || async { paired("/") });
agentx_conformance::pair_suite!(pair_elsewhere, || async { paired("/home/me/project") });

agentx_conformance::env_suite!(memory_env, || async { MemoryEnv::new(env::SETTINGS).map(Fresh::env) });

agentx_conformance::disk_suite!(memory_disk, || async { Fresh::disk(MemoryDisk::new("d")) });

agentx_conformance::llm_provider_suite!(memory_llm, || async {
    Fresh::llm_provider(MemoryLlmProvider::new("fixed", ApiSupply::new(llm::KEY)))
});

/// Programs that see the files at `root`.
fn paired(root: &str) -> Fresh<Pair> {
    let files: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let process = toolbox(Arc::new(TokioClock)).with_root(root).with_file_system(Arc::clone(&files));
    Fresh::pair(files, Arc::new(process))
}

fn no_ids() -> Profile {
    let reason = "a Rust function has no process id and gets no signal";
    Profile::new().deviates("kill-tree", reason).deviates("drop-ends", reason).deviates("exit-signal", reason)
}
