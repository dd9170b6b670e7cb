use std::{collections::BTreeMap, sync::Arc};

use super::{LogCursor, LogPage, entry::Entry, ring::Ring};

/// Who follows a log, and how far each has read.
#[derive(Debug)]
pub(super) struct Followers {
    all: BTreeMap<u64, Place>,
    next: u64,
    /// The place of who has yet to come first; none once somebody came, or was waited for in vain.
    expected: Option<Place>,
}

#[derive(Debug)]
struct Place {
    read: u64,
    /// Whether the command still waits for it.
    waited_for: bool,
}

impl Place {
    fn at(read: u64) -> Self {
        Self { read, waited_for: true }
    }
}

impl Default for Followers {
    fn default() -> Self {
        Self { all: BTreeMap::new(), next: 0, expected: Some(Place::at(0)) }
    }
}

impl Followers {
    fn add(&mut self, from: LogCursor) -> u64 {
        self.next += 1;
        self.expected = None;
        self.all.insert(self.next, Place::at(from.offset()));
        self.next
    }

    /// Whether one who is waited for would miss something if the command went on.
    pub(super) fn are_behind(&self, ring: &Ring) -> bool {
        let mut waited_for = self.all.values().chain(&self.expected).filter(|place| place.waited_for);
        waited_for.any(|place| ring.is_half_full(place.read))
    }

    /// Waits no longer for those who are behind, until they read again.
    pub(super) fn give_up(&mut self, ring: &Ring) {
        for place in self.all.values_mut().chain(&mut self.expected) {
            place.waited_for &= !ring.is_half_full(place.read);
        }
    }
}

/// One who follows a log, until it is dropped.
pub(super) struct Follower {
    entry: Arc<Entry>,
    key: u64,
    from: LogCursor,
}

impl Follower {
    pub(super) fn new(entry: Arc<Entry>, from: LogCursor) -> Self {
        let key = entry.followers(|followers| followers.add(from));
        Self { entry, key, from }
    }

    /// The next page that says anything. What came before it has been read.
    pub(super) async fn next(&mut self, most: usize) -> LogPage {
        let (key, place) = (self.key, Place::at(self.from.offset()));
        self.entry.followers(|followers| followers.all.insert(key, place));
        let page = self.entry.news(self.from, most).await;
        self.from = page.next;
        page
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.entry.followers(|followers| followers.all.remove(&self.key));
    }
}
