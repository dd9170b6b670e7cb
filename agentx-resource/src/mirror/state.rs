use std::sync::Arc;

use super::{BaseState, MirrorOptions, Pair, Side, base::Base, name};
use crate::{
    Error, ErrorKind, FileSystem, ReadOptions, ResourcePath, Result, Retry, Version, WriteMode, WriteOptions,
};

/// The largest state, in bytes: many times what the default of `max_entries` comes to.
const LIMIT: u64 = 1 << 30;

/// The file that holds the [`Base`] between two syncs.
#[derive(Debug)]
pub(super) struct StateFile {
    fs: Arc<dyn FileSystem>,
    path: ResourcePath,
    seen: Seen,
}

/// What the file was when this sync looked at it.
#[derive(Debug)]
enum Seen {
    Missing,
    There(Option<Version>),
}

impl StateFile {
    /// Reads the state.
    ///
    /// # Errors
    /// `Unsupported` for a newer format, which is left as it is; what the file system reports.
    pub(super) async fn open(pair: &Pair, options: &MirrorOptions) -> Result<(Self, Base, BaseState)> {
        let (fs, path) = match &options.state {
            Some((fs, path)) => (Arc::clone(fs), path.clone()),
            None => (Arc::clone(&pair.on(Side::Local).fs), name::own("state")?),
        };
        let read = match fs.read(&path, ReadOptions::default()).await {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((Self { fs, path, seen: Seen::Missing }, Base::default(), BaseState::First));
            }
            Err(error) => return Err(error),
        };
        let seen = Seen::There(read.metadata.version.clone());
        let (base, state) = match Base::decode(&read.bytes(LIMIT).await?) {
            Ok(base) => (base, BaseState::Known),
            Err(error) if error.kind() == ErrorKind::Corrupt => (Base::default(), BaseState::Damaged),
            Err(error) => return Err(error.with_path(&path)),
        };
        Ok((Self { fs, path, seen }, base, state))
    }

    /// Replaces the state, if it is still the one that this sync has seen.
    ///
    /// # Errors
    /// `Busy` if it is not; what the file system reports.
    pub(super) async fn publish(&mut self, base: &Base) -> Result<()> {
        let mode = match &self.seen {
            Seen::Missing => WriteMode::CreateNew,
            Seen::There(Some(version)) if self.fs.capabilities().if_match.is_some() => {
                WriteMode::IfMatch(version.clone())
            }
            Seen::There(_) => WriteMode::Overwrite,
        };
        let options = WriteOptions::from(mode).with_create_parents();
        match self.fs.write(&self.path, base.encode().into(), options).await {
            Ok(metadata) => {
                self.seen = Seen::There(metadata.version);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed | ErrorKind::AlreadyExists) => {
                Err(Error::new(ErrorKind::Busy, "write state")
                    .with_path(&self.path)
                    .with_message("another sync has written it meanwhile")
                    .with_retry(Retry::After(None))
                    .with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}
