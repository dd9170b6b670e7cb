//! What the manifests say, by `cargo metadata`.

use serde_json::Value;

use crate::cargo::Step;

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether it goes to crates.io.
    pub(crate) published: bool,
    pub(crate) features: Vec<String>,
}

/// The crates of the workspace.
pub(crate) fn packages() -> Result<Vec<Package>, String> {
    let json = Step::new("metadata --no-deps --format-version 1").output()?;
    let metadata: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata lists no packages")?;
    packages
        .iter()
        .map(|package| Package::read(package).ok_or("a package without a name".to_owned()))
        .collect()
}

impl Package {
    fn read(package: &Value) -> Option<Self> {
        let features = package.get("features")?.as_object()?;
        Some(Self {
            name: package.get("name")?.as_str()?.to_owned(),
            // `publish = false` is told as an empty list of registries.
            published: package.get("publish").and_then(Value::as_array).is_none_or(|list| !list.is_empty()),
            // One that begins with `_` is a part of others, and not for use by itself.
            features: features
                .keys()
                .filter(|name| *name != "default" && !name.starts_with('_'))
                .cloned()
                .collect(),
        })
    }

    /// The feature selections that `--all-features` does not show: none, and each alone.
    pub(crate) fn small_selections(&self) -> Vec<String> {
        if self.features.is_empty() {
            return Vec::new();
        }
        let alone = self.features.iter().filter(|_| self.features.len() > 1);
        let mut selections = vec!["--no-default-features".to_owned()];
        selections.extend(alone.map(|feature| format!("--no-default-features --features {feature}")));
        selections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(features: &[&str]) -> Package {
        let features = features.iter().map(|&feature| feature.to_owned()).collect();
        Package { name: "p".to_owned(), published: true, features }
    }

    #[test]
    fn features_are_tried_alone_where_there_are_several() {
        assert!(package(&[]).small_selections().is_empty());
        assert_eq!(package(&["a"]).small_selections(), ["--no-default-features"]);
        assert_eq!(
            package(&["a", "b"]).small_selections(),
            [
                "--no-default-features",
                "--no-default-features --features a",
                "--no-default-features --features b"
            ]
        );
    }

    #[test]
    fn this_workspace_is_read() {
        let packages = packages().unwrap();
        let find = |name| packages.iter().find(|package| package.name == name).unwrap();
        assert!(find("agentx-resource").published);
        assert!(!find("xtask").published);
    }
}
