use std::ops::Range;

use crate::{Error, ErrorKind, Result, Version};

/// How to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The part that is wanted; all of it by default.
    pub range: Option<ReadRange>,
    /// Read only this version.
    pub if_match: Option<Version>,
}

impl ReadOptions {
    /// Reads this part only.
    pub fn with_range(mut self, range: impl Into<ReadRange>) -> Self {
        self.range = Some(range.into());
        self
    }

    /// Reads this version only.
    pub fn with_if_match(mut self, version: Version) -> Self {
        self.if_match = Some(version);
        self
    }
}

/// A part of a file, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadRange {
    /// From the first to before the second.
    Bounded(Range<u64>),
    /// From here to the end.
    From(u64),
    /// So many at the end.
    Last(u64),
}

impl ReadRange {
    /// The bytes that this means in a file of `len` bytes: clamped, empty where nothing is left.
    ///
    /// # Errors
    /// `InvalidInput` for a range whose end lies before its start.
    pub fn resolve(&self, len: u64) -> Result<Range<u64>> {
        Ok(match self {
            Self::Bounded(range) if range.end < range.start => {
                return Err(Error::new(ErrorKind::InvalidInput, "read").with_message(format!(
                    "the range {}..{} ends before it starts",
                    range.start, range.end
                )));
            }
            Self::Bounded(range) => range.start.min(len)..range.end.min(len),
            Self::From(start) => (*start).min(len)..len,
            Self::Last(count) => len.saturating_sub(*count)..len,
        })
    }
}

impl From<Range<u64>> for ReadRange {
    fn from(range: Range<u64>) -> Self {
        Self::Bounded(range)
    }
}

impl From<std::ops::RangeFrom<u64>> for ReadRange {
    fn from(range: std::ops::RangeFrom<u64>) -> Self {
        Self::From(range.start)
    }
}

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// What an existing file means.
    pub mode: WriteMode,
    /// Whether missing parent directories are created.
    pub create_parents: bool,
}

impl WriteOptions {
    /// Creates missing parent directories.
    pub fn with_create_parents(mut self) -> Self {
        self.create_parents = true;
        self
    }

    /// With this mode.
    pub fn with_mode(mut self, mode: WriteMode) -> Self {
        self.mode = mode;
        self
    }
}

impl From<WriteMode> for WriteOptions {
    fn from(mode: WriteMode) -> Self {
        Self { mode, create_parents: false }
    }
}

/// What an existing file means for a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteMode {
    /// It is replaced.
    #[default]
    Overwrite,
    /// It is an error, `AlreadyExists`. Of many racers exactly one wins.
    CreateNew,
    /// It is replaced if it still has this version, else `ConditionFailed`; a missing file is `ConditionFailed` too.
    /// A capability, with a stated strength.
    IfMatch(Version),
    /// The data is added at its end, all of it or none; a missing file is created. A capability.
    Append,
}

/// How to look at an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatOptions {
    /// Whether a symlink at the path's end stands for what it leads to; it does by default.
    pub follow: bool,
}

impl StatOptions {
    /// Looks at a symlink itself: [`FileKind::Symlink`](crate::FileKind::Symlink), and
    /// [`Metadata::link_target`](crate::Metadata::link_target) says where it leads. Links on the way are followed.
    pub fn no_follow() -> Self {
        Self { follow: false }
    }
}

impl Default for StatOptions {
    fn default() -> Self {
        Self { follow: true }
    }
}

/// How to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListOptions {
    /// Lists the whole tree below, too.
    pub recursive: bool,
}

impl ListOptions {
    /// Lists the whole tree.
    pub fn recursive() -> Self {
        Self { recursive: true }
    }
}

/// How to create a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MkdirOptions {
    /// Creates missing parents, and accepts a directory that is already there.
    pub recursive: bool,
}

impl MkdirOptions {
    /// Creates missing parents, and accepts a directory that is already there.
    pub fn recursive() -> Self {
        Self { recursive: true }
    }
}

/// How to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// Removes a directory with all that is in it.
    pub recursive: bool,
    /// Accepts that nothing is there.
    pub force: bool,
}

impl RemoveOptions {
    /// Removes a directory with all that is in it.
    pub fn recursive() -> Self {
        Self { recursive: true, force: false }
    }

    /// Accepts that nothing is there.
    pub fn with_force(mut self) -> Self {
        self.force = true;
        self
    }
}

/// How to rename or copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferOptions {
    /// Refuses to replace anything at the destination.
    pub create_new: bool,
}

impl TransferOptions {
    /// Refuses to replace anything at the destination.
    pub fn create_new() -> Self {
        Self { create_new: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped() {
        assert_eq!(ReadRange::Bounded(2..5).resolve(10).unwrap(), 2..5);
        assert_eq!(ReadRange::Bounded(2..50).resolve(10).unwrap(), 2..10);
        assert_eq!(ReadRange::Bounded(20..50).resolve(10).unwrap(), 10..10);
        assert_eq!(ReadRange::From(4).resolve(10).unwrap(), 4..10);
        assert_eq!(ReadRange::Last(4).resolve(10).unwrap(), 6..10);
        assert_eq!(ReadRange::Last(40).resolve(10).unwrap(), 0..10);
        #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
        let inverted = ReadRange::Bounded(5..2).resolve(10);
        assert_eq!(inverted.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
