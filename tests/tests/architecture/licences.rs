//! Under which licences the dependencies come.

use crate::{
    assert_none,
    workspace::{Package, Workspace},
};

/// What a user of AgentX can meet without asking a lawyer. `deny.toml` has the same list.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// An SPDX expression that is read from the left.
struct Expression<'a> {
    words: std::iter::Peekable<std::slice::Iter<'a, String>>,
}

impl Expression<'_> {
    /// Whether [`ALLOWED`] satisfies it: OR binds least, then AND, then WITH.
    fn any(&mut self) -> bool {
        let mut satisfied = self.all();
        while self.words.next_if(|word| *word == "OR").is_some() {
            satisfied |= self.all();
        }
        satisfied
    }

    fn all(&mut self) -> bool {
        let mut satisfied = self.one();
        while self.words.next_if(|word| *word == "AND").is_some() {
            satisfied &= self.one();
        }
        satisfied
    }

    fn one(&mut self) -> bool {
        if self.words.next_if(|word| *word == "(").is_some() {
            let satisfied = self.any();
            return self.words.next().is_some_and(|word| word == ")") && satisfied;
        }
        let mut licence = self.words.next().cloned().unwrap_or_default();
        if self.words.next_if(|word| *word == "WITH").is_some() {
            licence = format!("{licence} WITH {}", self.words.next().map_or("", String::as_str));
        }
        ALLOWED.contains(&licence.as_str())
    }
}

/// Whether a crate under `expression` may be used. A slash is the old way to write OR.
fn acceptable(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut expression = Expression { words: words.iter().peekable() };
    expression.any() && expression.words.next().is_none()
}

/// The crates whose licence is missing or not in the list.
fn refused(packages: &[Package]) -> Vec<String> {
    let licence = |package: &Package| package.licence.clone().unwrap_or_else(|| "none stated".to_owned());
    let refused = packages.iter().filter(|package| !acceptable(&licence(package)));
    refused.map(|package| format!("{}: {}", package.name, licence(package))).collect()
}

#[test]
fn every_licence_is_acceptable() {
    assert_none(&refused(&Workspace::load().packages));
}

#[test]
fn expressions_are_understood() {
    assert!(acceptable("MIT"));
    assert!(acceptable("MIT/Apache-2.0"));
    assert!(acceptable("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(acceptable("Apache-2.0 WITH LLVM-exception"));
    assert!(!acceptable("GPL-3.0"));
    assert!(!acceptable("MIT AND GPL-3.0"));
    assert!(!acceptable("MIT Apache-2.0"));
    assert!(!acceptable("Apache-2.0 WITH Other-exception"));
}

#[test]
fn a_licence_that_is_missing_or_not_in_the_list_is_found() {
    let package = |licence: Option<&str>| Package {
        name: "p".to_owned(),
        licence: licence.map(str::to_owned),
        ..Package::default()
    };
    assert_eq!(refused(&[package(Some("AGPL-3.0")), package(None)]), ["p: AGPL-3.0", "p: none stated"]);
}

#[test]
fn the_list_for_cargo_deny_is_the_same() {
    let deny = std::fs::read_to_string(crate::workspace::root().join("deny.toml")).unwrap();
    let listed: Vec<&str> =
        deny.split("allow = [").nth(1).unwrap().split(']').next().unwrap().split('"').collect();
    assert_eq!(listed.iter().skip(1).step_by(2).copied().collect::<Vec<_>>(), ALLOWED);
}
