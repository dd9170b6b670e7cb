//! The suite `webchat`: the page of AgentVM is what its sources make, and works in a real browser.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{
    cargo::{Report, Step},
    npm,
    tally::Tally,
};

/// Where the page's sources are, below the workspace's root.
const SOURCES: &str = "apps/agentvm/webchat";

/// The browser, as Debian's package installs it.
const BROWSER: &str = "/usr/bin/chromium";

/// Sets up what builds the page, and the browser.
pub(crate) fn ready() -> Result<(), String> {
    modules()?;
    if Path::new(BROWSER).exists() {
        return Ok(());
    }
    let missing = "there is no Chromium; `apt-get install chromium` adds it, as root on Debian";
    for args in [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "chromium"]] {
        let done = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").output();
        if !done.is_ok_and(|output| output.status.success()) {
            return Err(missing.to_owned());
        }
    }
    if Path::new(BROWSER).exists() { Ok(()) } else { Err(missing.to_owned()) }
}

/// Builds the page anew and compares, and then runs the browser's script.
pub(crate) fn run() -> Report {
    let work = env::temp_dir().join(format!("agentx-webchat-{}", process::id()));
    let mut report = Step::new("build --quiet --package agentvm").run();
    match copy(&work) {
        Ok(()) => {
            report.add(rebuilt(&work));
            report.add(browsed(&work));
        }
        Err(why) => report.add(Report::failed(why)),
    }
    // It is in the system's folder for such files; whether it can be removed changes nothing of the answer.
    drop(fs::remove_dir_all(&work));
    report
}

/// The folder of the sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SOURCES)
}

fn modules() -> Result<PathBuf, String> {
    npm::component_of("webchat", &sources())
}

/// The sources, with what they need beside them.
fn copy(work: &Path) -> Result<(), String> {
    let modules = modules()?;
    let failed = |error: io::Error| format!("{}: {error}", work.display());
    fs::create_dir_all(work.join("src")).map_err(failed)?;
    for folder in ["", "src"] {
        for entry in fs::read_dir(sources().join(folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                fs::copy(entry.path(), work.join(folder).join(entry.file_name())).map_err(failed)?;
            }
        }
    }
    std::os::unix::fs::symlink(modules, work.join("node_modules")).map_err(failed)
}

/// Whether the files that are part of the program are what the sources make.
fn rebuilt(work: &Path) -> Report {
    println!("$ npm run build  ({SOURCES})");
    if let Err(why) = node(work, &["npm", "run", "--silent", "build"]) {
        return Report::failed(why);
    }
    let mut report = Report { tally: Tally::PASSED, failures: Vec::new() };
    for file in ["index.html", "app.js", "app.css"] {
        let (made, kept) =
            (fs::read(work.join("dist").join(file)), fs::read(sources().join("dist").join(file)));
        let same = matches!((made, kept), (Ok(made), Ok(kept)) if made == kept);
        if !same {
            report.add(Report::failed(format!("{SOURCES}/dist/{file} is not what its sources make")));
        }
    }
    report
}

/// The browser's script, which counts its own cases.
fn browsed(work: &Path) -> Report {
    println!("$ node test.mjs  ({SOURCES})");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/avm");
    let program = program.to_string_lossy();
    match node(work, &["node", "test.mjs", &program, BROWSER]) {
        Ok(told) => {
            let passed = told.lines().filter(|line| line.starts_with("ok ")).count() as u64;
            print!("{told}");
            Report { tally: Tally { passed, ..Tally::default() }, failures: Vec::new() }
        }
        Err(why) => Report::failed(why),
    }
}

/// Runs a program of Node's in a folder, and gives what it prints.
fn node(work: &Path, command: &[&str]) -> Result<String, String> {
    let (program, args) = command.split_first().ok_or("no program")?;
    let output = Command::new(program).args(args).current_dir(work).output();
    let output = output.map_err(|error| format!("{program} can't be run: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(told);
    }
    Err(format!("{}: {told}{}", command.join(" "), String::from_utf8_lossy(&output.stderr)))
}
