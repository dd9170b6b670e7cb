//! What every process does, asked of this one.
#![cfg(test)]

#[path = "conformance/leftovers.rs"]
mod leftovers;

use agentx_conformance::Fresh;
use agentx_provider_local::LocalProcess;
use agentx_resource::{Process, Result};

fn commands(shell: Option<&str>) -> Result<Fresh<dyn Process>> {
    let dir = tempfile::tempdir().unwrap();
    let process = LocalProcess::new(dir.path())?;
    let process = match shell {
        Some(shell) => process.with_shell(shell),
        None => process,
    };
    Ok(Fresh::process(process).with_check(leftovers::check(dir.path())).with_guard(dir))
}

agentx_conformance::process_suite!(process, || async { commands(None) });
agentx_conformance::process_suite!(posix_shell, || async { commands(Some("/bin/sh")) });
