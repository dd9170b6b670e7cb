use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{super::around::Verb, MeterSnapshot, Usage};

/// A counter for each field of a [`MeterSnapshot`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    read: Counter,
    write: Counter,
    stat: Counter,
    list: Counter,
    mkdir: Counter,
    rm: Counter,
    rename: Counter,
    copy: Counter,
    spawn: Counter,
    env: Counter,
    provide: Counter,
}

impl Counters {
    pub(super) fn of(&self, verb: Verb) -> &Counter {
        match verb {
            Verb::Read => &self.read,
            Verb::Write => &self.write,
            Verb::Stat => &self.stat,
            Verb::List => &self.list,
            Verb::Mkdir => &self.mkdir,
            Verb::Rm => &self.rm,
            Verb::Rename => &self.rename,
            Verb::Copy => &self.copy,
            Verb::Spawn => &self.spawn,
            Verb::Get | Verb::GetAll => &self.env,
            Verb::Provide => &self.provide,
        }
    }

    pub(super) fn snapshot(&self) -> MeterSnapshot {
        MeterSnapshot {
            read: self.read.usage(),
            write: self.write.usage(),
            stat: self.stat.usage(),
            list: self.list.usage(),
            mkdir: self.mkdir.usage(),
            rm: self.rm.usage(),
            rename: self.rename.usage(),
            copy: self.copy.usage(),
            spawn: self.spawn.usage(),
            env: self.env.usage(),
            provide: self.provide.usage(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    operations: AtomicU64,
    errors: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counter {
    pub(super) fn operation(&self) {
        self.operations.fetch_add(1, Relaxed);
    }

    pub(super) fn error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn waited(&self, duration: Duration) {
        // 584 years fit.
        self.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn usage(&self) -> Usage {
        Usage {
            operations: self.operations.load(Relaxed),
            errors: self.errors.load(Relaxed),
            bytes_sent: self.sent.load(Relaxed),
            bytes_received: self.received.load(Relaxed),
            waited: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
        }
    }
}
