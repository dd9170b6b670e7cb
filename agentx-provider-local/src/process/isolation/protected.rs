//! Paths inside a writable place that stay as they are.
//!
//! A mount over a path can't be written through, and can't be moved or removed; nor can a directory be moved that is a
//! mount itself. So each directory on the way becomes a mount, and the path at its end a read-only one. Where a path is
//! to be held that is not there, an empty [stand-in](super::stand_in) takes its place on the host.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Component, Path, PathBuf},
};

use agentx_resource::{Error, Result};

use super::{files, plan::Mount, stand_in::StandIn, view::text};
use crate::process::failure;

const READ_ONLY: u64 = 1;

/// Which paths are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Protected {
    /// These, also where they are not there.
    pub(super) always: Vec<String>,
    /// These, where they are there.
    pub(super) if_present: Vec<String>,
}

impl Protected {
    pub(super) fn is_none(&self) -> bool {
        self.always.is_empty() && self.if_present.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.always.iter().chain(&self.if_present)
    }
}

/// What stands in for what is missing, as long as this lives.
#[derive(Debug, Default)]
pub(in crate::process) struct StandIns(Vec<StandIn>);

impl StandIns {
    /// Makes ready what these paths need below these places of the host.
    pub(super) fn make<'a>(
        protected: &Protected,
        places: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self> {
        let mut made = Self::default();
        for place in places {
            for path in &protected.always {
                made.0.extend(hold(place, check(path)?)?);
            }
            for path in &protected.if_present {
                made.0.extend(complete(place, check(path)?, path.ends_with('/'))?);
            }
        }
        Ok(made)
    }
}

/// What is found on the way to a protected path.
enum Found {
    Directory,
    /// What keeps all below it from being made: a file, or what stands in.
    End(Option<StandIn>),
    Nothing,
}

fn look(at: &Path) -> Result<Found> {
    if let Some(stand_in) = StandIn::share(at).map_err(|error| failed(at, error))? {
        return Ok(Found::End(Some(stand_in)));
    }
    match fs::symlink_metadata(at) {
        Ok(metadata) if metadata.is_symlink() => {
            Err(files::invalid(at).with_message("leads through a symbolic link, which can't be protected"))
        }
        Ok(metadata) if metadata.is_dir() => Ok(Found::Directory),
        // In the place of a directory it is protected itself.
        Ok(_) => Ok(Found::End(None)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(failed(at, error)),
    }
}

/// Has something stand at the first part of the path that is missing.
fn hold(place: &Path, path: &Path) -> Result<Option<StandIn>> {
    let mut at = place.to_owned();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        at.push(component);
        match look(&at)? {
            Found::Directory => {}
            Found::End(stand_in) => return Ok(stand_in),
            Found::Nothing => {
                let is_dir = components.peek().is_some();
                return StandIn::make(&at, is_dir).map(Some).map_err(|error| failed(&at, error));
            }
        }
    }
    Ok(None)
}

/// Where the first part of the path is there, makes what is missing behind it, for good: a repository without hooks is
/// given a directory for them. What nobody needs any more of what stood in for it goes.
fn complete(place: &Path, path: &Path, is_dir: bool) -> Result<Option<StandIn>> {
    let mut at = place.to_owned();
    let mut components = path.components().peekable();
    let mut is_first = true;
    while let Some(component) = components.next() {
        at.push(component);
        StandIn::clear(&at);
        match look(&at)? {
            Found::Directory => {}
            Found::End(stand_in) => return Ok(stand_in),
            Found::Nothing if is_first => return Ok(None),
            Found::Nothing => {
                let made = if is_dir || components.peek().is_some() {
                    fs::create_dir(&at)
                } else {
                    OpenOptions::new().write(true).create_new(true).open(&at).map(drop)
                };
                match made {
                    // Another host comes to the same.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    made => made.map_err(|error| failed(&at, error))?,
                }
            }
        }
        is_first = false;
    }
    Ok(None)
}

fn failed(at: &Path, error: io::Error) -> Error {
    failure("isolate", error).with_path(at.display())
}

/// The mounts that protect these paths below a place of the host, seen at another path. What is to be held is there.
pub(super) fn pins(protected: &Protected, host: &Path, seen: &Path) -> Result<Vec<Mount>> {
    let mut pins: Vec<(PathBuf, u64)> = Vec::new();
    for path in protected.all() {
        let mut below = PathBuf::new();
        let mut components = check(path)?.components().peekable();
        while let Some(component) = components.next() {
            below.push(component);
            let Ok(metadata) = fs::symlink_metadata(host.join(&below)) else { break };
            let is_last = components.peek().is_none() || !metadata.is_dir() || is_empty(&host.join(&below));
            pins.push((below.clone(), if is_last { READ_ONLY } else { 0 }));
            if is_last {
                break;
            }
        }
    }
    // Of two opinions about one directory the stricter counts; what is above comes first.
    pins.sort_by(|(a, strict_a), (b, strict_b)| a.cmp(b).then(strict_b.cmp(strict_a)));
    pins.dedup_by(|(later, _), (earlier, _)| later == earlier);
    let sealed: Vec<_> =
        pins.iter().filter(|(_, strict)| *strict != 0).map(|(path, _)| path.clone()).collect();
    pins.retain(|(path, _)| !sealed.iter().any(|seal| path != seal && path.starts_with(seal)));
    pins.into_iter()
        .map(|(path, attributes)| Ok(Mount::Pin { path: text(seen.join(path))?, attributes }))
        .collect()
}

