use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentx_resource::{DirEntry, FileKind, ReadRange, ResourcePath, Version, WriteMode};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::Fault;

/// [`Metadata`](agentx_resource::Metadata) on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    kind: Kind,
    len: u64,
    /// Seconds and nanoseconds since 1970; before it the seconds are negative and the nanoseconds count on from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<(i64, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_target: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Directory,
    Symlink,
    #[serde(other)]
    Other,
}

impl From<&agentx_resource::Metadata> for Metadata {
    fn from(known: &agentx_resource::Metadata) -> Self {
        Self {
            kind: match known.kind {
                FileKind::File => Kind::File,
                FileKind::Directory => Kind::Directory,
                FileKind::Symlink => Kind::Symlink,
                _ => Kind::Other,
            },
            len: known.len,
            modified: known.modified.and_then(since_1970),
            version: known.version.as_ref().map(Version::to_string),
            mode: known.mode,
            link_target: known.link_target.clone(),
        }
    }
}

impl From<Metadata> for agentx_resource::Metadata {
    fn from(sent: Metadata) -> Self {
        let mut known = Self::of(match sent.kind {
            Kind::File => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Symlink => FileKind::Symlink,
            Kind::Other => FileKind::Other,
        });
        known.len = sent.len;
        known.modified = sent.modified.and_then(at);
        known.version = sent.version.map(Version::new);
        known.mode = sent.mode;
        known.link_target = sent.link_target;
        known
    }
}

fn since_1970(time: SystemTime) -> Option<(i64, u32)> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Some((i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())),
        Err(before) => {
            let before = before.duration();
            let seconds = -i64::try_from(before.as_secs()).ok()?;
            match before.subsec_nanos() {
                0 => Some((seconds, 0)),
                nanos => Some((seconds - 1, 1_000_000_000 - nanos)),
            }
        }
    }
}

fn at((seconds, nanos): (i64, u32)) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second?.checked_add(Duration::from_nanos(nanos.into()))
}

/// What is known of a file whose content follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileHead {
    /// The file.
    pub metadata: Metadata,
    /// Where the content begins in it.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// The part of a file that is wanted, as text: `2-5`, `2-`, `-5`.
#[derive(Clone, Debug)]
pub struct Span;

impl Span {
    /// A range as text; none for one that this version does not know.
    pub fn to_text(range: &ReadRange) -> Option<String> {
        match range {
            ReadRange::Bounded(range) => Some(format!("{}-{}", range.start, range.end)),
            ReadRange::From(start) => Some(format!("{start}-")),
            ReadRange::Last(count) => Some(format!("-{count}")),
            _ => None,
        }
    }

    /// The range that the text means.
    pub fn from_text(text: &str) -> Option<ReadRange> {
        match text.split_once('-')? {
            ("", count) => Some(ReadRange::Last(count.parse().ok()?)),
            (start, "") => Some(ReadRange::From(start.parse().ok()?)),
            (start, end) => Some(ReadRange::Bounded(start.parse().ok()?..end.parse().ok()?)),
        }
    }
}

/// A [`WriteMode`] as text, and the version that it names.
#[derive(Clone, Debug)]
pub struct Mode;

impl Mode {
    /// A mode as text; none for one that this version does not know.
    pub fn to_text(mode: &WriteMode) -> Option<(&'static str, Option<&str>)> {
        match mode {
            WriteMode::Overwrite => Some(("overwrite", None)),
            WriteMode::CreateNew => Some(("create_new", None)),
            WriteMode::IfMatch(version) => Some(("if_match", Some(version.as_str()))),
            WriteMode::Append => Some(("append", None)),
            _ => None,
        }
    }

    /// The mode that the text means.
    pub fn from_text(mode: &str, version: Option<&str>) -> Option<WriteMode> {
        match (mode, version) {
            ("overwrite", None) => Some(WriteMode::Overwrite),
            ("create_new", None) => Some(WriteMode::CreateNew),
            ("if_match", Some(version)) => Some(WriteMode::IfMatch(Version::new(version))),
            ("append", None) => Some(WriteMode::Append),
            _ => None,
        }
    }
}

/// One piece of a content whose length is not known from the start: four bytes of length, big-endian, and as many bytes.
/// One of no bytes says that this is all, and one of `0xffffffff` that the write is given up. Without either the content was
/// cut off, however politely the connection ended.
#[derive(Clone, Debug)]
pub struct Piece;

impl Piece {
    /// The most bytes in one piece.
    pub const BYTES: usize = 1 << 20;

    /// The content as pieces, without the end.
    pub fn encode(mut data: Bytes) -> Vec<Bytes> {
        let mut encoded = Vec::new();
        while !data.is_empty() {
            let part = data.split_to(data.len().min(Self::BYTES));
            let mut head = BytesMut::with_capacity(4);
            // No more than `BYTES`.
            head.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            encoded.extend([head.freeze(), part]);
        }
        encoded
    }

