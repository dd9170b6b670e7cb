//! Providers that are broken on purpose. Each is a mistake that real stores and adapters make, and each is caught by
//! the case that it names: a kit that never failed proves nothing.
//!
//! ```
//! use agentx_conformance::faulty::{FaultyFileSystem, FileSystemFault};
//! use agentx_resource::{ErrorKind, FileSystemExt, ResourcePath};
//!
//! # futures::executor::block_on(async {
//! let fs = FaultyFileSystem::new(FileSystemFault::IgnoresCreateNew);
//! let path = ResourcePath::new("/a")?;
//! fs.create_new(&path, "one").await?;
//! fs.create_new(&path, "two").await?;
//! assert_eq!(FileSystemFault::IgnoresCreateNew.caught_by(), "create-new-existing");
//! # Ok::<(), agentx_resource::Error>(()) }).unwrap();
//! ```

mod careless;
mod child;
mod disk;
mod env;
mod fault;
mod file_system;
mod inbox;
mod limited;
mod live;
mod llm;
mod mutant;
mod pair;
mod planted;
mod process;
mod repository;
mod session;
mod writer;

pub use self::{
    disk::FaultyDisk,
    env::FaultyEnv,
    fault::{
        DiskFault, EnvFault, FileSystemFault, LimitsFault, LlmProviderFault, PairFault, PlantedFault,
        ProcessFault, RepositoryFault,
    },
    file_system::FaultyFileSystem,
    limited::faulty_limited,
    live::{FaultyLive, LiveFault},
    llm::FaultyLlmProvider,
    mutant::{FileSystemMutation, MutantFileSystem},
    pair::faulty_pair,
    planted::faulty_planted,
    process::FaultyProcess,
    repository::FaultyRepositories,
};

/// Lets every other task of a race come as far as this one.
async fn dawdle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
