//! The crates and what they depend on, as cargo tells it.

use std::{collections::BTreeSet, env, fs, path::PathBuf, process::Command};

use serde_json::Value;

/// All crates of the lock file, on every platform.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
}

/// One crate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: Option<String>,
    /// Where it comes from; `None` for a crate of the workspace.
    pub(crate) source: Option<String>,
    pub(crate) published: bool,
    pub(crate) folder: PathBuf,
    /// What it depends on outside of its tests, optional or not.
    pub(crate) dependencies: Vec<String>,
}

impl Workspace {
    pub(crate) fn load() -> Self {
        let metadata = cargo(&["metadata", "--format-version", "1"]);
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        let packages = metadata["packages"].as_array().unwrap().iter().map(Package::read).collect();
        Self { packages }
    }

    /// The crates of the workspace itself.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_none())
    }

    /// The crates that others build on: all but programs, benchmarks, tests and tasks.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = &Package> {
        self.members().filter(|package| package.published && !package.folder.starts_with(root().join("apps")))
    }
}

impl Package {
    fn read(package: &Value) -> Self {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        Self {
            name: text("name").unwrap(),
            version: text("version").unwrap(),
            licence: text("license"),
            source: text("source"),
            published: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
            folder: PathBuf::from(text("manifest_path").unwrap()).parent().unwrap().to_owned(),
            dependencies: dependencies
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect(),
        }
    }

    /// A file of its folder.
    pub(crate) fn read_file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }
}

/// The external crates that are compiled for a user of `package`, each as `name version`.
pub(crate) fn tree(package: &str, options: &[&str]) -> BTreeSet<String> {
    let mut args = vec!["tree", "--package", package, "--prefix", "none", "--format", "{p}"];
    args.extend(options);
    let crates = cargo(&args);
    let external = crates.lines().filter(|line| !line.is_empty() && !line.contains("(/"));
    external.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn cargo(args: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
