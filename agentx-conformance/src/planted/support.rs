use std::sync::Arc;

use agentx_resource::{
    ErrorKind, FileKind, FileSystemExt, MkdirOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;

use super::{Growth, Planted};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// What each case gets.
pub(super) type Garden = Arc<Planted>;

/// A path of a case.
#[track_caller]
pub(super) fn path(text: &str) -> Result<ResourcePath, Failure> {
    Ok(ResourcePath::new(text)?)
}

impl Planted {
    /// Plants a link. False where there are none, and none are declared.
    #[track_caller]
    pub(super) fn link(&self, target: &str, at: &str) -> Result<bool, Failure> {
        let grown = grown(self.plant.symlink(target, &path(at)?))?;
        ensure(grown || !self.files.capabilities().symlinks, "links are declared, and the plant has none")?;
        Ok(grown)
    }

    /// Sets permission bits. False where there are none, and none are declared.
    #[track_caller]
    pub(super) fn mode(&self, at: &str, bits: u32) -> Result<bool, Failure> {
        let grown = grown(self.plant.set_mode(&path(at)?, bits))?;
        ensure(
            grown || !self.files.capabilities().mode_bits,
            "mode bits are declared, and the plant has none",
        )?;
        Ok(grown)
    }

    /// Writes a file, in directories that are made first.
    pub(super) async fn put(&self, at: &str, content: &str) -> Outcome {
        let options = WriteOptions::default().with_create_parents();
        self.files.write(&path(at)?, Bytes::copy_from_slice(content.as_bytes()), options).await?;
        Ok(())
    }

    pub(super) async fn dir(&self, at: &str) -> Outcome {
        Ok(self.files.mkdir(&path(at)?, MkdirOptions::recursive()).await?)
    }

    /// Fails unless the file that `at` leads to holds `content`.
    pub(super) async fn holds(&self, at: &str, content: &str) -> Outcome {
        let found = self.files.read_file(&path(at)?).await?;
        ensure_eq(String::from_utf8_lossy(&found), content, format!("the content of {at}"))
    }

    /// Fails unless `at` is a link to `target`, as it was planted.
    pub(super) async fn leads(&self, at: &str, target: &str) -> Outcome {
        let found = self.files.stat(&path(at)?, StatOptions::no_follow()).await?;
        ensure_eq(found.kind, FileKind::Symlink, format!("the kind of {at} itself"))?;
        ensure_eq(found.link_target.as_deref(), Some(target), format!("where {at} leads"))
    }

    /// Fails if something is at `at`, be it a link that leads nowhere.
    pub(super) async fn is_gone(&self, at: &str) -> Outcome {
        let found = self.files.stat(&path(at)?, StatOptions::no_follow()).await;
        ensure_kind(found, ErrorKind::NotFound, format!("{at} itself"))
    }

    /// Fails unless exactly these paths are below the root.
    pub(super) async fn tree_is(&self, expected: &[&str]) -> Outcome {
        let entries: Vec<_> = self.files.walk(&ResourcePath::root()).try_collect().await?;
        let mut paths: Vec<String> =
            entries.into_iter().map(|entry| entry.path.map_or(entry.name, |path| path.to_string())).collect();
        paths.sort_unstable();
        ensure_eq(paths, expected, "the tree")
    }

    /// Fails if something outside has changed.
    pub(super) fn outside_is_untouched(&self) -> Outcome {
        match self.plant.touched() {
            None => Ok(()),
            Some(what) => Err(Failure::new(format!("outside of the root: {what}"))),
        }
    }

    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (ResourcePath::new(from)?, ResourcePath::new(to)?);
        self.files.rename(&from, &to, TransferOptions::default()).await
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (ResourcePath::new(from)?, ResourcePath::new(to)?);
        self.files.copy(&from, &to, TransferOptions::default()).await
    }

    /// Reads by every verb that reads `at`, and tells what each says.
    pub(super) async fn reads(&self, at: &str) -> Result<Vec<(&'static str, Result<()>)>, Failure> {
        let at = path(at)?;
        Ok(vec![
            ("read", self.files.read_file(&at).await.map(drop)),
            ("stat", self.files.metadata(&at).await.map(drop)),
            ("list", self.files.readdir(&at).await.map(drop)),
            ("copy", self.files.copy(&at, &path("/copied")?, TransferOptions::default()).await),
        ])
    }

    /// Writes by every verb and mode that writes `at`, and tells what each says.
    pub(super) async fn writes(&self, at: &str) -> Result<Vec<(&'static str, Result<()>)>, Failure> {
        let (at, x) = (path(at)?, || Bytes::from_static(b"x"));
        self.put("/own", "own").await?;
        let own = path("/own")?;
        let offered = self.files.capabilities();
        let mut all = vec![
            ("write", self.files.write_file(&at, "x").await.map(drop)),
            ("writer", self.written(&at).await),
            ("copy onto", self.files.copy(&own, &at, TransferOptions::default()).await),
        ];
        if offered.append {
            all.push(("append", self.files.append(&at, "x").await.map(drop)));
        }
        if let Some(version) = self.files.metadata(&own).await?.version.filter(|_| offered.if_match.is_some())
        {
            let options = WriteMode::IfMatch(version).into();
            all.push(("if match", self.files.write(&at, x(), options).await.map(drop)));
        }
        Ok(all)
    }

    async fn written(&self, at: &ResourcePath) -> Result<()> {
        let mut writer = self.files.writer(at, WriteOptions::default()).await?;
        writer.write(Bytes::from_static(b"x")).await?;
        writer.close().await.map(drop)
    }
}

/// Whether it was planted.
#[track_caller]
pub(super) fn grown(growth: Growth) -> Result<bool, Failure> {
    growth.map_err(|error| Failure::new(format!("it can't be planted: {error}")))
}

/// Fails unless each of these is an error of `kind`.
#[track_caller]
pub(super) fn all_are(results: Vec<(&'static str, Result<()>)>, kind: ErrorKind, at: &str) -> Outcome {
    for (verb, result) in results {
        ensure_kind(result, kind, format!("{verb} {at}"))?;
    }
    Ok(())
}
