//! Paths inside a writable place that stay as they are.
//!
//! A mount over a path can't be written through, and can't be moved or removed; nor can a directory be moved that is a
//! mount itself. So each directory on the way becomes a mount, and the path at its end a read-only one. What is missing
//! gets an empty stand-in on the host, which goes when the isolation goes.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    path::{Component, Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use agentx_resource::Result;

use super::{files, plan::Mount, view::text};
use crate::process::failure;

const READ_ONLY: u64 = 1;

/// How many need each stand-in that this program has made. Isolations may share a root, and a mount is undone when the
/// file below it is removed: the last one removes it.
static MADE: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

fn made() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands in for what is missing, as long as this lives.
#[derive(Debug, Default)]
pub(in crate::process) struct StandIns(Vec<PathBuf>);

impl StandIns {
    /// Makes the stand-ins that these paths need below these places of the host.
    pub(super) fn make<'a>(paths: &[String], places: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let mut made = Self::default();
        for place in places {
            for path in paths {
                made.make_one(place, check(path)?)?;
            }
        }
        Ok(made)
    }

    fn make_one(&mut self, place: &Path, path: &Path) -> Result<()> {
        let mut made = made();
        let mut at = place.to_owned();
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            at.push(component);
            match fs::symlink_metadata(&at) {
                Ok(metadata) if metadata.is_symlink() => {
                    let message = "leads through a symbolic link, which can't be protected";
                    return Err(files::invalid(&at).with_message(message));
                }
                Ok(metadata) if made.contains_key(&at) && (!metadata.is_dir() || is_empty(&at)) => {
                    self.share(&mut made, at);
                    return Ok(());
                }
                Ok(metadata) if metadata.is_dir() => {}
                // A file in the place of a directory: protected itself, it keeps the rest from being made.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let failed = |error| failure("isolate", error).with_path(at.display());
                    if components.peek().is_some() {
                        fs::create_dir(&at).map_err(failed)?;
                    } else {
                        OpenOptions::new().write(true).create_new(true).open(&at).map_err(failed)?;
                    }
                    self.share(&mut made, at);
                    return Ok(());
                }
                Err(error) => return Err(failure("isolate", error).with_path(at.display())),
            }
        }
        Ok(())
    }

    fn share(&mut self, made: &mut BTreeMap<PathBuf, usize>, path: PathBuf) {
        if !self.0.contains(&path) {
            *made.entry(path.clone()).or_default() += 1;
            self.0.push(path);
        }
    }
}

/// Removes what nobody else needs and is still empty: something else is not a stand-in.
impl Drop for StandIns {
    fn drop(&mut self) {
        let mut made = made();
        for path in self.0.drain(..).rev() {
            let others = made.remove(&path).unwrap_or_default().saturating_sub(1);
            if others > 0 {
                made.insert(path, others);
                continue;
            }
            let is_empty_file = fs::symlink_metadata(&path).is_ok_and(|it| it.is_file() && it.len() == 0);
            // What can't be removed was replaced or filled meanwhile.
            let _ = if is_empty_file { fs::remove_file(&path) } else { fs::remove_dir(&path) };
        }
    }
}

/// The mounts that protect these paths below a place of the host, seen at another path. The stand-ins are there.
pub(super) fn pins(paths: &[String], host: &Path, seen: &Path) -> Result<Vec<Mount>> {
    let mut pins: Vec<(PathBuf, u64)> = Vec::new();
    for path in paths {
        let mut below = PathBuf::new();
        let mut components = check(path)?.components().peekable();
        while let Some(component) = components.next() {
            below.push(component);
            let is_dir = fs::symlink_metadata(host.join(&below)).is_ok_and(|metadata| metadata.is_dir());
            let is_last = components.peek().is_none() || !is_dir || is_empty(&host.join(&below));
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
        let paths = [".git/hooks".to_owned(), ".git/config".to_owned(), ".bashrc".to_owned()];
        let stand_ins = StandIns::make(&paths, [place.path()]).unwrap();
        let pins = pins(&paths, place.path(), Path::new("/w")).unwrap();
        let expected = [("/w/.bashrc", 1), ("/w/.git", 0), ("/w/.git/config", 1), ("/w/.git/hooks", 1)];
        assert_eq!(shown(&pins), expected.map(|(path, attributes)| (path.to_owned(), attributes)));
        assert!(place.path().join(".bashrc").is_file());
        drop(stand_ins);
        assert!(!place.path().join(".bashrc").exists() && place.path().join(".git/config").exists());
    }

    #[test]
    fn the_first_that_is_missing_is_sealed_and_goes_with_the_isolation() {
        let place = tempfile::tempdir().unwrap();
        let paths = [".git/hooks".to_owned(), ".git/config".to_owned()];
        let stand_ins = StandIns::make(&paths, [place.path()]).unwrap();
        let git = place.path().join(".git");
        assert!(git.is_dir());
        drop(stand_ins);
        assert!(!git.exists());
    }

    #[test]
    fn what_is_no_relative_path_or_leads_through_a_link_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for path in ["", "/etc", "../x", "a/../b", "a\0"] {
            assert!(StandIns::make(&[path.to_owned()], [place.path()]).is_err(), "{path:?}");
        }
        std::os::unix::fs::symlink("elsewhere", place.path().join(".git")).unwrap();
        assert!(StandIns::make(&[".git/hooks".to_owned()], [place.path()]).is_err());
    }
}
