use std::{collections::HashSet, sync::Arc};

use super::{
    Conflict, ConflictKind, Pair, Side,
    base::{File, Record},
    name,
    plan::{Action, Step, Why},
    replica::{Entry, Issue},
    transfer,
};
use crate::{ErrorKind, MkdirOptions, ResourcePath};

/// A step, and what it takes to do it.
pub(super) struct Job {
    pub(super) pair: Arc<Pair>,
    pub(super) taken: Arc<HashSet<ResourcePath>>,
    pub(super) step: Step,
}

/// A step that was done, or as much of it as was possible.
pub(super) struct Finished {
    pub(super) path: ResourcePath,
    pub(super) effect: Effect,
    pub(super) result: Result<(), Issue>,
}

/// What has happened.
#[derive(Default)]
pub(super) struct Effect {
    pub(super) change: Change,
    pub(super) copied: Option<(Side, u64)>,
    pub(super) removed: Option<Side>,
    pub(super) conflict: Option<Conflict>,
    /// The name of a conflict that is on one side only yet.
    pub(super) set_aside: Option<ResourcePath>,
    /// A directory stays, for what is in it.
    pub(super) held: bool,
}

/// What is known from now on.
#[derive(Default)]
pub(super) enum Change {
    #[default]
    None,
    Set(Record),
    Remove,
}

impl Job {
    pub(super) async fn run(self) -> Finished {
        let mut effect = Effect::default();
        let result = self.act(&mut effect).await;
        Finished { path: self.step.path, effect, result }
    }

    async fn act(&self, effect: &mut Effect) -> Result<(), Issue> {
        match &self.step.action {
            Action::Adopt => effect.change = Change::Set(Record::Directory),
            Action::Vanish => self.vanish(effect).await?,
            Action::Forget => effect.change = Change::Remove,
            Action::SetAside { file } => {
                self.set_aside(*file, ConflictKind::FileAndDirectory { file: *file }, effect).await?;
            }
            Action::RemoveFile { from, file, make } => {
                self.remove_file(*from, file, effect).await?;
                if *make {
                    self.make_directory(*from, effect).await?;
                }
            }
            Action::RemoveDirectory { from } => self.remove_directory(*from, effect).await?,
            Action::MakeDirectory { on } => self.make_directory(*on, effect).await?,
            Action::Copy { to, over, why } => self.copy(*to, over.as_ref(), *why, effect).await?,
            Action::Compare { local, remote, new } => {
                self.compare(local, remote, effect).await?;
                if *new && effect.conflict.is_none() {
                    effect.conflict = self.untold();
                }
            }
        }
        Ok(())
    }

    /// A list may miss what gets another name while it runs. What is forgotten must be missing for certain, also where a
    /// sync that was cut has taken it aside.
    async fn vanish(&self, effect: &mut Effect) -> Result<(), Issue> {
        let path = &self.step.path;
        for side in [Side::Local, Side::Remote] {
            for place in [Some(path.clone()), name::aside(path)].iter().flatten() {
                if self.pair.on(side).look(place).await?.is_some() {
                    return Err(Issue::Changed);
                }
            }
        }
        effect.change = Change::Remove;
        Ok(())
    }

    async fn remove_file(&self, from: Side, file: &File, effect: &mut Effect) -> Result<(), Issue> {
        let path = &self.step.path;
        // A list may miss what is replaced while it runs. What is to be removed must be missing for certain.
        if self.pair.on(from.other()).look(path).await?.is_some_and(|there| !there.is_dir()) {
            return Err(Issue::Changed);
        }
        self.pair.on(from).remove(path, &Entry::File(file.clone())).await?;
        effect.change = Change::Remove;
        effect.removed = Some(from);
        Ok(())
    }

    async fn make_directory(&self, on: Side, effect: &mut Effect) -> Result<(), Issue> {
        self.pair.on(on).fs.mkdir(&self.step.path, MkdirOptions::recursive()).await?;
        effect.change = Change::Set(Record::Directory);
        Ok(())
    }

    async fn remove_directory(&self, from: Side, effect: &mut Effect) -> Result<(), Issue> {
        match self.pair.on(from).remove(&self.step.path, &Entry::Directory).await {
            Ok(()) => {
                effect.change = Change::Remove;
                effect.removed = Some(from);
                Ok(())
            }
            // Something came into it, or is in it that has no path. The next sync looks again.
            Err(Issue::Failed(error)) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                effect.held = true;
                Ok(())
            }
            Err(issue) => Err(issue),
        }
    }

    async fn copy(&self, to: Side, over: Option<&File>, why: Why, effect: &mut Effect) -> Result<(), Issue> {
        let path = &self.step.path;
        let (record, bytes) = transfer::copy(&self.pair, path, to, over).await?;
        effect.change = Change::Set(record);
        effect.copied = Some((to, bytes));
        effect.conflict = match why {
            Why::ChangedAndRemoved => Some(Conflict {
                path: path.clone(),
                kind: ConflictKind::ChangedAndRemoved { changed: to.other() },
                kept_as: None,
            }),
            Why::New => self.untold(),
            Why::Changed => None,
        };
        Ok(())
    }

    /// What was settled elsewhere, or by a sync that could not tell any more: a new file has the name of a conflict.
    fn untold(&self) -> Option<Conflict> {
        let kept_as = &self.step.path;
        let path = name::original(kept_as)?;
        Some(Conflict { path, kind: ConflictKind::Found, kept_as: Some(kept_as.clone()) })
    }

    async fn compare(&self, local: &File, remote: &File, effect: &mut Effect) -> Result<(), Issue> {
        let path = &self.step.path;
        let equal = if local.len == remote.len { transfer::compare(&self.pair, path).await? } else { None };
        if let Some(record) = equal {
            effect.change = Change::Set(record);
            return Ok(());
        }
        self.set_aside(Side::Local, ConflictKind::BothChanged, effect).await?;
        let (record, bytes) = transfer::copy(&self.pair, path, Side::Local, None).await?;
        effect.change = Change::Set(record);
        effect.copied = Some((Side::Local, bytes));
        Ok(())
    }

    async fn set_aside(&self, file: Side, kind: ConflictKind, effect: &mut Effect) -> Result<(), Issue> {
        let path = &self.step.path;
        let kept_as = self.pair.on(file).set_aside(path, &self.taken).await?;
        effect.set_aside = Some(kept_as.clone());
        effect.conflict = Some(Conflict { path: path.clone(), kind, kept_as: Some(kept_as) });
        Ok(())
    }
}
