//! The conformance kit on [`R2FileSystem`], over the stores that need no server.
#![cfg(test)]
#![cfg(feature = "r2")]

use std::sync::Arc;

use agentx_conformance::{Fresh, Profile, file_system_suite};
use agentx_provider_cloudflare::{
    R2FileSystem,
    object_store::{local::LocalFileSystem, memory::InMemory},
};
use agentx_resource::FileSystem;

file_system_suite!(memory, over_memory);
file_system_suite!(
    disk,
    over_a_disk,
    Profile::new()
        .deviates("names-long", "this store writes to `name#1` first, which the disk finds too long")
);

async fn over_memory() -> Fresh<dyn FileSystem> {
    Fresh::file_system(R2FileSystem::new(Arc::new(InMemory::new())).with_if_match())
}

async fn over_a_disk() -> Fresh<dyn FileSystem> {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(directory.path()).unwrap().with_automatic_cleanup(true);
    Fresh::file_system(R2FileSystem::new(Arc::new(store))).with_guard(directory)
}
