use std::fmt;

macro_rules! billed {
    ($($(#[$doc:meta])* $name:ident = $title:literal, $unit:literal;)*) => {
        /// What is billed, each in a unit of its own, small enough for integers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Billed {
            $($(#[$doc])* $name,)*
        }

        impl Billed {
            /// All of them, in the order of bills.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What people call it.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }

            /// The unit of its quantities.
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$name => $unit,)*
                }
            }
        }
    };
}

billed! {
    /// Requests that a Worker answers.
    WorkerRequest = "Workers requests", "requests";
    /// Processor time of Workers.
    WorkerCpu = "Workers CPU", "CPU-ms";
    /// Rows that D1 reads.
    D1RowRead = "D1 rows read", "rows";
    /// Rows that D1 writes, those of indexes included.
    D1RowWritten = "D1 rows written", "rows";
    /// What D1 stores.
    D1Storage = "D1 storage", "MB-months";
    /// Keys that are read from KV.
    KvRead = "KV reads", "keys";
    /// Keys that are written to KV.
    KvWrite = "KV writes", "keys";
    /// Keys that are deleted from KV.
    KvDelete = "KV deletes", "keys";
    /// Pages of lists of keys.
    KvList = "KV lists", "pages";
    /// What KV stores.
    KvStorage = "KV storage", "MB-months";
    /// Operations of R2 that change or list: put, copy, list, parts of an upload.
    R2ClassA = "R2 class A", "operations";
    /// Operations of R2 that read: get, head. Deleting is free.
    R2ClassB = "R2 class B", "operations";
    /// What R2 stores, in the standard class.
    R2Storage = "R2 storage", "MB-months";
    /// Requests to Durable Objects, of which each container has one.
    ObjectRequest = "Durable Object requests", "requests";
    /// Time in which a Durable Object is in memory: 128 MB each.
    ObjectDuration = "Durable Object duration", "MB-s";
    /// Processor time of containers that is used.
    ContainerCpu = "Containers CPU", "vCPU-ms";
    /// Memory of containers that is provided.
    ContainerMemory = "Containers memory", "MiB-s";
    /// Disk of containers that is provided.
    ContainerDisk = "Containers disk", "MB-s";
    /// What containers send to North America and Europe; elsewhere it costs more.
    ContainerEgress = "Containers egress", "MB";
}

impl fmt::Display for Billed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl Billed {
    /// Its place in a table of all.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}
