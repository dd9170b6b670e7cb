//! Random operations have the same results and leave the same tree as in memory, which is the specification.
#![cfg(test)]
#![cfg(feature = "r2")]

use std::sync::Arc;

use agentx_provider_cloudflare::{
    R2FileSystem,
    object_store::{local::LocalFileSystem, memory::InMemory},
};
use agentx_resource::{
    ErrorKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions, RemoveOptions, ResourcePath, Result,
    TransferOptions, WriteMode, WriteOptions, memory::MemoryFileSystem,
};
use futures::TryStreamExt;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Write { path: ResourcePath, create_new: bool, create_parents: bool },
    Mkdir { path: ResourcePath, recursive: bool },
    Remove { path: ResourcePath, recursive: bool, force: bool },
    Rename { from: ResourcePath, to: ResourcePath, create_new: bool },
    Copy { from: ResourcePath, to: ResourcePath, create_new: bool },
    Read { path: ResourcePath, from: u64 },
    Stat { path: ResourcePath },
    List { path: ResourcePath, recursive: bool },
}

/// Few names, so that operations meet; among them some that keys, stores and markers make much of.
const NAMES: &[&str] = &["a", "b", "a#1", "%41", ".agentx-dir", "ü\n", "a!", "c:"];

fn path() -> impl Strategy<Value = ResourcePath> {
    prop::collection::vec(prop::sample::select(NAMES), 0..4)
        .prop_map(|names| ResourcePath::new(format!("/{}", names.join("/"))).unwrap())
}

fn operation() -> impl Strategy<Value = Operation> {
    let flag = any::<bool>;
    prop_oneof![
        4 => (path(), flag(), flag()).prop_map(|(path, create_new, create_parents)| Operation::Write {
            path,
            create_new,
            create_parents
        }),
        2 => (path(), flag()).prop_map(|(path, recursive)| Operation::Mkdir { path, recursive }),
        2 => (path(), flag(), flag()).prop_map(|(path, recursive, force)| Operation::Remove {
            path,
            recursive,
            force
        }),
        2 => (path(), path(), flag()).prop_map(|(from, to, create_new)| Operation::Rename { from, to, create_new }),
        2 => (path(), path(), flag()).prop_map(|(from, to, create_new)| Operation::Copy { from, to, create_new }),
        1 => (path(), 0..4u64).prop_map(|(path, from)| Operation::Read { path, from }),
        1 => path().prop_map(|path| Operation::Stat { path }),
        1 => (path(), flag()).prop_map(|(path, recursive)| Operation::List { path, recursive }),
    ]
}

/// What can be seen of the result of an operation.
async fn apply(fs: &dyn FileSystem, operation: &Operation, step: usize) -> Result<Vec<String>, ErrorKind> {
    let mut transfer = TransferOptions::default();
    let result = match operation {
        Operation::Write { path, create_new, create_parents } => {
            let mut options = WriteOptions::default();
            if *create_new {
                options = options.with_mode(WriteMode::CreateNew);
            }
            options.create_parents = *create_parents;
            fs.write(path, step.to_string().into(), options)
                .await
                .map(|written| vec![written.len.to_string()])
        }
        Operation::Mkdir { path, recursive } => {
            let options = if *recursive { MkdirOptions::recursive() } else { MkdirOptions::default() };
            fs.mkdir(path, options).await.map(|()| Vec::new())
        }
        Operation::Remove { path, recursive, force } => {
            let mut options = RemoveOptions::default();
            (options.recursive, options.force) = (*recursive, *force);
            fs.rm(path, options).await.map(|()| Vec::new())
        }
        Operation::Rename { from, to, create_new } => {
            transfer.create_new = *create_new;
            fs.rename(from, to, transfer).await.map(|()| Vec::new())
        }
        Operation::Copy { from, to, create_new } => {
            transfer.create_new = *create_new;
            fs.copy(from, to, transfer).await.map(|()| Vec::new())
        }
        Operation::Read { path, from } => {
            fs.read_range(path, *from..).await.map(|content| vec![format!("{content:?}")])
        }
        Operation::Stat { path } => {
            fs.metadata(path).await.map(|metadata| vec![format!("{:?}", metadata.kind)])
        }
        Operation::List { path, recursive } => list(fs, path, *recursive).await,
    };
    result.map_err(|error| error.kind())
}

async fn list(fs: &dyn FileSystem, path: &ResourcePath, recursive: bool) -> Result<Vec<String>> {
    let options = if recursive { ListOptions::recursive() } else { ListOptions::default() };
    let entries: Vec<_> = fs.list(path, options).try_collect().await?;
    let shown = entries.iter().map(|entry| {
        let metadata = &entry.metadata;
        format!("{:?} {:?} {} {:?}", entry.path, entry.name, metadata.len, metadata.kind)
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    Ok(shown)
}

/// The whole tree, with the content of its files.
async fn tree(fs: &dyn FileSystem) -> Vec<String> {
    let mut shown = Vec::new();
    for entry in fs.walk(&ResourcePath::root()).try_collect::<Vec<_>>().await.unwrap() {
        let path = entry.path.unwrap();
        let content = if entry.metadata.is_file() {
            fs.read_to_string(&path).await.unwrap()
        } else {
            "directory".to_owned()
        };
        shown.push(format!("{path:?} {content}"));
    }
    shown.sort();
    shown
}

fn check(fs: &dyn FileSystem, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let oracle = MemoryFileSystem::new();
        for (step, operation) in operations.iter().enumerate() {
            let expected = apply(&oracle, operation, step).await;
            assert_eq!(apply(fs, operation, step).await, expected, "step {step}: {operation:?}");
        }
        assert_eq!(tree(fs).await, tree(&oracle).await);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn as_in_memory_over_an_object_store(operations in prop::collection::vec(operation(), 1..40)) {
        check(&R2FileSystem::new(Arc::new(InMemory::new())), &operations);
    }

    #[test]
    fn every_path_has_a_file_of_its_own(paths in prop::collection::btree_set(r"(/\PC{1,30}){1,4}", 1..8)) {
        let operations: Vec<_> = paths
            .iter()
            .filter_map(|path| ResourcePath::new(path).ok())
            .map(|path| Operation::Write { path, create_new: false, create_parents: true })
            .collect();
        check(&R2FileSystem::new(Arc::new(InMemory::new())), &operations);
        on_a_disk(&operations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn as_in_memory_over_a_disk(operations in prop::collection::vec(operation(), 1..40)) {
        on_a_disk(&operations);
    }
}

fn on_a_disk(operations: &[Operation]) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(directory.path()).unwrap().with_automatic_cleanup(true);
    check(&R2FileSystem::new(Arc::new(store)), operations);
}
