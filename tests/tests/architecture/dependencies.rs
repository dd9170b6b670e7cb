//! What the crates take from others: how much, and what not.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    assert_none,
    workspace::{Package, Workspace, tree},
};

/// The most that the contract may depend on directly.
const RESOURCE_DEPENDENCIES: usize = 8;

/// The most crates that a program with the facade's default features compiles.
const PROGRAM_CRATES: usize = 150;

/// Crates that reach the machine by themselves. Only the provider of local resources uses them directly.
const AMBIENT: &[&str] = &[
    "async-fs",
    "async-process",
    "cap-std",
    "dirs",
    "dotenvy",
    "libc",
    "nix",
    "notify",
    "rustix",
    "walkdir",
];

/// Crates whose place another one has.
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys"];

/// Crates that are too heavy, or too central, to be compiled in two versions.
const ONCE: &[&str] = &[
    "axum",
    "bytes",
    "futures-util",
    "http",
    "hyper",
    "libsqlite3-sys",
    "object_store",
    "regex",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "serde",
    "serde_json",
    "tokio",
    "tower",
];

/// Whether a crate is an async runtime, HTTP or TLS.
fn runs_or_connects(name: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "actix",
        "async-global-executor",
        "async-std",
        "aws-lc",
        "curl",
        "h2",
        "h3",
        "http",
        "hyper",
        "isahc",
        "mio",
        "native-tls",
        "openssl",
        "quinn",
        "reqwest",
        "ring",
        "rustls",
        "schannel",
        "smol",
        "socket2",
        "surf",
        "tokio",
        "tungstenite",
        "ureq",
        "webpki",
    ];
    FAMILIES
        .iter()
        .any(|family| name == *family || name.strip_prefix(family).is_some_and(|rest| rest.starts_with('-')))
}

/// The runtimes and clients among `crates`, each given as `name version`.
fn heavy(package: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let names = crates.iter().filter(|one| runs_or_connects(one.split(' ').next().unwrap_or(one)));
    names.map(|one| format!("{package} pulls in {one}")).collect()
}

/// The crates of [`AMBIENT`] that a library other than the local provider uses.
fn ambient(package: &Package) -> Vec<String> {
    let exempt = package.name == "agentx-provider-local";
    let used = package.dependencies.iter().filter(|name| !exempt && AMBIENT.contains(&name.as_str()));
    used.map(|name| format!("{} reaches the machine through {name}", package.name)).collect()
}

/// Versions of the crates of [`ONCE`] beyond the first.
fn doubled(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|name, versions| ONCE.contains(name) && versions.len() > 1);
    versions.iter().map(|(name, versions)| format!("{name} in several versions: {versions:?}")).collect()
}

/// Crates that are banned, or that come from elsewhere than crates.io.
fn refused(packages: &[Package]) -> Vec<String> {
    let from = |package: &Package| package.source.clone().unwrap_or_default();
    let foreign = packages.iter().filter(|package| {
        package.source.is_some() && from(package) != "registry+https://github.com/rust-lang/crates.io-index"
    });
    let banned = packages.iter().filter(|package| BANNED.contains(&package.name.as_str()));
    let foreign = foreign.map(|package| format!("{} comes from {}", package.name, from(package)));
    foreign.chain(banned.map(|package| format!("{} is banned", package.name))).collect()
}

#[test]
fn contract_and_domain_pull_in_no_runtime_and_no_network() {
    for package in ["agentx-resource", "agentx-core"] {
        let crates = tree(package, &["--edges", "normal", "--target", "all", "--all-features"]);
        assert!(crates.iter().any(|one| one.starts_with("bytes ")), "the tree is not read: {crates:?}");
        assert_none(&heavy(package, &crates));
    }
}

#[test]
fn the_contract_is_light() {
    let workspace = Workspace::load();
    let resource = workspace.members().find(|package| package.name == "agentx-resource").unwrap();
    let count = resource.dependencies.len();
    assert!(
        (1..=RESOURCE_DEPENDENCIES).contains(&count),
        "{count} dependencies: {:?}",
        resource.dependencies
    );
}

#[test]
fn a_program_compiles_few_crates() {
    let options = ["--edges", "normal,build", "--no-default-features", "--features", "local,claude"];
    let crates = tree("agentx", &options);
    assert!((1..=PROGRAM_CRATES).contains(&crates.len()), "{} crates: {crates:#?}", crates.len());
}

#[test]
fn only_the_local_provider_reaches_the_machine_through_a_crate() {
    assert_none(&Workspace::load().libraries().flat_map(ambient).collect::<Vec<_>>());
}

#[test]
fn nothing_heavy_is_compiled_twice() {
    assert_none(&doubled(&Workspace::load().packages));
}

#[test]
fn every_crate_is_from_the_registry_and_none_is_banned() {
    assert_none(&refused(&Workspace::load().packages));
}

#[test]
fn a_runtime_or_a_client_is_found() {
    let crates =
        ["bytes v1.0.0", "httpdate v1.0.0", "tokio-util v0.7.0", "hyper v1.0.0", "rustls-pki-types v1.0.0"];
    let crates = crates.iter().map(|&one| one.to_owned()).collect();
    let found = heavy("p", &crates);
    assert_eq!(
        found,
        ["p pulls in hyper v1.0.0", "p pulls in rustls-pki-types v1.0.0", "p pulls in tokio-util v0.7.0"]
    );
}

#[test]
fn a_doubled_a_foreign_and_a_banned_crate_are_found() {
    let package = |name: &str, version: &str, source: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        source: Some(source.to_owned()),
        dependencies: vec!["libc".to_owned()],
        ..Package::default()
    };
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let packages = [
        package("tokio", "1.0.0", registry),
        package("tokio", "2.0.0", registry),
        package("openssl-sys", "1.0.0", registry),
        package("fork", "1.0.0", "git+https://example.com/fork"),
    ];
    assert_eq!(doubled(&packages).len(), 1);
    assert_eq!(refused(&packages), ["fork comes from git+https://example.com/fork", "openssl-sys is banned"]);
    assert_eq!(ambient(&packages[3]), ["fork reaches the machine through libc"]);
}
