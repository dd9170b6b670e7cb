//! What every crate takes from the workspace, and what a published one says of itself.

use crate::{assert_none, workspace::Workspace};

/// Lines that stand in every manifest.
const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "authors.workspace = true",
    "license.workspace = true",
];

/// The lines that a manifest lacks.
fn missing(manifest: &str, published: bool) -> Vec<String> {
    let has = |wanted: &str| manifest.lines().any(|line| line == wanted);
    let begins = |wanted: &str| manifest.lines().any(|line| line.starts_with(wanted));
    let mut missing: Vec<String> =
        INHERITED.iter().filter(|line| !has(line)).map(|&line| line.to_owned()).collect();
    if !manifest.contains("[lints]\nworkspace = true") {
        missing.push("[lints] workspace = true".to_owned());
    }
    if published {
        let wanted =
            ["repository.workspace = true", "categories.workspace = true", "keywords.workspace = true"];
        missing.extend(wanted.iter().filter(|line| !has(line)).map(|&line| line.to_owned()));
        let wanted = ["description = ", "readme = "];
        missing.extend(wanted.iter().filter(|key| !begins(key)).map(|&key| format!("{key}…")));
    }
    missing
}

#[test]
fn every_crate_follows_the_workspace() {
    let mut broken = Vec::new();
    for package in Workspace::load().members() {
        let manifest = package.read_file("Cargo.toml").unwrap();
        let missing = missing(&manifest, package.published);
        broken.extend(missing.into_iter().map(|line| format!("{}: Cargo.toml lacks {line}", package.name)));
    }
    assert_none(&broken);
}

#[test]
fn a_crate_that_goes_its_own_way_is_found() {
    let complete = INHERITED.join("\n") + "\n[lints]\nworkspace = true\n";
    assert_none(&missing(&complete, false));
    assert_eq!(
        missing(&complete.replace("authors.workspace", "authors"), false),
        ["authors.workspace = true"]
    );
    assert_eq!(missing(&complete.replace("[lints]", "[other]"), false), ["[lints] workspace = true"]);
    assert_eq!(missing(&complete, true).len(), 5);
}
