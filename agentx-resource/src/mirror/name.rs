//! The names that a mirror gives: to what it keeps besides, and to what lost a conflict.

use crate::{Error, ErrorKind, ResourcePath, Result};

/// What names of a mirror's own begin with. They are never mirrored.
pub(super) const RESERVED: &str = ".agentx-mirror";
/// What the name of a thing begins with while it is being removed.
const ASIDE: &str = ".agentx-mirror-removed.";
const CONFLICT: &str = "conflict-";

/// Where the first state file and both markers are.
pub(super) fn own(name: &str) -> Result<ResourcePath> {
    ResourcePath::root().join(RESERVED)?.join(name)
}

pub(super) fn is_reserved(path: &ResourcePath) -> bool {
    path.components().any(|name| name.starts_with(RESERVED))
}

/// The name of `path` while it is being removed: beside it, so that it can be put back whatever happens. None where
/// that name would be too long.
pub(super) fn aside(path: &ResourcePath) -> Option<ResourcePath> {
    path.parent()?.join(format!("{ASIDE}{}", path.file_name()?)).ok()
}

/// What `aside` is the name of.
pub(super) fn put_aside(aside: &ResourcePath) -> Option<ResourcePath> {
    let parent = aside.parent()?;
    let name = aside.file_name()?.strip_prefix(ASIDE)?;
    if is_reserved(&parent) { None } else { parent.join(name).ok().filter(|path| *path != parent) }
}

/// `name.conflict-<n>.ext` for `name.ext`. A name that has a number already gets this one instead.
pub(super) fn conflict(path: &ResourcePath, n: u32) -> Result<ResourcePath> {
    let (stem, extension) = parts(path);
    let tail = match extension {
        Some(extension) => format!(".{CONFLICT}{n}.{extension}"),
        None => format!(".{CONFLICT}{n}"),
    };
    let Some(room) = ResourcePath::MAX_COMPONENT_LEN.checked_sub(tail.len()) else {
        return Err(Error::new(ErrorKind::InvalidPath, "sync")
            .with_path(path)
            .with_message("no room in the name for a conflict's number"));
    };
    let stem = stem.get(..stem.floor_char_boundary(room)).unwrap_or_default();
    path.parent().unwrap_or_else(ResourcePath::root).join(format!("{stem}{tail}"))
}

/// What `path` is a conflict's name of.
pub(super) fn original(path: &ResourcePath) -> Option<ResourcePath> {
    let name = path.file_name()?;
    let (stem, extension) = parts(path);
    let original = match extension {
        Some(extension) => format!("{stem}.{extension}"),
        None => stem.to_owned(),
    };
    if original == name { None } else { path.parent()?.join(original).ok() }
}

/// The stem without a conflict's number, and the extension.
fn parts(path: &ResourcePath) -> (&str, Option<&str>) {
    let name = path.file_name().unwrap_or_default();
    if let Some(stem) = numbered(name) {
        return (stem, None);
    }
    match path.extension().and_then(|extension| Some((name.strip_suffix(extension)?, extension))) {
        Some((stem, extension)) => {
            let stem = stem.strip_suffix('.').unwrap_or(stem);
            (numbered(stem).unwrap_or(stem), Some(extension))
        }
        None => (name, None),
    }
}

fn numbered(name: &str) -> Option<&str> {
    let (stem, last) = name.rsplit_once('.')?;
    let number = last.strip_prefix(CONFLICT)?;
    (!stem.is_empty() && number.parse::<u32>().is_ok()).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> ResourcePath {
        ResourcePath::new(path).unwrap()
    }

    #[test]
    fn a_conflict_is_numbered_before_the_extension_and_never_twice() {
        for (name, expected) in [
            ("/a/notes.md", "/a/notes.conflict-3.md"),
            ("/notes", "/notes.conflict-3"),
            ("/.hidden", "/.hidden.conflict-3"),
            ("/a.tar.gz", "/a.tar.conflict-3.gz"),
            ("/notes.conflict-1.md", "/notes.conflict-3.md"),
            ("/notes.conflict-2", "/notes.conflict-3"),
            ("/conflict-1.md", "/conflict-1.conflict-3.md"),
            ("/x.", "/x.conflict-3."),
        ] {
            assert_eq!(conflict(&path(name), 3).unwrap(), path(expected), "{name}");
        }
        assert_eq!(original(&path("/a/notes.conflict-12.md")), Some(path("/a/notes.md")));
        assert_eq!(original(&path("/notes.conflict-1")), Some(path("/notes")));
        for other in ["/a/notes.md", "/conflict-1.md", "/a.conflict-x.md", "/a.conflict-", "/.conflict-1"] {
            assert_eq!(original(&path(other)), None, "{other}");
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = path(&format!("/{}.md", "ü".repeat(126)));
        let name = conflict(&long, 10).unwrap();
        assert!(name.file_name().unwrap().len() <= 255);
        assert!(name.as_str().ends_with("ü.conflict-10.md"));
        assert_eq!(
            conflict(&path(&format!("/a.{}", "x".repeat(253))), 1).unwrap_err().kind(),
            ErrorKind::InvalidPath
        );
    }

    #[test]
    fn what_is_put_aside_can_be_put_back() {
        for original in ["/a", "/a/b.txt", "/a/.agent"] {
            let aside = aside(&path(original)).unwrap();
            assert!(is_reserved(&aside));
            assert_eq!(put_aside(&aside), Some(path(original)));
        }
        assert_eq!(aside(&path(&format!("/{}", "x".repeat(250)))), None);
        // Below a directory that is put aside itself, and names that nothing has.
        for other in ["/.agentx-mirror-removed.d/.agentx-mirror-removed.a", "/.agentx-mirror-removed.", "/a"]
        {
            assert_eq!(put_aside(&path(other)), None, "{other}");
        }
    }
}
