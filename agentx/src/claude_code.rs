//! The claude CLI of this machine.

use std::{path::Path, sync::Arc};

use agentx_core::{Error, ErrorKind, Result};
use agentx_driver_claude::code::{ClaudeCode, ClaudeCodeSettings};
use agentx_provider_local::{ApiKey, LocalFileSystem, LocalProcess};
use agentx_resource::{FileSystemExt, ResourcePath};

use crate::SystemClock;

/// The claude CLI as a driver, which works in `directory`, with the key in the variable `ANTHROPIC_API_KEY`, at
/// `ANTHROPIC_BASE_URL` where that is set; for another, there is [`ClaudeCode::with_supply`]. Of this program's own
/// environment the CLI gets nothing else but `PATH`.
///
/// ```no_run
/// use agentx::{AgentBuilder, claude::code::ClaudeCodeSettings};
///
/// # async fn run() -> agentx::Result<()> {
/// let program = agentx::find_claude_code("node_modules").await?;
/// let settings = ClaudeCodeSettings::new("/var/lib/my-agent/home").with_program(program);
/// let agent = AgentBuilder::new(agentx::claude_code("project", settings)?).build().await?;
/// println!("{}", agent.ask("What is in this project?").await?.text);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `NotFound`, `NotADirectory` or `PermissionDenied` for a directory that can't be used. A missing key or program is an
/// error of the first turn.
pub fn claude_code(directory: impl AsRef<Path>, settings: ClaudeCodeSettings) -> Result<ClaudeCode> {
    let key = ApiKey::from_env("ANTHROPIC_API_KEY").with_base_url_from_env("ANTHROPIC_BASE_URL");
    let process = LocalProcess::new(directory.as_ref())?;
    Ok(ClaudeCode::new(Arc::new(process), settings, Arc::new(SystemClock)).with_supply(Arc::new(key)))
}

/// The claude CLI in this `node_modules`, where npm has put the package `@anthropic-ai/claude-code`: the program itself, in
/// the package of this platform, which needs no Node to run.
///
/// # Errors
/// `NotFound` where it is not there; `InvalidPath` for a path that is not UTF-8; what the file system reports.
pub async fn find_claude_code(node_modules: impl AsRef<Path> + Send) -> Result<String> {
    let node_modules = node_modules.as_ref();
    // The local provider is Linux's alone.
    let platform = if cfg!(target_arch = "x86_64") { "linux-x64" } else { "linux-arm64" };
    let files = LocalFileSystem::open(node_modules)?;
    let error = |kind| Error::new(kind, "find claude").with_path(node_modules.display());
    for libc in ["", "-musl"] {
        let program = format!("@anthropic-ai/claude-code-{platform}{libc}/claude");
        if files.exists(&ResourcePath::new(format!("/{program}"))?).await? {
            let path = node_modules.join(&program).into_os_string();
            return path.into_string().map_err(|_| error(ErrorKind::InvalidPath));
        }
    }
    let package = format!("@anthropic-ai/claude-code-{platform}");
    Err(error(ErrorKind::NotFound)
        .with_message(format!("there is no {package}; npm installs it with @anthropic-ai/claude-code")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn the_program_is_found_in_the_package_of_this_platform() {
        let modules = tempfile::tempdir().unwrap();
        let missing = find_claude_code(modules.path()).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
        // What npm leaves of the package itself is no program.
        fs::create_dir_all(modules.path().join("@anthropic-ai/claude-code/bin")).unwrap();
        fs::write(modules.path().join("@anthropic-ai/claude-code/bin/claude.exe"), "").unwrap();
        assert!(find_claude_code(modules.path()).await.is_err());
        let arch = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
        for libc in ["-musl", ""] {
            let package = modules.path().join(format!("@anthropic-ai/claude-code-linux-{arch}{libc}"));
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("claude"), "").unwrap();
            let found = find_claude_code(modules.path()).await.unwrap();
            assert_eq!(found, package.join("claude").to_str().unwrap());
        }
    }
}
