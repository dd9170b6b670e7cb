use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::channel::oneshot;

use crate::ResourcePath;

/// Lets operations at places that have nothing to do with each other run at once, and the others one after the other,
/// in the order of asking. A place stands for all that is below it.
#[derive(Clone, Default)]
pub(super) struct PathLocks(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    next_id: u64,
    /// In the order of asking.
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    paths: Vec<ResourcePath>,
    /// Whom to tell that it is its turn; `None` once it was told.
    waiting: Option<oneshot::Sender<()>>,
}

/// Some places, held until this is dropped.
pub(super) struct PathGuard {
    locks: PathLocks,
    id: u64,
}

impl PathLocks {
    /// Waits until `paths` are free, and takes them all at once: so nobody waits for another in a circle. Dropping the
    /// future gives up the place in the queue.
    pub(super) async fn lock(&self, paths: Vec<ResourcePath>) -> PathGuard {
        let (turn, guard) = {
            let mut queue = self.queue();
            let id = queue.next_id;
            queue.next_id += 1;
            let (sender, turn) = oneshot::channel();
            queue.entries.push(Entry { id, paths, waiting: Some(sender) });
            queue.call();
            (turn, PathGuard { locks: self.clone(), id })
        };
        // The sender stays in the queue until it has spoken, so the turn can't be lost.
        turn.await.ok();
        guard
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Tells those whose turn it is: nothing before them in the queue touches their places.
    fn call(&mut self) {
        for index in 0..self.entries.len() {
            let (before, rest) = self.entries.split_at_mut(index);
            let Some(entry) = rest.first_mut() else { return };
            if before.iter().all(|other| !touch(&other.paths, &entry.paths))
                && let Some(waiting) = entry.waiting.take()
            {
                // Whoever gave up removes its entry by itself.
                waiting.send(()).ok();
            }
        }
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        let mut queue = self.locks.queue();
        queue.entries.retain(|entry| entry.id != self.id);
        queue.call();
    }
}

fn touch(some: &[ResourcePath], others: &[ResourcePath]) -> bool {
    some.iter().any(|a| others.iter().any(|b| a.starts_with(b) || b.starts_with(a)))
}

impl fmt::Debug for PathLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathLocks").field("entries", &self.queue().entries.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn paths(paths: &[&str]) -> Vec<ResourcePath> {
        paths.iter().map(|path| ResourcePath::new(path).unwrap()).collect()
    }

    #[test]
    fn places_that_touch_wait_and_others_do_not() {
        let locks = PathLocks::default();
        let held = locks.lock(paths(&["/a/b"])).now_or_never().unwrap();
        assert!(locks.lock(paths(&["/a/c"])).now_or_never().is_some());
        assert!(locks.lock(paths(&["/a/bc"])).now_or_never().is_some());
        let mut below = Box::pin(locks.lock(paths(&["/x", "/a/b/c"])));
        let mut above = Box::pin(locks.lock(paths(&["/a"])));
        assert!((&mut below).now_or_never().is_none());
        assert!((&mut above).now_or_never().is_none());
        drop(held);
        assert!((&mut above).now_or_never().is_none());
        drop(below.now_or_never().unwrap());
        assert!(above.now_or_never().is_some());
    }

    #[test]
    fn who_asked_first_is_first_and_who_gives_up_is_forgotten() {
        let locks = PathLocks::default();
        let held = locks.lock(paths(&["/a/b"])).now_or_never().unwrap();
        let mut all = Box::pin(locks.lock(paths(&["/"])));
        assert!((&mut all).now_or_never().is_none());
        // It would be free, but it must not overtake.
        let mut later = Box::pin(locks.lock(paths(&["/z"])));
        assert!((&mut later).now_or_never().is_none());
        drop(all);
        assert!(later.now_or_never().is_some());
        drop(held);
        assert!(locks.queue().entries.is_empty());
    }
}
