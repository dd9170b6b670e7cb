use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use futures::TryStreamExt;

use super::{
    MirrorOptions, Side, Skipped,
    base::{Base, File, Stamp},
    name,
};
use crate::{
    ConditionStrength, DirEntry, Error, ErrorKind, FileKind, FileSystem, ListOptions, Metadata,
    RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions, WriteMode, WriteOptions,
};

/// How many numbers of conflicts are tried for one name.
const NUMBERS: u32 = 1000;

/// One of the two trees.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) side: Side,
    pub(super) fs: Arc<dyn FileSystem>,
}

/// All that is in a tree.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) entries: BTreeMap<ResourcePath, Entry>,
    /// Symbolic links and special files. What is there, and below, in the other tree can't be mirrored.
    pub(super) blocked: HashSet<ResourcePath>,
    /// Directories that hold what is not mirrored.
    pub(super) held: HashSet<ResourcePath>,
    /// What an interrupted sync was about to remove.
    pub(super) aside: Vec<ResourcePath>,
    pub(super) marker: Option<Stamp>,
    pub(super) skipped: Skipped,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    File(File),
    Directory,
}

/// Why a step was not done.
#[derive(Debug)]
pub(super) enum Issue {
    /// Somebody was at work there. Another look will tell what is to be done.
    Changed,
    Failed(Error),
}

impl From<Error> for Issue {
    /// Of an error which says that something else is there than was listed.
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ConditionFailed => Self::Changed,
            _ => Self::Failed(error),
        }
    }
}

