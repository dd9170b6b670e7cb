//! Providers that are broken on purpose. Each is a mistake that real stores and adapters make, and each is caught by
//! the case that it names: a kit that never failed proves nothing.
//!
//! ```
//! use agentx_conformance::faulty::{Fault, FaultyFileSystem};
//! use agentx_resource::{ErrorKind, FileSystemExt, ResourcePath};
//!
//! # futures::executor::block_on(async {
//! let fs = FaultyFileSystem::new(Fault::IgnoresCreateNew);
//! let path = ResourcePath::new("/a")?;
//! fs.create_new(&path, "one").await?;
//! fs.create_new(&path, "two").await?;
//! assert_eq!(Fault::IgnoresCreateNew.caught_by(), "create-new-existing");
//! # Ok::<(), agentx_resource::Error>(()) }).unwrap();
//! ```

mod file_system;
mod writer;

pub use file_system::FaultyFileSystem;

/// What is wrong with a [`FaultyFileSystem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// An append to an existing file says that it worked, and does not happen.
    LosesAppends,
    /// An append reads the file and writes it anew, so that one of two at a time is lost.
    RacyAppend,
    /// An append works and is not declared.
    HidesAppend,
    /// A writer's pieces are visible as they come.
    PublishesEarly,
    /// Dropping a writer publishes what it holds.
    PublishesOnDrop,
    /// A writer checks its mode when it is opened, and no more at `close`.
    ForgetsModeAtClose,
    /// `CreateNew` replaces what is there.
    IgnoresCreateNew,
    /// `CreateNew` looks first and writes then.
    RacyCreateNew,
    /// `IfMatch` writes in any case.
    IgnoresIfMatch,
    /// `IfMatch` compares first and writes then.
    RacyIfMatch,
    /// The version is the length.
    WeakVersion,
    /// A file is written in two halves.
    TearsWrites,
    /// `create_parents` is not heeded.
    ForgetsParents,
    /// Parents are always created, as on an object store.
    AlwaysCreatesParents,
    /// A bounded range holds one byte more.
    RangeOffByOne,
    /// Of a large file only a part comes, and the range says so as if that were all.
    ShortReads,
    /// The content is fetched when the body is polled, not when the file is opened.
    LazyBody,
    /// A directory is not found by `stat`, as on an object store.
    NoDirectories,
    /// A directory ends with its last entry, as on an object store.
    VanishingDirectories,
    /// A list is one of all paths that begin with the same text.
    ListsByPrefix,
    /// A list ends after its first page of 1000.
    ListsOnePage,
    /// `rm` of nothing is content, as on an object store.
    RemovesNothing,
    /// `rm` removes a directory with its entries, asked to or not.
    RemovesFullDirectories,
    /// `rm` of the root removes everything.
    RemovesRoot,
    /// `rename` removes the destination before it looks for the source.
    DestroysDestination,
    /// `copy` of a directory leaves out those that are empty.
    CopiesNoEmptyDirectories,
    /// Names differ only where more than their case does.
    FoldsCase,
    /// `%XX` in a name is decoded.
    DecodesNames,
    /// Errors name no path.
    AnonymousErrors,
}

impl Fault {
    /// Every fault.
    pub const ALL: &[Self] = &[
        Self::LosesAppends,
        Self::RacyAppend,
        Self::HidesAppend,
        Self::PublishesEarly,
        Self::PublishesOnDrop,
        Self::ForgetsModeAtClose,
        Self::IgnoresCreateNew,
        Self::RacyCreateNew,
        Self::IgnoresIfMatch,
        Self::RacyIfMatch,
        Self::WeakVersion,
        Self::TearsWrites,
        Self::ForgetsParents,
        Self::AlwaysCreatesParents,
        Self::RangeOffByOne,
        Self::ShortReads,
        Self::LazyBody,
        Self::NoDirectories,
        Self::VanishingDirectories,
        Self::ListsByPrefix,
        Self::ListsOnePage,
        Self::RemovesNothing,
        Self::RemovesFullDirectories,
        Self::RemovesRoot,
        Self::DestroysDestination,
        Self::CopiesNoEmptyDirectories,
        Self::FoldsCase,
        Self::DecodesNames,
        Self::AnonymousErrors,
    ];

    /// The id of the case that is there to catch it.
    pub fn caught_by(self) -> &'static str {
        match self {
            Self::LosesAppends | Self::HidesAppend => "append-existing",
            Self::RacyAppend => "append-race",
            Self::PublishesEarly => "writer-invisible",
            Self::PublishesOnDrop => "writer-dropped",
            Self::ForgetsModeAtClose => "writer-create-new-late",
            Self::IgnoresCreateNew => "create-new-existing",
            Self::RacyCreateNew => "create-new-race",
            Self::IgnoresIfMatch => "if-match-stale",
            Self::RacyIfMatch => "if-match-race",
            Self::WeakVersion => "write-changes-version",
            Self::TearsWrites => "write-seen-whole",
            Self::ForgetsParents => "write-create-parents",
            Self::AlwaysCreatesParents => "write-missing-parent",
            Self::RangeOffByOne => "read-range",
            Self::ShortReads => "read-large",
            Self::LazyBody => "read-while-replaced",
            Self::NoDirectories => "stat-directory",
            Self::VanishingDirectories => "rm-keeps-parent",
            Self::ListsByPrefix => "list-similar-names",
            Self::ListsOnePage => "list-many",
            Self::RemovesNothing => "rm-missing",
            Self::RemovesFullDirectories => "rm-full-directory",
            Self::RemovesRoot => "rm-root-recursive",
            Self::DestroysDestination => "rename-missing",
            Self::CopiesNoEmptyDirectories => "copy-directory",
            Self::FoldsCase => "names-case",
            Self::DecodesNames => "names-unusual",
            Self::AnonymousErrors => "error-subject",
        }
    }
}
