use std::sync::Arc;

use bytes::Bytes;

use super::{
    super::lock,
    MemoryFileSystem,
    real::Last,
    tree::{Node, fail},
};
use crate::{ErrorKind, MkdirOptions, ResourcePath, Result, WriteMode};

/// The name of what [`MemoryFileSystem::unaddressable`] plants.
const UNADDRESSABLE: &str = "caf\0";

/// What comes into a tree from outside, as by a command: the verbs make none of it.
impl MemoryFileSystem {
    /// Declares symlinks, which [`MemoryFileSystem::symlink`] plants. Whoever makes them sees the root at `seen_at`
    /// (as [`MemoryProcess::with_root`](super::super::MemoryProcess::with_root) says it): a link to an absolute path
    /// below stays inside, any other absolute one leads out. To be asked for before the tree is used.
    pub fn with_symlinks(self, seen_at: impl Into<Arc<str>>) -> Self {
        lock(&self.tree).links_from = Some(seen_at.into());
        self
    }

    /// Declares permission bits, which [`MemoryFileSystem::set_mode`] sets: `0o644` for new files and `0o755` for new
    /// directories. The owner's bits are heeded. To be asked for before the tree is used.
    pub fn with_mode_bits(self) -> Self {
        lock(&self.tree).modes = true;
        self
    }

    /// Plants a link at `at` that leads to `target`, whether something is there or not.
    ///
    /// # Errors
    /// `Unsupported` without [`MemoryFileSystem::with_symlinks`]; those of a write of a new file.
    pub fn symlink(&self, target: impl Into<Arc<str>>, at: &ResourcePath) -> Result<()> {
        if lock(&self.tree).links_from.is_none() {
            return Err(fail(ErrorKind::Unsupported, "symlink", at));
        }
        self.plant(at, Node::Link(target.into()))
    }

    /// Gives what is at `at` these permission bits.
    ///
    /// # Errors
    /// `Unsupported` without [`MemoryFileSystem::with_mode_bits`]; `NotFound`.
    pub fn set_mode(&self, at: &ResourcePath, bits: u32) -> Result<()> {
        let mut tree = lock(&self.tree);
        if !tree.modes {
            return Err(fail(ErrorKind::Unsupported, "set mode", at));
        }
        match tree.find_mut(at) {
            Some(Node::File(file)) => file.mode = bits & 0o777,
            Some(Node::Directory(directory)) => directory.mode = bits & 0o777,
            _ => return Err(fail(ErrorKind::NotFound, "set mode", at)),
        }
        Ok(())
    }

    /// Plants something that is neither a file nor a directory nor a link, as a FIFO is.
    ///
    /// # Errors
    /// Those of a write of a new file.
    pub fn special(&self, at: &ResourcePath) -> Result<()> {
        self.plant(at, Node::Other)
    }

    /// Plants a file whose name is no path, in the directory `directory`. It is listed as `caf` and U+FFFD.
    ///
    /// # Errors
    /// Those of a write of a new file.
    pub fn unaddressable(&self, directory: &ResourcePath, content: impl Into<Bytes>) -> Result<()> {
        let at = directory.join("caf")?;
        let mut tree = lock(&self.tree);
        let directory = tree.real(directory, Last::Followed, "plant")?;
        let named = directory.join("caf")?;
        let written = tree.write(&named, content.into(), &WriteMode::CreateNew.into(), None);
        written.map_err(|error| error.with_path(at))?;
        // No path has a NUL, so that nobody can name this.
        if let Some(Node::Directory(directory)) = tree.find_mut(&directory)
            && let Some(node) = directory.entries.remove("caf")
        {
            directory.entries.insert(UNADDRESSABLE.into(), node);
        }
        Ok(())
    }

    fn plant(&self, at: &ResourcePath, node: Node) -> Result<()> {
        let mut tree = lock(&self.tree);
        let real = tree.real(at, Last::Itself, "plant")?;
        // The same questions as for a directory, which is then replaced.
        tree.mkdir(&real, &MkdirOptions::default()).map_err(|error| error.with_path(at))?;
        if let Some(place) = tree.find_mut(&real) {
            *place = node;
        }
        Ok(())
    }
}
