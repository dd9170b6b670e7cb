use std::sync::Arc;

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{FileSystem, ResourcePath, WriteMode, WriteOptions};
use bytes::Bytes;

use super::{Place, View};

/// How many results of one name are kept apart.
const ATTEMPTS: usize = 100;

/// A place for results that are too large for a model: they are written to a file there, and the model gets the
/// beginning, the end and the file's path. `read` and `grep` accept that path, also outside the runtime's root.
///
/// Nothing here removes the files; the directory is the owner's to empty.
#[derive(Clone, Debug)]
pub struct Offload {
    fs: Arc<dyn FileSystem>,
    view: View,
}

impl Offload {
    /// Files in the root of `fs`, which the agent sees at `view`: an absolute path. Use
    /// [`Chroot`](agentx_resource::layer::Chroot) for a directory of a larger file system.
    pub fn new(fs: Arc<dyn FileSystem>, view: impl AsRef<str>) -> Self {
        Self { fs, view: View::new(view.as_ref()) }
    }

    /// Writes a new file, and gives the path by which the agent reaches it. What `name` has besides letters, digits,
    /// `-` and `_` is left out.
    ///
    /// # Errors
    /// Those of [`FileSystem::write`].
    pub(crate) async fn store(&self, name: &str, content: Bytes) -> Result<String> {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
        let name: String = name.chars().filter(allowed).take(100).collect();
        let options = WriteOptions::from(WriteMode::CreateNew).with_create_parents();
        for attempt in 1..=ATTEMPTS {
            let suffix = if attempt == 1 { String::new() } else { format!("-{attempt}") };
            let path = ResourcePath::root().join(format!("{name}{suffix}.txt"))?;
            match self.fs.write(&path, content.clone(), options.clone()).await {
                Ok(_) => return Ok(self.view.display(&path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::AlreadyExists, "offload").with_path(name))
    }

    pub(super) fn place(&self, path: &str) -> Option<Place> {
        let inside = path.starts_with('/').then(|| self.view.resolve(&ResourcePath::root(), path).ok())??;
        Some(Place { fs: Arc::clone(&self.fs), path: inside, view: self.view.clone() })
    }
}
