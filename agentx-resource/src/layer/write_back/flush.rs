use futures::{StreamExt, stream};

use super::{
    WriteBack,
    view::{Condition, Held},
};
use crate::{Error, ErrorKind, Metadata, ReadOptions, ResourcePath, Result, WriteMode};

/// How many files are written at a time.
const AT_ONCE: usize = 8;

/// What a flush has done.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FlushReport {
    /// The files that the store has now.
    pub written: Vec<ResourcePath>,
    /// Why others were not written, each with its path: `ConditionFailed` and `AlreadyExists` where somebody else has
    /// changed the file. They are still held.
    pub failures: Vec<Error>,
}

impl FlushReport {
    /// The report, if everything was written.
    ///
    /// # Errors
    /// The first failure.
    pub fn complete(self) -> Result<Self> {
        match self.failures.first() {
            Some(failure) => Err(failure.clone()),
            None => Ok(self),
        }
    }
}

impl WriteBack {
    /// Writes what is held. Other changes wait until it is done.
    ///
    /// What was written is saved. What could not be written is still held, and is in the report: ask
    /// [`FlushReport::complete`] before you tell anybody that it is saved.
    pub async fn flush(&self) -> FlushReport {
        let _all = self.locks.lock(vec![ResourcePath::root()]).await;
        let held = self.view().held(|_| true);
        let mut report = FlushReport::default();
        let mut results = stream::iter(held)
            .map(|held| async move { self.save(&held).await.map(|()| held.path) })
            .buffer_unordered(AT_ONCE);
        while let Some(result) = results.next().await {
            match result {
                Ok(path) => report.written.push(path),
                Err(error) => report.failures.push(error),
            }
        }
        report.written.sort();
        report
    }

    /// Writes what is held at, above and below `paths`, which the caller has locked.
    pub(super) async fn flush_at(&self, paths: &[&ResourcePath]) -> Result<()> {
        let held = self
            .view()
            .held(|held| paths.iter().any(|path| held.starts_with(path) || path.starts_with(held)));
        for held in held {
            self.save(&held).await?;
        }
        Ok(())
    }

    async fn save(&self, held: &Held) -> Result<()> {
        let mode = match &held.condition {
            Condition::Always => WriteMode::Overwrite,
            Condition::Missing => WriteMode::CreateNew,
            Condition::Version(version) => WriteMode::IfMatch(version.clone()),
        };
        let written = match self.inner.write(&held.path, held.content.clone(), mode.into()).await {
            Ok(written) => written,
            Err(error) => match error.kind() {
                // An earlier flush may have written it without our being told.
                ErrorKind::ConditionFailed | ErrorKind::AlreadyExists | ErrorKind::Lost => {
                    self.same(held).await.ok_or(error)?
                }
                _ => return Err(error),
            },
        };
        self.view().saved(held, &written);
        Ok(())
    }

    /// The file as the store has it, if it has this content.
    async fn same(&self, held: &Held) -> Option<Metadata> {
        let read = self.inner.read(&held.path, ReadOptions::default()).await.ok()?;
        let metadata = read.metadata.clone();
        let content = read.bytes(held.content.len() as u64).await.ok()?;
        (content == held.content).then_some(metadata)
    }
}
