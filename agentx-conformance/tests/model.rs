//! Random operations: layers agree with memory, and a fault does not.
#![cfg(test)]

use std::sync::Arc;

use agentx_conformance::{
    Failure, Fresh,
    faulty::{FaultyFileSystem, FileSystemFault},
    file_system::model,
};
use agentx_resource::{
    FileSystem, Layer, MkdirOptions, ResourcePath, Result,
    layer::{Chroot, WriteBack},
    memory::MemoryFileSystem,
};

async fn chrooted() -> Result<Fresh<dyn FileSystem>> {
    let whole: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let base = ResourcePath::new("/a/d")?;
    whole.mkdir(&base, MkdirOptions::recursive()).await?;
    Ok(Fresh::new(Chroot::new(base).layer(whole)))
}

#[test]
fn a_chroot_does_what_memory_does() -> Result<(), Failure> {
    model::agrees(chrooted, 300)
}

#[test]
fn a_write_back_does_what_memory_does() -> Result<(), Failure> {
    let fresh = || async { WriteBack::open(Arc::new(MemoryFileSystem::new())).map(Fresh::file_system) };
    model::agrees(fresh, 300)
}

#[test]
fn an_undeclared_append_is_expected_to_be_refused() {
    let fresh = || async { Fresh::file_system(FaultyFileSystem::new(FileSystemFault::HidesAppend)) };
    let failure = model::agrees(fresh, 200).unwrap_err().to_string();
    assert!(failure.contains("Refused(Unsupported)"), "{failure}");
}

#[test]
fn faults_of_sequences_are_found_and_told_by_a_short_one() {
    for fault in [
        FileSystemFault::VanishingDirectories,
        FileSystemFault::RenamesByCopy,
        FileSystemFault::CopiesInto,
        FileSystemFault::DestroysDestination,
        FileSystemFault::LosesEmptyWriter,
    ] {
        let fresh = || async move { Fresh::file_system(FaultyFileSystem::new(fault)) };
        let failure = model::agrees(fresh, 200).unwrap_err().to_string();
        let told = failure.split_once("as the last of").unwrap().1;
        // Not longer than what it takes: to make something, and to move or remove it.
        let operations = told.lines().filter(|line| line.starts_with("    ") && line.ends_with('{')).count();
        assert!((1..=4).contains(&operations), "{fault:?}: {failure}");
    }
}
