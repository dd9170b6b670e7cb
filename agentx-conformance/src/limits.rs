//! The suite for the ends of what a file system takes: the longest name and path, the deepest nesting, an empty file and
//! a large one, and what lies one beyond.
//!
//! The factory gives a [`Limited`]: an empty file system, and the [`Limits`] that it states.

use std::sync::Arc;

use agentx_resource::{
    ErrorKind, FileSystem, FileSystemExt, MkdirOptions, RemoveOptions, ResourcePath, TransferOptions,
    WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::{
    Failure, Fresh, Outcome, Subject,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// What a file system takes. By default what every [`ResourcePath`] may be, and files without a bound.
///
/// ```
/// use agentx_conformance::limits::Limits;
///
/// // As of a store whose keys have up to 1024 bytes.
/// let limits = Limits::new().with_path(1024).with_depth(500);
/// assert_eq!(limits.name, 255);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest name, in bytes.
    pub name: usize,
    /// The longest path, in bytes, its first `/` among them.
    pub path: usize,
    /// How many directories may lie in one another, with names of one letter.
    pub depth: usize,
    /// The largest file, in bytes, where there is one; the cases write one of this size.
    pub file: Option<u64>,
}

impl Limits {
    /// Those of the contract.
    pub fn new() -> Self {
        Self {
            name: ResourcePath::MAX_COMPONENT_LEN,
            path: ResourcePath::MAX_LEN,
            depth: ResourcePath::MAX_LEN / 2 - 1,
            file: None,
        }
    }

    /// Names of up to `bytes`.
    pub fn with_name(mut self, bytes: usize) -> Self {
        self.name = bytes;
        self
    }

    /// Paths of up to `bytes`.
    pub fn with_path(mut self, bytes: usize) -> Self {
        self.path = bytes;
        self
    }

    /// Up to so many directories in one another.
    pub fn with_depth(mut self, directories: usize) -> Self {
        self.depth = directories;
        self
    }

    /// Files of up to `bytes`.
    pub fn with_file(mut self, bytes: u64) -> Self {
        self.file = Some(bytes);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// A file system, and what it takes.
#[derive(Clone, Debug)]
pub struct Limited {
    /// The file system.
    pub files: Arc<dyn FileSystem>,
    /// What it takes.
    pub limits: Limits,
}

impl Fresh<Limited> {
    /// This file system, with these limits.
    pub fn limited(files: Arc<dyn FileSystem>, limits: Limits) -> Self {
        Self::new(Arc::new(Limited { files, limits }))
    }
}

impl Subject for Limited {
    fn refused(&self) -> Vec<&'static str> {
        self.files.refused()
    }
}

/// Makes a module of tests: one for each case of the suite for limits. See the [crate](crate) for what the arguments
/// are.
#[macro_export]
macro_rules! limits_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::limits_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__limits_cases!(__tests { limits $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __limits_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            most_name most_name_letters most_path most_depth most_file most_nothing over_name over_path over_file
            over_file_writer
        }
    };
}

crate::__limits_cases!(__table { Limited });

type Case = Arc<Limited>;

/// How much a writer is given at a time.
const PIECE: usize = 1 << 20;
/// As large as a file that states no bound is tried: more than fits into one answer of `read_file`.
const LARGE: u64 = (64 << 20) + 1;

impl Limited {
    /// Fails unless a file at `path` can be made, found and taken away again.
    async fn takes(&self, path: &ResourcePath) -> Outcome {
        let written = WriteOptions::default().with_create_parents();
        self.files.write(path, Bytes::from_static(b"there"), written).await?;
        ensure_eq(self.files.read_file(path).await?, "there", "the content")?;
        let parent = path.parent().unwrap_or_else(ResourcePath::root);
        let entries = self.files.readdir(&parent).await?;
        let found: Vec<_> = entries.into_iter().filter_map(|entry| entry.path).collect();
        ensure(found.contains(path), "it is not listed as it is")?;
        let aside = ResourcePath::new("/aside")?;
        self.files.rename(path, &aside, TransferOptions::default()).await?;
        self.files.copy(&aside, path, TransferOptions::default()).await?;
        ensure_eq(self.files.metadata(path).await?.len, 5, "the length of its copy")?;
        self.files.rm(path, RemoveOptions::default()).await?;
        ensure(!self.files.exists(path).await?, "it is there after its removal")
    }

    /// Fails unless nothing can be made at `path`, and nothing changes. The contract itself may refuse the path.
    async fn refuses(&self, path: agentx_resource::Result<ResourcePath>) -> Outcome {
        let own = ResourcePath::new("/own")?;
        self.files.write_file(&own, "kept").await?;
        let path = match path {
            Ok(path) => path,
            refused => return ensure_kind(refused, ErrorKind::InvalidPath, "a path that is too long"),
        };
        let create = WriteOptions::default().with_create_parents();
        let results = [
            ("write", self.files.write(&path, Bytes::from_static(b"x"), create).await.map(drop)),
            ("mkdir", self.files.mkdir(&path, MkdirOptions::recursive()).await),
            ("rename", self.files.rename(&own, &path, TransferOptions::default()).await),
            ("copy", self.files.copy(&own, &path, TransferOptions::default()).await),
        ];
        for (operation, result) in results {
            let Err(error) = result else { return Err(Failure::new(format!("{operation} takes it"))) };
            ensure_eq(error.kind(), ErrorKind::InvalidPath, "the kind of the error")?;
            ensure_eq(error.operation(), operation, "the error's operation")?;
            ensure_eq(error.path(), Some(path.as_str()), "the subject that the error names")?;
        }
        self.is_only("/own", b"kept").await
    }

    /// Fails unless exactly one file is there, of this content.
    async fn is_only(&self, at: &str, content: &[u8]) -> Outcome {
        let entries: Vec<_> = self.files.walk(&ResourcePath::root()).try_collect().await?;
        ensure_eq(entries.len(), 1, "how many entries there are")?;
        let found = self.files.read_file(&ResourcePath::new(at)?).await?;
        ensure(found == content, "the content is another")
    }

    /// Writes so many bytes in pieces.
    async fn fill(&self, at: &ResourcePath, mut left: u64) -> agentx_resource::Result<()> {
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let mut writer = self.files.writer(at, WriteOptions::default()).await?;
        while left > 0 {
            let part = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            writer.write(piece.slice(..part)).await?;
            left -= part as u64;
        }
        writer.close().await.map(drop)
    }
}

/// A path of exactly so many bytes, below directories with names of up to `name` bytes.
fn long(bytes: usize, name: usize) -> agentx_resource::Result<ResourcePath> {
    let mut text = String::new();
    while text.len() < bytes {
        let left = bytes - text.len();
        // No slash at the end.
        let part = if left == name + 2 { name } else { left.min(name + 1) };
        text.push('/');
        text.push_str(&"p".repeat(part - 1));
    }
    ResourcePath::new(text)
}

async fn most_name(case: Case) -> Outcome {
    case.takes(&ResourcePath::root().join("n".repeat(case.limits.name))?).await?;
    let directory = ResourcePath::root().join("d".repeat(case.limits.name))?;
    case.takes(&directory.join("f")?).await
}

async fn most_name_letters(case: Case) -> Outcome {
    // Three bytes each: what counts is bytes.
    case.takes(&ResourcePath::root().join("語".repeat(case.limits.name / 3))?).await
}

async fn most_path(case: Case) -> Outcome {
    let path = long(case.limits.path, case.limits.name)?;
    ensure_eq(path.as_str().len(), case.limits.path, "the length of the path that is tried")?;
    case.takes(&path).await
}

async fn most_depth(case: Case) -> Outcome {
    let directories = ResourcePath::new("/d".repeat(case.limits.depth))?;
    case.files.mkdir(&directories, MkdirOptions::recursive()).await?;
    ensure(case.files.metadata(&directories).await?.is_dir(), "the deepest directory is none")?;
    let all: Vec<_> = case.files.walk(&ResourcePath::root()).try_collect().await?;
    ensure_eq(all.len(), case.limits.depth, "how many directories a recursive list finds")?;
    case.files.rm(&ResourcePath::new("/d")?, RemoveOptions::recursive()).await?;
    ensure_eq(case.files.readdir(&ResourcePath::root()).await?.len(), 0, "what is left")
}

async fn most_file(case: Case) -> Outcome {
    let (at, size) = (ResourcePath::new("/f")?, case.limits.file.unwrap_or(LARGE));
    case.fill(&at, size).await?;
    ensure_eq(case.files.metadata(&at).await?.len, size, "the length")?;
    let read = case.files.read(&at, agentx_resource::ReadOptions::default()).await?;
    let length = read.body.try_fold(0, |sum, piece| async move { Ok(sum + piece.len() as u64) }).await?;
    ensure_eq(length, size, "how much is read")?;
    ensure_eq(case.files.read_range(&at, size - 1..size).await?, "x", "the last byte")?;
    if size == LARGE {
        let refused = case.files.read_file(&at).await;
        ensure_kind(refused, ErrorKind::LimitExceeded, "a read of all of it into memory")?;
    }
    Ok(())
}

async fn most_nothing(case: Case) -> Outcome {
    let [a, b, c] = ["/a", "/b", "/c"].map(ResourcePath::new);
    let (a, b, c) = (a?, b?, c?);
    case.files.write_file(&a, "").await?;
    case.fill(&b, 0).await?;
    case.files.copy(&a, &c, TransferOptions::default()).await?;
    for at in [&a, &b, &c] {
        ensure_eq(case.files.metadata(at).await?.len, 0, format!("the length of {at}"))?;
        ensure_eq(case.files.read_range(at, 0..10).await?, "", format!("what is read of {at}"))?;
    }
    Ok(())
}

async fn over_name(case: Case) -> Outcome {
    case.refuses(ResourcePath::root().join("n".repeat(case.limits.name + 1))).await
}

async fn over_path(case: Case) -> Outcome {
    case.refuses(long(case.limits.path + 1, case.limits.name)).await
}

async fn over_file(case: Case) -> Outcome {
    let Some(size) = case.limits.file.and_then(|size| usize::try_from(size).ok()) else { return Ok(()) };
    let at = ResourcePath::new("/f")?;
    case.files.write_file(&at, "kept").await?;
    for mode in [WriteMode::Overwrite, WriteMode::Append] {
        if mode == WriteMode::Append && !case.files.capabilities().append {
            continue;
        }
        let written = case.files.write(&at, Bytes::from(vec![b'x'; size + 1]), mode.into()).await;
        let Err(error) = written else { return Err(Failure::new("it is taken")) };
        ensure_eq(error.kind(), ErrorKind::LimitExceeded, "the kind of the error")?;
        ensure_eq((error.operation(), error.path()), ("write", Some("/f")), "what the error names")?;
    }
    case.is_only("/f", b"kept").await
}

async fn over_file_writer(case: Case) -> Outcome {
    let Some(size) = case.limits.file else { return Ok(()) };
    let at = ResourcePath::new("/f")?;
    case.files.write_file(&at, "kept").await?;
    ensure_kind(case.fill(&at, size + 1).await, ErrorKind::LimitExceeded, "a writer")?;
    case.is_only("/f", b"kept").await
}
