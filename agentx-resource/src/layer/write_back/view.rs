use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use bytes::Bytes;

use crate::{Metadata, ResourcePath, Version};

/// How many entries are known at most.
const KNOWN: usize = 100_000;
/// How many bytes of contents are kept and held at most.
const BYTES: u64 = 64 << 20;
/// How many versions that were given for held files stay valid after their flush.
const ALIASES: usize = 10_000;

/// What is known of the store, and what is held back from it.
pub(super) struct View {
    known: BTreeMap<ResourcePath, Known>,
    /// The directories whose entries are all known; true for those whose whole tree is.
    listed: BTreeMap<ResourcePath, bool>,
    /// The store's versions of files whose held versions callers may still have.
    aliases: HashMap<Version, Version>,
    alias_order: VecDeque<Version>,
    /// The bytes of contents, and of those of them that are held.
    bytes: u64,
    held: u64,
    /// Counts the changes of the store, and what was forgotten: what was asked before one is not learnt after it.
    changes: u64,
    next_version: u64,
    /// Sets this view's versions apart from those of others.
    id: u64,
}

/// What is known to be at a place.
pub(super) enum Seen {
    Nothing,
    Entry(Metadata),
}

/// What is known of a place: nothing is there, or this.
type Known = Option<Entry>;

#[derive(Clone)]
struct Entry {
    metadata: Metadata,
    content: Option<Bytes>,
    pending: Option<Pending>,
}

/// Why a file is held, and what must hold when it is flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) condition: Condition,
    /// The store had nothing there.
    pub(super) fresh: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Always,
    Missing,
    Version(Version),
}

/// A held file, as it is to be flushed.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) path: ResourcePath,
    pub(super) content: Bytes,
    pub(super) condition: Condition,
    pub(super) version: Option<Version>,
}

impl View {
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What is at `path`; `None` where that is not known.
    pub(super) fn look(&self, path: &ResourcePath) -> Option<Seen> {
        if path.is_root() {
            return Some(Seen::Entry(Metadata::directory()));
        }
        if let Some(known) = self.known.get(path) {
            return Some(known.as_ref().map_or(Seen::Nothing, |entry| Seen::Entry(entry.metadata.clone())));
        }
        let mut above = path.parent();
        let mut direct = true;
        while let Some(directory) = above {
            let covers = self.listed.get(&directory).is_some_and(|tree| *tree || direct);
            let is_none = self
                .known
                .get(&directory)
                .is_some_and(|known| known.as_ref().is_none_or(|entry| !entry.metadata.is_dir()));
            if covers || is_none {
                return Some(Seen::Nothing);
            }
            direct = false;
            above = directory.parent();
        }
        None
    }

    /// The content of the file at `path`, where it is kept.
    pub(super) fn content(&self, path: &ResourcePath) -> Option<(Metadata, Bytes)> {
        let entry = self.known.get(path)?.as_ref()?;
        Some((entry.metadata.clone(), entry.content.clone()?))
    }

    /// Keeps what the store said when there were so many `changes`. What is held stays as it is.
    pub(super) fn learn(
        &mut self,
        path: &ResourcePath,
        found: Option<Metadata>,
        content: Option<Bytes>,
        changes: u64,
    ) -> bool {
        if changes != self.changes || path.is_root() {
            return false;
        }
        let kept = match self.known.get(path) {
            Some(Some(entry)) if entry.pending.is_some() => return true,
            Some(Some(entry))
                if found.as_ref().is_some_and(|found| found.version == entry.metadata.version) =>
            {
                entry.content.clone()
            }
            _ => None,
        };
        let entry = found.map(|metadata| Entry { metadata, content: content.or(kept), pending: None });
        self.put(path.clone(), entry);
        self.shrink();
        self.changes == changes
    }

    /// Notes that all entries of the directory `path` are known, or its whole tree.
    pub(super) fn listed(&mut self, path: &ResourcePath, tree: bool, changes: u64) {
        if changes == self.changes {
            *self.listed.entry(path.clone()).or_default() |= tree;
        }
    }

    /// The entries of a directory that was listed.
    pub(super) fn entries(&self, path: &ResourcePath, tree: bool) -> Option<Vec<(ResourcePath, Metadata)>> {
        let mut place = Some(path.clone());
        let mut direct = true;
        while let Some(directory) = place {
            if self.listed.get(&directory).is_some_and(|whole| *whole || (direct && !tree)) {
                return Some(self.shown_below(path, tree));
            }
            direct = false;
            place = directory.parent();
        }
        None
    }

    /// What is held below `path`.
    pub(super) fn held_below(&self, path: &ResourcePath, tree: bool) -> Vec<(ResourcePath, Metadata)> {
        let held = |path: &ResourcePath| self.pending_at(path).is_some();
        self.shown_below(path, tree).into_iter().filter(|(path, _)| held(path)).collect()
    }

    fn shown_below(&self, path: &ResourcePath, tree: bool) -> Vec<(ResourcePath, Metadata)> {
        let below = |other: &ResourcePath| {
            other != path
                && if tree { other.starts_with(path) } else { other.parent().as_ref() == Some(path) }
        };
        let known = self.known.iter().filter(|(other, _)| below(other));
        known.filter_map(|(path, known)| Some((path.clone(), known.as_ref()?.metadata.clone()))).collect()
    }

