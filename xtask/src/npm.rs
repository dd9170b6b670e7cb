//! Components from npm: other makers' programs that suites run against, each pinned by the lock file beside its list.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

/// The file that a complete installation ends with.
const COMPLETE: &str = "complete";

/// How much of what npm says is told when it fails, in lines: the first ones have the cause.
const REASON_LINES: usize = 4;

/// The `node_modules` of `xtask/components/{name}`, installed into the user's cache unless it is there already. `Err`
/// says why it can't be had.
pub(crate) fn component(name: &str) -> Result<PathBuf, String> {
    component_of(name, &Path::new(env!("CARGO_MANIFEST_DIR")).join("components").join(name))
}

/// As [`component`], for the list and the lock file of a folder.
pub(crate) fn component_of(name: &str, source: &Path) -> Result<PathBuf, String> {
    let read = |file: &str| fs::read(source.join(file)).map_err(|error| format!("{name}/{file}: {error}"));
    let (list, lock) = (read("package.json")?, read("package-lock.json")?);
    let mut hasher = DefaultHasher::new();
    (&list, &lock).hash(&mut hasher);
    let cache = cache()?;
    let place = cache.join(format!("{name}-{:016x}", hasher.finish()));
    if !place.join(COMPLETE).exists() {
        let staging = cache.join(format!("{name}-{}.part", process::id()));
        let installed = install(name, &staging, &list, &lock).and_then(|()| publish(&staging, &place));
        // What is half there would only take room: whether it can be removed changes nothing of the answer.
        drop(fs::remove_dir_all(&staging));
        installed?;
    }
    Ok(place.join("node_modules"))
}

/// Where components are kept: `AGENTX_CACHE`, or `agentx` in the user's cache.
fn cache() -> Result<PathBuf, String> {
    let variable = |key| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = variable("AGENTX_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("agentx")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/agentx")))
        .ok_or("neither AGENTX_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    let components = root.join("components");
    fs::create_dir_all(&components).map_err(|error| format!("{}: {error}", components.display()))?;
    Ok(components)
}

/// Installs what the lock file names. No script of a package is run.
fn install(name: &str, staging: &Path, list: &[u8], lock: &[u8]) -> Result<(), String> {
    println!("$ npm ci  ({name})");
    let failed = |error: io::Error| format!("{}: {error}", staging.display());
    fs::create_dir(staging).map_err(failed)?;
    fs::write(staging.join("package.json"), list).map_err(failed)?;
    fs::write(staging.join("package-lock.json"), lock).map_err(failed)?;
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(staging)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm can't be run: {error}"))?;
    if output.status.success() {
        return fs::write(staging.join(COMPLETE), "").map_err(failed);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said =
        said.lines().map(|line| line.trim_start_matches("npm error").trim()).filter(|line| !line.is_empty());
    let reason: Vec<&str> = said.take(REASON_LINES).collect();
    Err(format!("`npm ci` of {name} failed: {}", reason.join(" ")))
}

/// Puts a complete installation in its place. Somebody else's, who was faster, is as good.
fn publish(staging: &Path, place: &Path) -> Result<(), String> {
    match fs::rename(staging, place) {
        Err(_) if place.join(COMPLETE).exists() => Ok(()),
        renamed => renamed.map_err(|error| format!("{}: {error}", place.display())),
    }
}