impl Replica {
    /// Lists the whole tree.
    ///
    /// # Errors
    /// What the file system reports; `LimitExceeded`, `Unsupported` as the options and the files have it.
    pub(super) async fn snapshot(&self, options: &MirrorOptions) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        let mut list = self.fs.list(&ResourcePath::root(), ListOptions::recursive());
        let marker = name::own("marker")?;
        while let Some(entry) = list.try_next().await? {
            self.note(entry, options, &marker, &mut snapshot)?;
        }
        Ok(snapshot)
    }

    fn note(
        &self,
        DirEntry { path, metadata, .. }: DirEntry,
        options: &MirrorOptions,
        marker: &ResourcePath,
        snapshot: &mut Snapshot,
    ) -> Result<()> {
        let Some(path) = path else {
            snapshot.skipped.unaddressable += 1;
            return Ok(());
        };
        if options.mirrors(&path) {
            match metadata.kind {
                FileKind::File => {
                    let file = File::of(&metadata, self.side).map_err(|error| error.with_path(&path))?;
                    snapshot.entries.insert(path, Entry::File(file));
                }
                FileKind::Directory => {
                    snapshot.entries.insert(path, Entry::Directory);
                }
                FileKind::Symlink => {
                    snapshot.skipped.symlinks += 1;
                    snapshot.block(path);
                }
                FileKind::Other => {
                    snapshot.skipped.special += 1;
                    snapshot.block(path);
                }
            }
        } else {
            if name::is_reserved(&path) {
                if path == *marker && metadata.is_file() {
                    snapshot.marker = Some(File::of(&metadata, self.side)?.stamp);
                }
                if name::put_aside(&path).is_some() {
                    snapshot.aside.push(path.clone());
                }
            } else {
                snapshot.skipped.excluded += 1;
            }
            snapshot.held.extend(path.parent().filter(|parent| options.mirrors(parent)));
        }
        if snapshot.entries.len() + snapshot.blocked.len() + snapshot.aside.len() > options.max_entries {
            return Err(Error::new(ErrorKind::LimitExceeded, "sync").with_message(format!(
                "the {} tree has more than {} entries",
                self.side, options.max_entries
            )));
        }
        Ok(())
    }

    /// What is at `path` now, if anything is.
    pub(super) async fn look(&self, path: &ResourcePath) -> Result<Option<Metadata>> {
        match self.fs.stat(path, StatOptions::no_follow()).await {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether `path` is still `entry`.
    pub(super) async fn is(&self, path: &ResourcePath, entry: &Entry) -> Result<bool> {
        Ok(match (self.look(path).await?, entry) {
            (Some(now), Entry::Directory) => now.is_dir(),
            (Some(now), Entry::File(file)) => now.is_file() && File::of(&now, self.side)?.is(file),
            (None, _) => false,
        })
    }

    /// Whether what was read of `path` as `file` is that content for certain, also now that all of it was read.
    pub(super) async fn was_stable(&self, path: &ResourcePath, file: &File) -> Result<bool> {
        // Where the store itself swaps contents, a content never changes under its reader.
        if self.fs.capabilities().if_match == Some(ConditionStrength::Atomic) {
            return Ok(true);
        }
        self.is(path, &Entry::File(file.clone())).await
    }

    /// How to write over `file`, or where nothing is.
    ///
    /// # Errors
    /// `Changed` where the file system can't compare, and the file is another by now.
    pub(super) async fn mode(&self, path: &ResourcePath, over: Option<&File>) -> Result<WriteMode, Issue> {
        match over {
            None => Ok(WriteMode::CreateNew),
            Some(file) => match file.stamp.version() {
                Some(version) if self.fs.capabilities().if_match.is_some() => {
                    Ok(WriteMode::IfMatch(version.clone()))
                }
                _ if self.is(path, &Entry::File(file.clone())).await? => Ok(WriteMode::Overwrite),
                _ => Err(Issue::Changed),
            },
        }
    }

    /// Removes `entry`, and only that: a directory only if it is empty.
    ///
    /// Where a rename happens at once, the thing is taken aside first and looked at again there, so that nobody can
    /// change it between the look and the removal.
    ///
    /// # Errors
    /// `Changed`; `DirectoryNotEmpty`; what the file system reports.
    pub(super) async fn remove(&self, path: &ResourcePath, entry: &Entry) -> Result<(), Issue> {
        // What is gone may have been taken aside by a sync that was cut, and that is to be found before it is forgotten.
        if !self.is(path, entry).await? {
            return Err(Issue::Changed);
        }
        let capabilities = self.fs.capabilities();
        let at_once = match entry {
            Entry::File(_) => capabilities.atomic_rename,
            Entry::Directory => capabilities.atomic_dir_rename,
        };
        let Some(aside) = name::aside(path).filter(|_| at_once) else {
            return Ok(self.fs.rm(path, RemoveOptions::default()).await?);
        };
        self.fs.rename(path, &aside, TransferOptions::create_new()).await?;
        let result = match (self.look(&aside).await?, entry) {
            (Some(now), Entry::Directory) if now.is_dir() => self.remove_aside(&aside).await,
            (Some(now), Entry::File(file))
                if now.is_file() && file.is_renamed(&File::of(&now, self.side)?) =>
            {
                self.remove_aside(&aside).await
            }
            _ => Err(Issue::Changed),
        };
        match &result {
            // What failed is left aside. The next look at the tree finds it there.
            Ok(()) => {}
            Err(Issue::Failed(error)) if error.kind() != ErrorKind::DirectoryNotEmpty => {}
            Err(_) => self.put_back(&aside).await?,
        }
        result
    }

    async fn remove_aside(&self, aside: &ResourcePath) -> Result<(), Issue> {
        Ok(self.fs.rm(aside, RemoveOptions::default()).await?)
    }

    /// Ends a removal that was interrupted: what is still the file that was to be removed is, and anything else gets its
    /// name again.
    ///
    /// # Errors
    /// What the file systems report.
    pub(super) async fn recover(&self, aside: &ResourcePath, base: &Base, other: &Self) -> Result<()> {
        let (Some(path), Some(now)) = (name::put_aside(aside), self.look(aside).await?) else {
            return Ok(());
        };
        let known = base.records.get(&path).and_then(|record| record.on(self.side));
        let finish = match known {
            _ if now.is_dir() => true,
            Some(file) => {
                file.is_renamed(&File::of(&now, self.side)?)
                    && other.look(&path).await?.is_none_or(|there| there.is_dir())
            }
            None => false,
        };
        if finish {
            match self.fs.rm(aside, RemoveOptions::default().with_force()).await {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                result => return result,
            }
        }
        self.put_back(aside).await
    }

    /// Gives what was taken aside its name again, or that of a conflict if something else has the name by now.
    pub(super) async fn put_back(&self, aside: &ResourcePath) -> Result<()> {
        let Some(path) = name::put_aside(aside) else { return Ok(()) };
        let mut to = path.clone();
        for number in 1..=NUMBERS {
            match self.fs.rename(aside, &to, TransferOptions::create_new()).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => to = name::conflict(&path, number)?,
                // Another sync has put it back.
                Err(error) if error.kind() == ErrorKind::NotFound && self.look(aside).await?.is_none() => {
                    return Ok(());
                }
                result => return result,
            }
        }
        Err(no_number(&path))
    }

    /// Gives what is at `path` the name of a conflict that is free here and not `taken`.
    pub(super) async fn set_aside(
        &self,
        path: &ResourcePath,
        taken: &HashSet<ResourcePath>,
    ) -> Result<ResourcePath, Issue> {
        for number in 1..=NUMBERS {
            let to = name::conflict(path, number).map_err(Issue::Failed)?;
            if taken.contains(&to) {
                continue;
            }
            match self.fs.rename(path, &to, TransferOptions::create_new()).await {
                Ok(()) => return Ok(to),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Issue::Failed(no_number(path)))
    }

    /// Makes the marker by which this tree is known again. None where the tree can't be written.
    pub(super) async fn make_marker(&self) -> Result<Option<Stamp>> {
        let path = name::own("marker")?;
        // Two trees must not have one version of it, also where a version is made from the content alone.
        let random = || RandomState::new().hash_one(0);
        let text = format!("A mirror knows this tree by this file: {:016x}{:016x}\n", random(), random());
        let options = WriteOptions::from(WriteMode::CreateNew).with_create_parents();
        let metadata = match self.fs.write(&path, text.into(), options).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.look(&path).await? {
                Some(metadata) => metadata,
                None => return Ok(None),
            },
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(File::of(&metadata, self.side)?.stamp))
    }
}

impl Snapshot {
    fn block(&mut self, path: ResourcePath) {
        self.held.extend(path.parent());
        self.blocked.insert(path);
    }

    /// Whether a symbolic link or a special file is at `path` or above it.
    pub(super) fn blocks(&self, path: &ResourcePath) -> bool {
        let text = path.as_str();
        !self.blocked.is_empty()
            && (text.match_indices('/').skip(1).filter_map(|(end, _)| text.get(..end)))
                .chain([text])
                .any(|prefix| self.blocked.contains(prefix))
    }
}

fn no_number(path: &ResourcePath) -> Error {
    Error::new(ErrorKind::LimitExceeded, "sync")
        .with_path(path)
        .with_message(format!("it has {NUMBERS} conflicts already"))
}
