//! What the layers share that treat every operation alike: they differ in what happens around one step of it.

mod env;
mod fs;
mod llm;
mod process;

use std::{fmt, sync::Arc};

use self::{env::AroundEnv, fs::AroundFileSystem, llm::AroundLlmProvider, process::AroundProcess};
use crate::{Env, FileSystem, LLMProvider, Process, Result};

/// Such a layer.
pub(super) trait Around: Clone + fmt::Debug + Send + Sync + 'static {
    /// What is held for as long as an operation lasts: until its call is answered, and its body, list, writer or child
    /// has ended or is dropped.
    type Operation: Operation;

    /// Begins an operation on `subject`: a path, a program, a variable, a provider.
    fn begin(&self, verb: Verb, subject: &str) -> impl Future<Output = Self::Operation> + Send;
}

/// An operation under way.
pub(super) trait Operation: fmt::Debug + Send + Sync + 'static {
    /// Awaits one step: the call, the next piece or entry, a write to a writer.
    fn step<T, F>(&self, step: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Future<Output = Result<T>> + Send;

    /// Awaits what a command does, which takes as long as it takes.
    fn wait<T, F>(&self, wait: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        self.step(wait)
    }

    /// So many bytes went to the resource.
    fn sent(&self, _bytes: usize) {}

    /// So many bytes came from the resource.
    fn received(&self, _bytes: usize) {}
}

/// The kinds of operations, over all resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    Write,
    Stat,
    List,
    Mkdir,
    Rm,
    Rename,
    Copy,
    Spawn,
    Get,
    GetAll,
    Provide,
}

impl Verb {
    /// The verb as errors name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Stat => "stat",
            Self::List => "list",
            Self::Mkdir => "mkdir",
            Self::Rm => "rm",
            Self::Rename => "rename",
            Self::Copy => "copy",
            Self::Spawn => "spawn",
            Self::Get => "get",
            Self::GetAll => "get_all",
            Self::Provide => "provide",
        }
    }
}

pub(super) fn file_system(inner: Arc<dyn FileSystem>, around: impl Around) -> Arc<dyn FileSystem> {
    Arc::new(AroundFileSystem::new(inner, around))
}

pub(super) fn process(inner: Arc<dyn Process>, around: impl Around) -> Arc<dyn Process> {
    Arc::new(AroundProcess::new(inner, around))
}

pub(super) fn env(inner: Arc<dyn Env>, around: impl Around) -> Arc<dyn Env> {
    Arc::new(AroundEnv::new(inner, around))
}

pub(super) fn llm_provider<S: Send + 'static>(
    inner: Arc<dyn LLMProvider<S>>,
    around: impl Around,
) -> Arc<dyn LLMProvider<S>> {
    Arc::new(AroundLlmProvider::new(inner, around))
}
