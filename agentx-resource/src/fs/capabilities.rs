/// What a [`FileSystem`](crate::FileSystem) can do beyond the basics.
///
/// What is not declared answers `Unsupported` and changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent capability")]
pub struct FsCapabilities {
    /// [`WriteMode::Append`](crate::WriteMode::Append) works.
    pub append: bool,
    /// How strong [`WriteMode::IfMatch`](crate::WriteMode::IfMatch) is, where it works.
    pub if_match: Option<ConditionStrength>,
    /// A rename of a file happens at once: no one sees it at both places or at neither.
    pub atomic_rename: bool,
    /// A rename of a directory happens at once too.
    pub atomic_dir_rename: bool,
    /// Files have permission bits, which are kept when a file is replaced.
    pub mode_bits: bool,
    /// The tree may hold symbolic links (they are made from outside, such as by a command).
    pub symlinks: bool,
}

impl FsCapabilities {
    /// Nothing beyond the basics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares append.
    pub fn with_append(mut self) -> Self {
        self.append = true;
        self
    }

    /// Declares conditional writes of this strength.
    pub fn with_if_match(mut self, strength: ConditionStrength) -> Self {
        self.if_match = Some(strength);
        self
    }

    /// Declares that a file is renamed at once.
    pub fn with_atomic_rename(mut self) -> Self {
        self.atomic_rename = true;
        self
    }

    /// Declares that a directory is renamed at once.
    pub fn with_atomic_dir_rename(mut self) -> Self {
        self.atomic_dir_rename = true;
        self
    }

    /// Declares permission bits.
    pub fn with_mode_bits(mut self) -> Self {
        self.mode_bits = true;
        self
    }

    /// Declares symbolic links.
    pub fn with_symlinks(mut self) -> Self {
        self.symlinks = true;
        self
    }
}

/// Against whom a conditional write holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConditionStrength {
    /// Against everybody: the store itself compares and swaps.
    Atomic,
    /// Against everybody who writes through AgentX on this machine, by a lock that they all honour.
    Cooperative,
}
