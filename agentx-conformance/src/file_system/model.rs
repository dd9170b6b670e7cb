//! Random sequences of operations, on a provider and on [`MemoryFileSystem`] side by side: what they answer and what
//! is there afterwards must be the same.
//!
//! The rows of `docs/semantics.md` ask one thing at a time. This asks for what nobody thought of.

use agentx_resource::{
    ErrorKind, FileKind, FileSystem, FileSystemExt, ListOptions, Metadata, MkdirOptions, ReadOptions,
    ReadRange, RemoveOptions, ResourcePath, Result, TransferOptions, Version, WriteMode, WriteOptions,
    memory::MemoryFileSystem,
};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use crate::{Failure, Fresh, IntoFresh, Outcome, case::runtime, failure::ensure_eq};

/// The longest sequence, in operations.
const LONGEST: usize = 40;

/// Few, so that sequences meet themselves; with names that begin alike.
const PATHS: [&str; 13] = [
    "/", "/a", "/b", "/ab", "/a.txt", "/a/a", "/a/b", "/b/a", "/b/ü", "/a/b/a", "/a/b/b", "/b/a/b",
    "/a/b/a/a",
];

const CONTENTS: [&str; 4] = ["", "x", "yy", "0123456789"];

/// Tries `runs` sequences of up to 40 operations on file systems of `factory`, each of which begins empty. The same
/// `runs` try the same sequences. A sequence that shows a difference is shortened before it is told.
///
/// ```
/// use agentx_conformance::{Fresh, file_system::model};
/// use agentx_resource::memory::MemoryFileSystem;
///
/// model::agrees(|| async { Fresh::file_system(MemoryFileSystem::new()) }, 10)?;
/// # Ok::<(), agentx_conformance::Failure>(())
/// ```
///
/// # Errors
/// The shortest sequence that was found whose last operation has another result than in memory.
pub fn agrees<F, G>(factory: F, runs: u32) -> Outcome
where
    F: Fn() -> G,
    G: Future<Output: IntoFresh<dyn FileSystem>>,
{
    let runtime = runtime()?;
    let config = Config { cases: runs, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let tried = TestRunner::new_with_rng(config, random).run(&vec(operation(), 1..LONGEST), |operations| {
        runtime
            .block_on(async { compare(factory().await.into_fresh()?, &operations).await })
            .map_err(|failure| TestCaseError::fail(failure.to_string()))
    });
    match tried {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, operations)) => {
            Err(Failure::new(format!("{reason}\nas the last of {operations:#?}")))
        }
        Err(TestError::Abort(reason)) => Err(Failure::new(reason.to_string())),
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Write { at: ResourcePath, content: &'static str, mode: Mode, create_parents: bool, in_pieces: bool },
    Read { at: ResourcePath, range: Option<ReadRange>, condition: Option<Held> },
    Stat { at: ResourcePath },
    List { at: ResourcePath, recursive: bool },
    Mkdir { at: ResourcePath, recursive: bool },
    Rm { at: ResourcePath, recursive: bool, force: bool },
    Rename { from: ResourcePath, to: ResourcePath, create_new: bool },
    Copy { from: ResourcePath, to: ResourcePath, create_new: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Overwrite,
    CreateNew,
    IfMatch(Held),
    Append,
}

/// The version of a condition: each file system has its own tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Current,
    Other,
}

/// What an operation answers, as far as file systems must agree on it.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Known(FileKind, u64),
    Content(Bytes),
    Entries(Vec<(String, FileKind, u64)>),
    Refused(ErrorKind),
}

fn operation() -> impl Strategy<Value = Operation> {
    let path = || select(&PATHS[..]).prop_filter_map("a path", |path| ResourcePath::new(path).ok());
    let held = || select(&[Held::Current, Held::Other][..]);
    let mode = prop_oneof![
        3 => Just(Mode::Overwrite),
        1 => Just(Mode::CreateNew),
        1 => held().prop_map(Mode::IfMatch),
        1 => Just(Mode::Append),
    ];
    let range = proptest::option::of((0_u64..12, 0_u64..12, 0..3).prop_map(|(a, b, kind)| match kind {
        0 => ReadRange::Bounded(a..b),
        1 => ReadRange::From(a),
        _ => ReadRange::Last(a),
    }));
    let write = (path(), select(&CONTENTS[..]), mode, any::<bool>(), any::<bool>()).prop_map(
        |(at, content, mode, create_parents, in_pieces)| {
            // Whether a writer that fails leaves the parents which it made is left open.
            let create_parents = create_parents && !(in_pieces && matches!(mode, Mode::IfMatch(_)));
            Operation::Write { at, content, mode, create_parents, in_pieces }
        },
    );
    prop_oneof![
        4 => write,
        1 => (path(), range, proptest::option::of(held()))
            .prop_map(|(at, range, condition)| Operation::Read { at, range, condition }),
        1 => path().prop_map(|at| Operation::Stat { at }),
        1 => (path(), any::<bool>()).prop_map(|(at, recursive)| Operation::List { at, recursive }),
        3 => (path(), any::<bool>()).prop_map(|(at, recursive)| Operation::Mkdir { at, recursive }),
        2 => (path(), any::<bool>(), any::<bool>())
            .prop_map(|(at, recursive, force)| Operation::Rm { at, recursive, force }),
        3 => (path(), path(), any::<bool>())
            .prop_map(|(from, to, create_new)| Operation::Rename { from, to, create_new }),
        3 => (path(), path(), any::<bool>())
            .prop_map(|(from, to, create_new)| Operation::Copy { from, to, create_new }),
    ]
}