/// A directory that stands in holds nothing, and is protected as a whole.
fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn check(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    let is_plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    if path.as_os_str().is_empty() || !is_plain {
        return Err(files::invalid(path).with_message("a protected path is relative and has no `..`"));
    }
    text(path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(paths: &[&str]) -> Protected {
        Protected { always: paths.iter().map(|path| (*path).to_owned()).collect(), if_present: Vec::new() }
    }

    fn if_present(paths: &[&str]) -> Protected {
        Protected { always: Vec::new(), if_present: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    fn shown(pins: &[Mount]) -> Vec<(String, u64)> {
        let show = |pin: &Mount| match pin {
            Mount::Pin { path, attributes } => (path.to_str().unwrap().to_owned(), *attributes),
            other => panic!("{other:?}"),
        };
        pins.iter().map(show).collect()
    }

    #[test]
    fn what_is_on_the_way_is_pinned_and_the_end_sealed() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join(".git/hooks")).unwrap();
        fs::write(place.path().join(".git/config"), "").unwrap();
        let protected = always(&[".git/hooks/", ".git/config", ".bashrc"]);
        let stand_ins = StandIns::make(&protected, [place.path()]).unwrap();
        let pins = pins(&protected, place.path(), Path::new("/w")).unwrap();
        let expected = [("/w/.bashrc", 1), ("/w/.git", 0), ("/w/.git/config", 1), ("/w/.git/hooks", 1)];
        assert_eq!(shown(&pins), expected.map(|(path, attributes)| (path.to_owned(), attributes)));
        assert!(place.path().join(".bashrc").is_file());
        drop(stand_ins);
        assert!(!place.path().join(".bashrc").exists() && place.path().join(".git/config").exists());
    }

    #[test]
    fn the_first_that_is_missing_is_sealed_and_goes_with_the_isolation() {
        let place = tempfile::tempdir().unwrap();
        let protected = always(&[".git/hooks", ".git/config"]);
        let stand_ins = StandIns::make(&protected, [place.path()]).unwrap();
        let git = place.path().join(".git");
        assert!(git.is_dir());
        assert_eq!(
            shown(&pins(&protected, place.path(), Path::new("/w")).unwrap()),
            [("/w/.git".to_owned(), 1)]
        );
        drop(stand_ins);
        assert!(!git.exists());
    }

    #[test]
    fn nothing_stands_in_for_what_is_protected_only_where_it_is_there() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(".envrc"), "").unwrap();
        let protected = if_present(&[".git/hooks/", ".git/config", ".bashrc", ".envrc"]);
        let stand_ins = StandIns::make(&protected, [place.path()]).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        assert_eq!(
            shown(&pins(&protected, place.path(), Path::new("/w")).unwrap()),
            [("/w/.envrc".to_owned(), 1)]
        );
        drop(stand_ins);
        assert!(place.path().join(".envrc").exists());
    }

    #[test]
    fn a_repository_is_given_what_it_lacks_and_keeps_it() {
        let place = tempfile::tempdir().unwrap();
        let git = place.path().join(".git");
        fs::create_dir(&git).unwrap();
        let protected = if_present(&[".git/hooks/", ".git/config"]);
        let stand_ins = StandIns::make(&protected, [place.path()]).unwrap();
        let pins = shown(&pins(&protected, place.path(), Path::new("/w")).unwrap());
        let expected = [("/w/.git", 0), ("/w/.git/config", 1), ("/w/.git/hooks", 1)];
        assert_eq!(pins, expected.map(|(path, attributes)| (path.to_owned(), attributes)));
        drop(stand_ins);
        assert!(git.join("hooks").is_dir() && git.join("config").is_file());
    }

    #[test]
    fn what_is_no_relative_path_or_leads_through_a_link_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for path in ["", "/etc", "../x", "a/../b", "a\0"] {
            assert!(StandIns::make(&always(&[path]), [place.path()]).is_err(), "{path:?}");
            assert!(StandIns::make(&if_present(&[path]), [place.path()]).is_err(), "{path:?}");
        }
        std::os::unix::fs::symlink("elsewhere", place.path().join(".git")).unwrap();
        assert!(StandIns::make(&always(&[".git/hooks"]), [place.path()]).is_err());
        assert!(StandIns::make(&if_present(&[".git/hooks"]), [place.path()]).is_err());
    }
}
