//! The README's first command, as a user types it: the facade alone with its default features, on a small directory.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
};

use crate::cargo::{Report, Step};

/// Runs it without a key, so that a script drives the tools, and looks for the report.
pub(crate) fn run() -> Report {
    let folder = Folder(env::temp_dir().join(format!("agentx-example-{}", process::id())));
    let (home, subject) = (folder.0.join("home"), folder.0.join("subject"));
    let prepared = fs::create_dir_all(&subject).and_then(|()| fs::write(subject.join("a.txt"), "hello\n"));
    if let Err(error) = prepared {
        return Report::failed(format!("{}: {error}", subject.display()));
    }
    let step = Step::new("run --example report --").arg(&subject.to_string_lossy());
    let mut report = step.env("AGENTX_HOME", &home.to_string_lossy()).without("ANTHROPIC_API_KEY").run();
    if report.failures.is_empty() && !has_report(&home).unwrap_or(false) {
        report.add(Report::failed(format!("no report below {}", home.display())));
    }
    report
}

fn has_report(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() { has_report(&path)? } else { path.ends_with("report.md") };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
    }
}
