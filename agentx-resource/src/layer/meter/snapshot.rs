use std::time::Duration;

/// What a [`Meter`](super::Meter) has counted, by verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeterSnapshot {
    /// Reads of files.
    pub read: Usage,
    /// Writes of files, at once and through writers.
    pub write: Usage,
    /// Looks at metadata.
    pub stat: Usage,
    /// Lists of directories.
    pub list: Usage,
    /// Creations of directories.
    pub mkdir: Usage,
    /// Removals.
    pub rm: Usage,
    /// Renames.
    pub rename: Usage,
    /// Copies.
    pub copy: Usage,
    /// Commands.
    pub spawn: Usage,
    /// Settings, asked for one by one or all at once.
    pub env: Usage,
    /// Supplies of models.
    pub provide: Usage,
}

/// What one verb, or all of them, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// How many operations were begun.
    pub operations: u64,
    /// How many of them failed, at their call or later.
    pub errors: u64,
    /// The bytes that went to the resource: contents written, input of commands.
    pub bytes_sent: u64,
    /// The bytes that came from it: contents read, output of commands.
    pub bytes_received: u64,
    /// How long callers waited for the resource. The time between two pieces of a body is the reader's own, and is not
    /// in it; operations that run at the same time each add theirs.
    pub waited: Duration,
}

impl MeterSnapshot {
    /// The sum of all verbs.
    pub fn total(&self) -> Usage {
        let Self { read, write, stat, list, mkdir, rm, rename, copy, spawn, env, provide } = self;
        [read, write, stat, list, mkdir, rm, rename, copy, spawn, env, provide].into_iter().fold(
            Usage::default(),
            |sum, usage| Usage {
                operations: sum.operations.saturating_add(usage.operations),
                errors: sum.errors.saturating_add(usage.errors),
                bytes_sent: sum.bytes_sent.saturating_add(usage.bytes_sent),
                bytes_received: sum.bytes_received.saturating_add(usage.bytes_received),
                waited: sum.waited.saturating_add(usage.waited),
            },
        )
    }
}
