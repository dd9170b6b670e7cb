//! The suites over the layers that watch, bound and repeat what a resource does.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentx_conformance::{Fresh, Profile, env, llm, process::toolbox};
use agentx_resource::{
    ApiSupply, BoxFuture, Clock, Env, FileSystem, LLMProvider, Layer, Process,
    layer::{Limit, Meter, Retry, Timeout, Trace},
    memory::{MemoryEnv, MemoryFileSystem, MemoryLlmProvider},
};

agentx_conformance::file_system_suite!(trace, || async { over_files(&Trace) });
agentx_conformance::file_system_suite!(retry, || async { over_files(&given::retry()) });
agentx_conformance::file_system_suite!(timeout, || async { over_files(&given::timeout()) });
agentx_conformance::file_system_suite!(limit, || async { over_files(&given::limit()) });
agentx_conformance::file_system_suite!(meter, || async { over_files(&given::meter()) });
agentx_conformance::file_system_suite!(stacked, || async {
    let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let fs = given::limit().layer(given::meter().layer(fs));
    Fresh::new(given::retry().layer(given::timeout().layer(fs)))
});

agentx_conformance::process_suite!(trace_process, || async { over_programs(&Trace) }, no_ids());
agentx_conformance::process_suite!(timeout_process, || async { over_programs(&given::timeout()) }, no_ids());
agentx_conformance::process_suite!(limit_process, || async { over_programs(&given::limit()) }, no_ids());
agentx_conformance::process_suite!(meter_process, || async { over_programs(&given::meter()) }, no_ids());

agentx_conformance::env_suite!(trace_env, || async { over_settings(&Trace) });
agentx_conformance::env_suite!(retry_env, || async { over_settings(&given::retry()) });
agentx_conformance::env_suite!(meter_env, || async { over_settings(&given::meter()) });

agentx_conformance::llm_provider_suite!(trace_llm, || async { over_supply(&Trace) });
agentx_conformance::llm_provider_suite!(retry_llm, || async { over_supply(&given::retry()) });
agentx_conformance::llm_provider_suite!(timeout_llm, || async { over_supply(&given::timeout()) });

mod given {
    use super::*;

    pub(super) fn retry() -> Retry {
        Retry::new(Arc::new(TokioClock))
    }

    pub(super) fn timeout() -> Timeout {
        Timeout::new(Arc::new(TokioClock), Duration::from_mins(1))
    }

    /// As many as a case has operations open at once.
    pub(super) fn limit() -> Limit {
        Limit::new(NonZeroUsize::MIN.saturating_add(20))
    }

    pub(super) fn meter() -> Meter {
        Meter::new(Arc::new(TokioClock))
    }
}

fn over_files(layer: &impl Layer<dyn FileSystem>) -> Fresh<dyn FileSystem> {
    Fresh::new(layer.layer(Arc::new(MemoryFileSystem::new())))
}

fn over_programs(layer: &impl Layer<dyn Process>) -> Fresh<dyn Process> {
    Fresh::new(layer.layer(Arc::new(toolbox(Arc::new(TokioClock)))))
}

fn over_settings(layer: &impl Layer<dyn Env>) -> agentx_resource::Result<Fresh<dyn Env>> {
    Ok(Fresh::new(layer.layer(Arc::new(MemoryEnv::new(env::SETTINGS)?))))
}

fn over_supply(layer: &impl Layer<dyn LLMProvider<ApiSupply>>) -> Fresh<dyn LLMProvider<ApiSupply>> {
    Fresh::new(layer.layer(Arc::new(MemoryLlmProvider::new("fixed", ApiSupply::new(llm::KEY)))))
}

fn no_ids() -> Profile {
    let reason = "a Rust function has no process id and gets no signal";
    Profile::new().deviates("kill-tree", reason).deviates("drop-ends", reason).deviates("exit-signal", reason)
}

#[derive(Debug)]
struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