    /// Holds `content` for `path`, and says what it is now.
    pub(super) fn hold(&mut self, path: &ResourcePath, content: Bytes, pending: Pending) -> Metadata {
        self.next_version += 1;
        let version = Version::new(format!("held-{:x}-{}", self.id, self.next_version));
        let metadata = Metadata::file(content.len() as u64).with_version(version);
        let entry = Entry { metadata: metadata.clone(), content: Some(content), pending: Some(pending) };
        self.put(path.clone(), Some(entry));
        self.shrink();
        metadata
    }

    /// Whether so many more bytes can be held.
    pub(super) fn has_room(&self, len: u64) -> bool {
        self.held + len <= BYTES
    }

    pub(super) fn pending_at(&self, path: &ResourcePath) -> Option<&Pending> {
        self.known.get(path)?.as_ref()?.pending.as_ref()
    }

    pub(super) fn pending(&self) -> Vec<ResourcePath> {
        self.held(|_| true).into_iter().map(|held| held.path).collect()
    }

    /// The held files at these places.
    pub(super) fn held(&self, wanted: impl Fn(&ResourcePath) -> bool) -> Vec<Held> {
        let held = self.known.iter().filter(|(path, _)| wanted(path)).filter_map(|(path, known)| {
            let entry = known.as_ref()?;
            Some(Held {
                path: path.clone(),
                content: entry.content.clone()?,
                condition: entry.pending.as_ref()?.condition.clone(),
                version: entry.metadata.version.clone(),
            })
        });
        held.collect()
    }

    /// Notes that the store has what was held, as `written`.
    pub(super) fn saved(&mut self, held: &Held, written: &Metadata) {
        self.changes += 1;
        if let (Some(given), Some(version)) = (&held.version, &written.version) {
            self.aliases.insert(given.clone(), version.clone());
            self.alias_order.push_back(given.clone());
            if self.alias_order.len() > ALIASES
                && let Some(oldest) = self.alias_order.pop_front()
            {
                self.aliases.remove(&oldest);
            }
        }
        if self
            .known
            .get(&held.path)
            .and_then(Option::as_ref)
            .is_some_and(|it| it.metadata.version == held.version)
        {
            let content = Some(held.content.clone());
            self.put(held.path.clone(), Some(Entry { metadata: written.clone(), content, pending: None }));
        }
    }

    /// The version as it is now known: of a held file that was flushed, the store's.
    pub(super) fn resolved(&self, version: &Version) -> Version {
        self.aliases.get(version).unwrap_or(version).clone()
    }

    pub(super) fn discard(&mut self, path: &ResourcePath) -> bool {
        let held = self.pending_at(path).is_some();
        if held {
            self.take(path);
            self.forget(path);
        }
        held
    }

    /// Notes that the store has something at `path`, so that what is above it are directories.
    pub(super) fn made(&mut self, path: &ResourcePath) {
        self.changes += 1;
        for above in std::iter::successors(path.parent(), ResourcePath::parent) {
            let is_dir =
                self.known.get(&above).and_then(Option::as_ref).is_some_and(|it| it.metadata.is_dir());
            if !is_dir && !above.is_root() {
                let entry = Entry { metadata: Metadata::directory(), content: None, pending: None };
                self.put(above, Some(entry));
            }
        }
    }

    /// Notes that nothing is at `path` any more, nor below it.
    pub(super) fn removed(&mut self, path: &ResourcePath) {
        self.changes += 1;
        let gone: Vec<_> = self.known.keys().filter(|other| other.starts_with(path)).cloned().collect();
        for path in &gone {
            self.take(path);
        }
        self.listed.retain(|other, _| !other.starts_with(path));
        self.put(path.clone(), None);
    }

    /// Forgets what is known of `path`, of what is below it, and that all of what is above it is known. What is held
    /// stays.
    pub(super) fn forget(&mut self, path: &ResourcePath) {
        self.changes += 1;
        let known = |entry: &Known| entry.as_ref().is_none_or(|entry| entry.pending.is_none());
        let gone = self.known.iter().filter(|(other, entry)| other.starts_with(path) && known(entry));
        let gone: Vec<_> = gone.map(|(other, _)| other.clone()).collect();
        for path in &gone {
            self.take(path);
        }
        self.listed.retain(|other, _| !other.starts_with(path) && !path.starts_with(other));
    }

    fn put(&mut self, path: ResourcePath, known: Known) {
        self.take(&path);
        let (bytes, held) = known.as_ref().map_or((0, 0), Entry::lengths);
        (self.bytes, self.held) = (self.bytes + bytes, self.held + held);
        self.known.insert(path, known);
    }

    fn take(&mut self, path: &ResourcePath) {
        if let Some(known) = self.known.remove(path) {
            let (bytes, held) = known.as_ref().map_or((0, 0), Entry::lengths);
            (self.bytes, self.held) = (self.bytes - bytes, self.held - held);
        }
    }

    /// Forgets all but what is held, where it has become too much.
    fn shrink(&mut self) {
        if self.known.len() > KNOWN || self.bytes > BYTES {
            self.forget(&ResourcePath::root());
        }
    }
}

impl Entry {
    /// The bytes of its content, and how many of them are held.
    fn lengths(&self) -> (u64, u64) {
        let length = self.content.as_ref().map_or(0, |content| content.len() as u64);
        (length, if self.pending.is_some() { length } else { 0 })
    }
}

impl Default for View {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            listed: BTreeMap::new(),
            aliases: HashMap::new(),
            alias_order: VecDeque::new(),
            bytes: 0,
            held: 0,
            changes: 0,
            next_version: 0,
            id: RandomState::new().hash_one(0_u8),
        }
    }
}
