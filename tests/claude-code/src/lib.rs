//! The claude CLI for tests: which versions there are, and how one is run so that nothing of this machine reaches it and it
//! reaches nothing but a server on the loopback.
//!
//! `cargo xtask test claude-code` installs the CLI and sets the variables. To run a single test by hand, set
//! [`Version::variable`] to the path of a binary, and run the test with ignored ones included.

#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "of no use but in tests")]

pub mod drift;
pub mod engine;

use std::{env, sync::Arc};

use agentx::SystemClock;
use agentx_driver_claude::code::{ClaudeCode, ClaudeCodeSettings};
use agentx_provider_local::LocalProcess;
use agentx_resource::{ApiSupply, memory::MemoryLlmProvider};
use agentx_tests::messages_server::MessagesServer;
use tempfile::TempDir;

/// What the CLI is given as a key.
pub const KEY: &str = "sk-ant-planted-key";

/// One of the versions of the CLI that the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that is pinned.
    Pinned,
    /// One from months before.
    Older,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pinned, Self::Older];

    /// The variable with the path of its binary.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Pinned => "AGENTX_CLAUDE_CODE",
            Self::Older => "AGENTX_CLAUDE_CODE_OLDER",
        }
    }

    /// The path of its binary.
    ///
    /// # Panics
    /// Where the variable is not set: then nothing can be tested.
    pub fn program(self) -> String {
        let variable = self.variable();
        let why =
            || panic!("{variable} is not set; `cargo xtask test claude-code` installs the CLI and sets it");
        env::var(variable).unwrap_or_else(|_| why())
    }
}

/// A directory with a place to work in and a home, both of one test alone.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("work")).unwrap();
        Self { directory }
    }

    /// Where the CLI works.
    pub fn work(&self) -> std::path::PathBuf {
        self.directory.path().join("work")
    }

    /// The CLI's home.
    pub fn home(&self) -> std::path::PathBuf {
        self.directory.path().join("home")
    }

    /// The processes of this place.
    pub fn process(&self) -> LocalProcess {
        LocalProcess::new(self.work()).unwrap()
    }

    /// How this version is run here.
    pub fn settings(&self, version: Version) -> ClaudeCodeSettings {
        ClaudeCodeSettings::new(self.home().to_str().unwrap()).with_program(version.program())
    }

    /// A driver with these settings, which asks `server`.
    pub fn driver(&self, settings: ClaudeCodeSettings, server: &MessagesServer) -> ClaudeCode {
        let supply = ApiSupply::new(KEY).with_base_url(server.base_url());
        let supply = Arc::new(MemoryLlmProvider::new("test", supply));
        ClaudeCode::new(Arc::new(self.process()), settings, Arc::new(SystemClock)).with_supply(supply)
    }
}