async fn compare(fresh: Fresh<dyn FileSystem>, operations: &[Operation]) -> Outcome {
    let (fs, _guard) = fresh.into_parts();
    let memory = MemoryFileSystem::new();
    for operation in operations {
        let expected = match operation {
            Operation::Write { mode: Mode::Append, .. } if !fs.capabilities().append => {
                Answer::Refused(ErrorKind::Unsupported)
            }
            Operation::Write { mode: Mode::IfMatch(_), .. } if fs.capabilities().if_match.is_none() => {
                Answer::Refused(ErrorKind::Unsupported)
            }
            _ => answer(&memory, operation).await,
        };
        ensure_eq(answer(&*fs, operation).await, expected, format!("{operation:?}"))?;
        ensure_eq(tree(&*fs).await?, tree(&memory).await?, format!("the tree after {operation:?}"))?;
    }
    Ok(())
}

async fn answer(fs: &dyn FileSystem, operation: &Operation) -> Answer {
    apply(fs, operation).await.unwrap_or_else(|error| Answer::Refused(error.kind()))
}

async fn apply(fs: &dyn FileSystem, operation: &Operation) -> Result<Answer> {
    let transfer =
        |create_new| if create_new { TransferOptions::create_new() } else { TransferOptions::default() };
    match operation.clone() {
        Operation::Write { at, content, mode, create_parents, in_pieces } => {
            let mode = match mode {
                Mode::Overwrite => WriteMode::Overwrite,
                Mode::CreateNew => WriteMode::CreateNew,
                Mode::Append => WriteMode::Append,
                Mode::IfMatch(held) => WriteMode::IfMatch(version(fs, &at, held).await),
            };
            let mut options = WriteOptions::from(mode);
            options.create_parents = create_parents;
            let content = Bytes::from_static(content.as_bytes());
            let written = if in_pieces {
                let mut writer = fs.writer(&at, options).await?;
                for piece in content.chunks(3) {
                    writer.write(Bytes::copy_from_slice(piece)).await?;
                }
                writer.close().await?
            } else {
                fs.write(&at, content, options).await?
            };
            return Ok(known(&written));
        }
        Operation::Read { at, range, condition } => {
            let mut options = ReadOptions::default();
            options.range = range;
            options.if_match = match condition {
                Some(Held::Other) => Some(version(fs, &at, Held::Other).await),
                // A file system without versions has no condition to ask for.
                Some(Held::Current) => fs.metadata(&at).await.ok().and_then(|metadata| metadata.version),
                None => None,
            };
            return Ok(Answer::Content(fs.read(&at, options).await?.bytes(1 << 20).await?));
        }
        Operation::Stat { at } => return Ok(known(&fs.metadata(&at).await?)),
        Operation::List { at, recursive } => {
            let options = if recursive { ListOptions::recursive() } else { ListOptions::default() };
            let entries: Vec<_> = fs.list(&at, options).try_collect().await?;
            let mut entries: Vec<_> = entries
                .into_iter()
                .map(|entry| {
                    let path = entry.path.map_or(entry.name, |path| path.to_string());
                    (path, entry.metadata.kind, entry.metadata.len)
                })
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(Answer::Entries(entries));
        }
        Operation::Mkdir { at, recursive } => {
            let options = if recursive { MkdirOptions::recursive() } else { MkdirOptions::default() };
            fs.mkdir(&at, options).await?;
        }
        Operation::Rm { at, recursive, force } => {
            let options = if recursive { RemoveOptions::recursive() } else { RemoveOptions::default() };
            fs.rm(&at, if force { options.with_force() } else { options }).await?;
        }
        Operation::Rename { from, to, create_new } => fs.rename(&from, &to, transfer(create_new)).await?,
        Operation::Copy { from, to, create_new } => fs.copy(&from, &to, transfer(create_new)).await?,
    }
    Ok(Answer::Done)
}

fn known(metadata: &Metadata) -> Answer {
    Answer::Known(metadata.kind, metadata.len)
}

/// The version that is there, or one that never was.
async fn version(fs: &dyn FileSystem, at: &ResourcePath, held: Held) -> Version {
    let current = match held {
        Held::Current => fs.metadata(at).await.ok().and_then(|metadata| metadata.version),
        Held::Other => None,
    };
    current.unwrap_or_else(|| Version::new("no such version"))
}

/// Every path, and the content of every file.
async fn tree(fs: &dyn FileSystem) -> Result<Vec<(String, Option<Bytes>)>> {
    let mut tree = Vec::new();
    for entry in fs.walk(&ResourcePath::root()).try_collect::<Vec<_>>().await? {
        let content = match (&entry.path, entry.metadata.kind) {
            (Some(path), FileKind::File) => Some(fs.read_file(path).await?),
            _ => None,
        };
        tree.push((entry.path.map_or(entry.name, |path| path.to_string()), content));
    }
    tree.sort_unstable();
    Ok(tree)
}
