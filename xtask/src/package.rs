//! What would go to crates.io: each published crate packed, and built from its package.
//!
//! `cargo package` can build the packages too, but keeps what it unpacked by name and version: with a version that is
//! not published yet, the second run would look at the sources of the first. So the packages are unpacked here.

use std::{fs, io, path::Path, process::Command};

use crate::{
    cargo::{Report, Step, root},
    workspace,
};

/// Files that every package has.
const FILES: &[&str] = &["Cargo.toml", "README.md"];

/// A library or a program: every package has one of these.
const ROOTS: &[&str] = &["src/lib.rs", "src/main.rs"];

/// Packs, unpacks and builds.
pub(crate) fn run() -> Report {
    let names: Vec<String> = match workspace::packages() {
        Ok(packages) => {
            packages.into_iter().filter(|package| package.published).map(|package| package.name).collect()
        }
        Err(why) => return Report::failed(why),
    };
    // What is not committed yet is packed too, so that this can be run before a commit.
    let mut pack = Step::new("package --allow-dirty --no-verify --target-dir target/packages");
    for name in &names {
        pack = pack.arg("--package").arg(name);
    }
    let mut report = pack.run();
    if !report.failures.is_empty() {
        return report;
    }
    let folder = root().join("target/packages/unpacked");
    match unpack(&root().join("target/packages/package"), &folder, &names) {
        Ok(missing) => missing.into_iter().for_each(|file| report.add(Report::failed(file))),
        Err(error) => {
            report.add(Report::failed(format!("{}: {error}", folder.display())));
            return report;
        }
    }
    let build = "check --workspace --all-features --target-dir target --manifest-path";
    report.add(Step::new(build).arg("target/packages/unpacked/Cargo.toml").run());
    report
}

/// Unpacks the packages below `folder`, as a workspace whose members see each other. Answers what a package lacks.
fn unpack(packages: &Path, folder: &Path, names: &[String]) -> io::Result<Vec<String>> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir_all(folder)?,
    }
    let mut missing = Vec::new();
    let mut members = Vec::new();
    for name in names {
        let package = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
        // With the present time (-m): the fixed one in a package would hide from cargo that a file has changed.
        let archive = packages.join(format!("{package}.crate"));
        let status = Command::new("tar").arg("-xzmf").arg(&archive).arg("-C").arg(folder).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("tar can't unpack {}", archive.display())));
        }
        let absent = FILES.iter().filter(|file| !folder.join(&package).join(file).is_file());
        missing.extend(absent.map(|file| format!("the package of {name} has no {file}")));
        if !ROOTS.iter().any(|file| folder.join(&package).join(file).is_file()) {
            missing.push(format!("the package of {name} has neither of {}", ROOTS.join(", ")));
        }
        members.push((name.as_str(), package));
    }
    fs::write(folder.join("Cargo.toml"), manifest(&members))?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(missing)
}

/// The manifest of a workspace of these folders, each given with the name of its crate.
fn manifest(members: &[(&str, String)]) -> String {
    let folders: Vec<String> = members.iter().map(|(_, folder)| format!("{folder:?}")).collect();
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n", folders.join(", "));
    // As in the workspace, so that the dependencies are not built once more.
    text += "[profile.dev]\ndebug = \"line-tables-only\"\n\n[patch.crates-io]\n";
    for (name, folder) in members {
        text += &[name, " = { path = \"", folder, "\" }\n"].concat();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_see_each_other_and_not_the_registry() {
        let text = manifest(&[("a", "a-1.0.0".to_owned()), ("b", "b-1.0.0".to_owned())]);
        assert!(text.contains(r#"members = ["a-1.0.0", "b-1.0.0"]"#), "{text}");
        assert!(
            text.contains("[patch.crates-io]\na = { path = \"a-1.0.0\" }\nb = { path = \"b-1.0.0\" }\n"),
            "{text}"
        );
    }
}
