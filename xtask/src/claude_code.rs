//! The suite `claude-code`: runs the tests that need the claude CLI, against two versions of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

use crate::{
    cargo::{Report, Step},
    npm,
};

/// The package whose tests need the CLI; they are ignored elsewhere.
pub(crate) const PACKAGE: &str = "agentx-tests-claude-code";

/// The versions: the variable by which the tests find one, and the component that has it.
const VERSIONS: [(&str, &str); 2] =
    [("AGENTX_CLAUDE_CODE", "claude-code"), ("AGENTX_CLAUDE_CODE_OLDER", "claude-code-older")];

/// The file in which the tests note the versions that their server saw.
const SEEN: &str = "AGENTX_CLAUDE_CODE_SEEN";

/// Sets up the programs.
pub(crate) fn ready() -> Result<(), String> {
    VERSIONS.iter().try_for_each(|(_, component)| program(component).map(drop))
}

/// Runs the tests.
pub(crate) fn run() -> Report {
    let seen = env::temp_dir().join(format!("agentx-claude-code-{}", process::id()));
    let mut tests = Step::ignored_tests(PACKAGE);
    for (variable, component) in VERSIONS {
        match program(component) {
            Ok(program) => tests = tests.env(variable, &program.to_string_lossy()),
            Err(why) => return Report::failed(why),
        }
    }
    let mut report = tests.env(SEEN, &seen.to_string_lossy()).run_tests();
    match fs::read_to_string(&seen) {
        Ok(versions) => versions.lines().for_each(|version| println!("the server was asked by {version}")),
        Err(error) => report.add(Report::failed(format!("no version was noted: {error}"))),
    }
    // It is in the system's folder for such files; whether it can be removed changes nothing of the answer.
    drop(fs::remove_file(&seen));
    report
}

/// The CLI itself, in the package of this platform.
fn program(component: &str) -> Result<PathBuf, String> {
    let modules = npm::component(component)?;
    let package = format!("claude-code-{}", platform()?);
    let program = modules.join("@anthropic-ai").join(&package).join("claude");
    if Path::is_file(&program) {
        return Ok(program);
    }
    Err(format!("npm installed no @anthropic-ai/{package}"))
}

/// This platform, by npm's name for it.
fn platform() -> Result<&'static str, String> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        (os, arch) => Err(format!("there is no package of the claude CLI for {os} on {arch}")),
    }
}
