//! Rule 1: which way the crates point.

use crate::{
    assert_none,
    workspace::{Package, Workspace},
};

const RESOURCE: &str = "agentx-resource";
const CORE: &str = "agentx-core";
const SQL: &str = "agentx-sql";
const KIT: &str = "agentx-conformance";

/// The crates of the workspace that `name` may depend on outside of its tests; `None` for what sees everything.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    match name {
        RESOURCE => Some(&[]),
        CORE => Some(&[RESOURCE]),
        "agentx-sandbox" | KIT => Some(&[CORE, RESOURCE]),
        SQL => Some(&[CORE]),
        _ if name.starts_with("agentx-driver-") => Some(&[CORE, RESOURCE]),
        _ if name.starts_with("agentx-provider-") => Some(&[CORE, RESOURCE, SQL]),
        _ => None,
    }
}

/// What a crate depends on and must not.
fn broken(package: &Package, members: &[&str]) -> Vec<String> {
    let own = package.dependencies.iter().filter(|name| members.contains(&name.as_str()));
    let wrong = own.filter(|name| match allowed(&package.name) {
        Some(allowed) => !allowed.contains(&name.as_str()),
        // The kit is a dev-dependency, never part of what a user compiles.
        None => package.published && *name == KIT,
    });
    wrong.map(|name| format!("{} must not depend on {name}", package.name)).collect()
}

#[test]
fn the_crates_point_one_way() {
    let workspace = Workspace::load();
    let members: Vec<&str> = workspace.members().map(|package| package.name.as_str()).collect();
    assert!(members.contains(&RESOURCE) && members.contains(&CORE) && members.contains(&KIT), "{members:?}");
    assert_none(&workspace.members().flat_map(|package| broken(package, &members)).collect::<Vec<_>>());
}

#[test]
fn a_wrong_direction_is_found() {
    let members =
        [RESOURCE, CORE, SQL, KIT, "agentx-driver-claude", "agentx-provider-local", "agentx-provider-x"];
    let find = |name: &str, dependency: &str| {
        let package = Package {
            name: name.to_owned(),
            published: true,
            dependencies: vec!["bytes".to_owned(), dependency.to_owned()],
            ..Package::default()
        };
        broken(&package, &members)
    };
    assert_eq!(find(RESOURCE, CORE), ["agentx-resource must not depend on agentx-core"]);
    assert_eq!(find("agentx-provider-x", "agentx-provider-local").len(), 1);
    assert_eq!(find("agentx-provider-x", "agentx-driver-claude").len(), 1);
    assert_eq!(find("agentx-driver-claude", "agentx-provider-local").len(), 1);
    assert_eq!(find("agentx-sandbox", "agentx-provider-local").len(), 1);
    assert_eq!(find("agentx", KIT).len(), 1);
    assert_none(&find("agentx-provider-x", SQL));
    assert_none(&find("agentx", "agentx-provider-local"));
}