    /// The end.
    pub fn end() -> Bytes {
        Bytes::from_static(&[0; 4])
    }

    /// The end of a write that was given up.
    pub fn abort() -> Bytes {
        Bytes::from_static(&[0xff; 4])
    }
}

/// One line of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListLine {
    /// An entry.
    Entry(Listed),
    /// The list could not be made, or not to its end. Nothing follows.
    Failed(Fault),
    /// This is all: so many entries. Nothing follows.
    End(u64),
}

/// A [`DirEntry`] on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    metadata: Metadata,
}

impl From<&DirEntry> for Listed {
    fn from(entry: &DirEntry) -> Self {
        Self {
            path: entry.path.as_ref().map(ResourcePath::to_string),
            name: entry.path.is_none().then(|| entry.name.clone()),
            metadata: Metadata::from(&entry.metadata),
        }
    }
}

impl TryFrom<Listed> for DirEntry {
    type Error = agentx_resource::Error;

    fn try_from(sent: Listed) -> Result<Self, Self::Error> {
        let metadata = sent.metadata.into();
        Ok(match sent.path {
            Some(path) => Self::new(ResourcePath::new(path)?, metadata),
            None => Self::unaddressable(sent.name.unwrap_or_default(), metadata),
        })
    }
}

/// A verb that changes the tree and has no content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// `mkdir`.
    Mkdir {
        /// Where.
        path: String,
        /// With its parents.
        recursive: bool,
    },
    /// `rm`.
    Rm {
        /// What.
        path: String,
        /// With all below.
        recursive: bool,
        /// Also if nothing is there.
        force: bool,
    },
    /// `rename`.
    Rename {
        /// What.
        from: String,
        /// Where to.
        to: String,
        /// Only where nothing is.
        create_new: bool,
    },
    /// `copy`.
    Copy {
        /// What.
        from: String,
        /// Where to.
        to: String,
        /// Only where nothing is.
        create_new: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_arrive_as_they_were_also_of_before_1970() {
        for (seconds, nanos) in [(0, 0), (5, 7), (-1, 0), (-2, 999_999_999), (-1, 1)] {
            let known = agentx_resource::Metadata::file(7)
                .with_modified(at((seconds, nanos)).unwrap())
                .with_version(Version::new("v\"é"))
                .with_mode(0o640)
                .with_link_target("../é");
            let wire = serde_json::to_string(&Metadata::from(&known)).unwrap();
            let came = serde_json::from_str::<Metadata>(&wire).unwrap();
            assert_eq!(came.modified, Some((seconds, nanos)));
            assert_eq!(agentx_resource::Metadata::from(came), known);
        }
    }

    #[test]
    fn ranges_and_modes_arrive_as_they_were() {
        for range in [ReadRange::Bounded(2..5), ReadRange::From(2), ReadRange::Last(5), ReadRange::Last(0)] {
            assert_eq!(Span::from_text(&Span::to_text(&range).unwrap()), Some(range));
        }
        for text in ["", "-", "5", "a-b", "1-2-3", "-1-"] {
            assert_eq!(Span::from_text(text), None, "{text}");
        }
        for mode in [
            WriteMode::Overwrite,
            WriteMode::CreateNew,
            WriteMode::IfMatch(Version::new("a b")),
            WriteMode::Append,
        ] {
            let (text, version) = Mode::to_text(&mode).unwrap();
            assert_eq!(Mode::from_text(text, version), Some(mode.clone()));
        }
        assert_eq!(Mode::from_text("if_match", None), None);
        assert_eq!(Mode::from_text("append", Some("x")), None);
    }

    #[test]
    fn entries_arrive_as_they_were() {
        let metadata = agentx_resource::Metadata::directory();
        for entry in [
            DirEntry::new(ResourcePath::new("/a/b").unwrap(), metadata.clone()),
            DirEntry::unaddressable("a\u{fffd}", metadata.clone()),
        ] {
            let wire = serde_json::to_string(&ListLine::Entry(Listed::from(&entry))).unwrap();
            let Ok(ListLine::Entry(came)) = serde_json::from_str(&wire) else { panic!("{wire}") };
            assert_eq!(DirEntry::try_from(came).unwrap(), entry);
        }
    }

    #[test]
    fn pieces_have_all_of_the_content() {
        let data = Bytes::from(vec![b'x'; Piece::BYTES + 3]);
        let encoded = Piece::encode(data.clone());
        assert_eq!(encoded.len(), 4);
        assert_eq!((&*encoded[0], &*encoded[2]), (&[0, 0x10, 0, 0][..], &[0, 0, 0, 3][..]));
        assert_eq!([&*encoded[1], &*encoded[3]].concat(), data);
        assert!(Piece::encode(Bytes::new()).is_empty());
    }
}
