use std::{fmt, sync::Arc, time::SystemTime};

use crate::ResourcePath;

/// What is known of a file, a directory or another entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// The content's size in bytes; 0 for a directory.
    pub len: u64,
    /// When the content last changed, where the store keeps that.
    pub modified: Option<SystemTime>,
    /// A token that changes whenever the content does. Files have one wherever
    /// [`FsCapabilities::if_match`](crate::FsCapabilities::if_match) is declared.
    pub version: Option<Version>,
    /// The permission bits (`0o777` part), where the store keeps them.
    pub mode: Option<u32>,
    /// Where a symlink leads, as it is stored; told by a `stat` that does not follow. `None` for what is no symlink,
    /// and for a target that is not UTF-8.
    pub link_target: Option<String>,
}

impl Metadata {
    /// A file of `len` bytes.
    pub fn file(len: u64) -> Self {
        Self { kind: FileKind::File, len, modified: None, version: None, mode: None, link_target: None }
    }

    /// A directory.
    pub fn directory() -> Self {
        Self {
            kind: FileKind::Directory,
            len: 0,
            modified: None,
            version: None,
            mode: None,
            link_target: None,
        }
    }

    /// Something of this kind, of no size.
    pub fn of(kind: FileKind) -> Self {
        Self { kind, len: 0, modified: None, version: None, mode: None, link_target: None }
    }

    /// With the time of the last change.
    pub fn with_modified(mut self, modified: SystemTime) -> Self {
        self.modified = Some(modified);
        self
    }

    /// With a version.
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// With permission bits.
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// With the target of a symlink.
    pub fn with_link_target(mut self, target: impl Into<String>) -> Self {
        self.link_target = Some(target.into());
        self
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, as listed and as a `stat` that does not follow tells it.
    Symlink,
    /// A FIFO, a socket, a device: listed, and removed like a file, but neither read nor written.
    Other,
}

/// A state of a file's content, as an opaque token. Two equal versions of one path mean equal content; versions of
/// different paths say nothing about each other.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Token);

/// The longest token that needs no allocation, in bytes. A listing has one for each file.
const SHORT: usize = 70;

/// One text has one form, so that the derived comparison is right.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Token {
    /// Zeroes follow the text.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Long(Arc<str>),
}

impl Version {
    /// A version from the store's own token (an `ETag`, a generation).
    pub fn new(token: impl AsRef<str>) -> Self {
        let token = token.as_ref();
        let mut bytes = [0; SHORT];
        Self(match (bytes.get_mut(..token.len()), u8::try_from(token.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(token.as_bytes());
                Token::Short { len, bytes }
            }
            _ => Token::Long(token.into()),
        })
    }

    /// The store's own token.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // Both hold of every token that was made above.
            Token::Short { len, bytes } => {
                bytes.get(..usize::from(*len)).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
            }
            Token::Long(text) => text,
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The entry's own name, for people: lossy where the store's name is not UTF-8.
    pub name: String,
    /// Where it is; `None` for a name that can't be a [`ResourcePath`] (not UTF-8). Such an entry can't be
    /// addressed, but it is counted, and it goes when its directory is copied or removed.
    pub path: Option<ResourcePath>,
    /// What is known of the entry itself, symlinks not followed.
    pub metadata: Metadata,
}

impl DirEntry {
    /// An entry at `path`.
    pub fn new(path: ResourcePath, metadata: Metadata) -> Self {
        Self { name: path.file_name().unwrap_or("/").to_owned(), path: Some(path), metadata }
    }

    /// An entry whose name is no path.
    pub fn unaddressable(name: impl Into<String>, metadata: Metadata) -> Self {
        Self { name: name.into(), path: None, metadata }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_token_however_long() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 300] {
            for token in ["é".repeat(length), "x".repeat(length)] {
                assert_eq!(Version::new(&token).as_str(), token);
                assert_eq!(Version::new(&token), Version::new(token.clone()));
                assert_ne!(Version::new(&token), Version::new(format!("{token}y")));
            }
        }
        assert_ne!(Version::new("a"), Version::new("a\0"));
    }
}
