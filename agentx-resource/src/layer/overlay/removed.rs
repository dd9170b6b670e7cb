use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex as StateMutex, PoisonError},
};

use futures::lock::Mutex;

use crate::{
    Error, ErrorKind, FileSystem, FileSystemExt, RemoveOptions, ResourcePath, Result, WriteMode, WriteOptions,
};

/// The places of the base that are hidden, each with all that is below it. What the upper has there shows all the
/// same, so a place stays hidden when something new comes to be there.
#[derive(Debug)]
pub(super) struct Removed {
    upper: Arc<dyn FileSystem>,
    paths: StateMutex<BTreeSet<ResourcePath>>,
    /// One change of the note at a time.
    writing: Mutex<()>,
}

/// The directory of the upper that callers don't see.
pub(super) const RESERVED: &str = "/.agentx-overlay";
/// The paths, each ended by NUL, which no path holds.
const NOTE: &str = "/.agentx-overlay/removed";

impl Removed {
    pub(super) async fn load(upper: Arc<dyn FileSystem>) -> Result<Self> {
        let note = ResourcePath::new(NOTE)?;
        let paths = match upper.read_to_string(&note).await {
            Ok(text) => parse(&text, &note)?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { upper, paths: StateMutex::new(paths), writing: Mutex::new(()) })
    }

    /// Whether the base is hidden at `path`.
    pub(super) fn covers(&self, path: &ResourcePath) -> bool {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::successors(Some(path.clone()), ResourcePath::parent).any(|path| paths.contains(&path))
    }

    pub(super) fn all(&self) -> BTreeSet<ResourcePath> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hides the base at `path`. It is noted before it shows.
    pub(super) async fn add(&self, path: &ResourcePath) -> Result<()> {
        let _writing = self.writing.lock().await;
        let mut paths = self.all();
        paths.retain(|other| !other.starts_with(path));
        paths.insert(path.clone());
        let text: String = paths.iter().flat_map(|path| [path.as_str(), "\0"]).collect();
        let options = WriteOptions::from(WriteMode::Overwrite).with_create_parents();
        self.upper.write(&ResourcePath::new(NOTE)?, text.into(), options).await?;
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner) = paths;
        Ok(())
    }

    /// Hides nothing any more.
    pub(super) async fn clear(&self) -> Result<()> {
        let _writing = self.writing.lock().await;
        let options = RemoveOptions::default().with_force();
        self.upper.rm(&ResourcePath::new(NOTE)?, options).await?;
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

fn parse(text: &str, note: &ResourcePath) -> Result<BTreeSet<ResourcePath>> {
    let corrupt = || Error::new(ErrorKind::Corrupt, "open").with_path(note);
    let mut paths = BTreeSet::new();
    for path in text.split_terminator('\0') {
        paths.insert(ResourcePath::new(path).map_err(|error| corrupt().with_source(error))?);
    }
    if text.is_empty() || text.ends_with('\0') { Ok(paths) } else { Err(corrupt()) }
}
