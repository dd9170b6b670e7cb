use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{Metadata, ResourcePath};

/// What is kept, least recently used first out.
pub(super) struct Store {
    files: usize,
    bytes: u64,
    pub(super) largest: u64,
    state: Mutex<State>,
}

/// A file of one of the file systems that are wrapped.
type Key = (u64, ResourcePath);

#[derive(Default)]
struct State {
    entries: HashMap<Key, (u64, Kept)>,
    /// The keys by their last use.
    order: BTreeMap<u64, Key>,
    last_use: u64,
    bytes: u64,
    /// Counts the changes: what was read before one is not kept after it.
    changes: u64,
}

#[derive(Clone)]
pub(super) struct Kept {
    pub(super) metadata: Metadata,
    /// The whole content; `None` where only `stat` was asked.
    pub(super) content: Option<Bytes>,
    /// When it was asked for.
    pub(super) since: SystemTime,
}

impl Store {
    pub(super) fn new(files: usize, bytes: u64, largest: u64) -> Self {
        Self { files, bytes, largest, state: Mutex::default() }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Kept> {
        let mut state = self.state();
        let kept = state.take(key)?;
        state.put(key.clone(), kept.clone());
        Some(kept)
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Keeps something that was asked for when there were so many `changes`, unless there were more since then.
    pub(super) fn keep(&self, key: Key, kept: Kept, changes: u64) {
        let mut state = self.state();
        if state.changes != changes {
            return;
        }
        let old = state.take(&key);
        let kept = match (kept.content, old) {
            // The content is still that of the version.
            (None, Some(old)) if old.metadata.version == kept.metadata.version => {
                Kept { content: old.content, ..kept }
            }
            (content, _) => Kept { content, ..kept },
        };
        state.put(key, kept);
        while state.entries.len() > self.files || state.bytes > self.bytes {
            let Some((_, oldest)) = state.order.first_key_value() else { return };
            let oldest = oldest.clone();
            state.take(&oldest);
        }
    }

    /// Forgets the places, with all that is below them.
    pub(super) fn forget(&self, wrapper: u64, paths: &[ResourcePath]) {
        let mut state = self.state();
        state.changes += 1;
        let changed =
            |(other, path): &&Key| *other == wrapper && paths.iter().any(|changed| path.starts_with(changed));
        let keys: Vec<Key> = state.entries.keys().filter(changed).cloned().collect();
        for key in keys {
            state.take(&key);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, key: &Key) -> Option<Kept> {
        let (used, kept) = self.entries.remove(key)?;
        self.order.remove(&used);
        self.bytes -= length(&kept);
        Some(kept)
    }

    fn put(&mut self, key: Key, kept: Kept) {
        self.last_use += 1;
        self.bytes += length(&kept);
        self.order.insert(self.last_use, key.clone());
        self.entries.insert(key, (self.last_use, kept));
    }
}

fn length(kept: &Kept) -> u64 {
    kept.content.as_ref().map_or(0, |content| content.len() as u64)
}

/// Shows no content.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Store").field("files", &state.entries.len()).field("bytes", &state.bytes).finish()
    }
}
