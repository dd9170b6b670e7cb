use std::collections::BTreeSet;

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::ResourcePath;
use serde::{Deserialize, Serialize};

use super::super::tree::Node;

/// What is remembered of a call.
pub(super) struct Record {
    pub(super) call: String,
    pub(super) overlapped: bool,
    pub(super) changes: Result<Vec<Taken>>,
    /// Its number in the store, where it is kept.
    pub(super) number: Option<u64>,
}

/// One change of a call.
#[derive(Clone)]
pub(super) struct Taken {
    pub(super) path: ResourcePath,
    pub(super) before: Option<Node>,
    pub(super) after: Option<Node>,
}

/// What is kept of a call in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::snapshot) struct Stored {
    call: String,
    overlapped: bool,
    /// Path, before, after.
    changes: Vec<(String, Option<Node>, Option<Node>)>,
}

impl Record {
    /// What is kept of it; nothing of one whose changes are not known.
    pub(super) fn stored(&self) -> Option<Stored> {
        let changes = self.changes.as_ref().ok()?;
        let changes = changes
            .iter()
            .map(|Taken { path, before, after }| (path.as_str().to_owned(), before.clone(), after.clone()));
        Some(Stored { call: self.call.clone(), overlapped: self.overlapped, changes: changes.collect() })
    }

    pub(super) fn of(number: u64, stored: Stored) -> Result<Self> {
        let changes = stored
            .changes
            .into_iter()
            .map(|(path, before, after)| Ok(Taken { path: ResourcePath::new(path)?, before, after }));
        let changes = changes.collect::<Result<_>>().map_err(|error| {
            Error::new(ErrorKind::Corrupt, "load call").with_path(number).with_message(error.to_string())
        })?;
        let Stored { call, overlapped, .. } = stored;
        Ok(Self { call, overlapped, changes: Ok(changes), number: Some(number) })
    }
}

impl Stored {
    /// What it counts on.
    pub(in crate::snapshot) fn kept(&self) -> impl Iterator<Item = &Node> {
        self.changes.iter().filter_map(|(_, before, _)| before.as_ref())
    }
}

/// The numbers of records that the store has otherwise than they are now.
#[derive(Default)]
pub(super) struct Behind {
    /// They have changed.
    pub(super) changed: BTreeSet<u64>,
    /// They are forgotten.
    pub(super) forgotten: BTreeSet<u64>,
}
