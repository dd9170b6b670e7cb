//! What a policy is made of, as the host tells it and the helper does it. Both include this file.
//!
//! A plan decides nothing and knows no defaults: the host has looked at the machine and worked all of it out.

use std::ffi::CString;

/// The whole of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Namespaces and the view of the file system inside them.
    pub(crate) namespaces: Option<Namespaces>,
    /// Which files may be used how.
    pub(crate) landlock: Option<Landlock>,
    /// A classic BPF program over system calls, an instruction a word, for the helper and all that it starts. Empty: no
    /// filter.
    pub(crate) filter: Vec<u64>,
    /// What opens the calls of the filter that the helper needs for each command's own namespaces.
    pub(crate) key: u64,
}

/// Namespaces of its own: user, mount, pid, ipc and uts, and that of the network unless it is the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// Each command has its own, and not only the helper for all of them. The user namespace is the helper's always.
    pub(crate) per_command: bool,
    /// What of a network there is.
    pub(crate) network: Network,
    /// What the file system is made of, in this order.
    pub(crate) mounts: Vec<Mount>,
    /// A file system of its own for each who has namespaces.
    pub(crate) scratch: Option<Scratch>,
}

/// A file system in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scratch {
    /// Where it is mounted.
    pub(crate) path: CString,
    /// How many bytes it holds.
    pub(crate) size: u64,
    /// What is mounted in it: from where it is in the view already, and the steps that lead there, each a path below
    /// this one's, the last one the place itself.
    pub(crate) places: Vec<(CString, Vec<CString>)>,
}

/// What of a network there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// That of the host.
    Host,
    /// A loopback device.
    Loopback,
    /// A loopback device of the helper, on which the host listens at this port.
    Listener(u16),
}

/// One thing in the new file system. Paths are absolute, sources as the host sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mount {
    /// A directory, and all above it.
    Directory(CString),
    /// A symbolic link.
    Link {
        /// Where it is.
        path: CString,
        /// Where it leads.
        target: CString,
    },
    /// A small file.
    File {
        /// Where it is.
        path: CString,
        /// What is in it.
        content: Vec<u8>,
    },
    /// A file or directory of the host, with all that is mounted below.
    Bind {
        /// What the host calls it.
        source: CString,
        /// Where it is seen.
        path: CString,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
        /// Device and inode that it must have; zeroes: any.
        identity: (u64, u64),
    },
    /// What is there already, as a mount of its own, so that nobody moves it away.
    Pin {
        /// Where it is. No part of it may be a symbolic link.
        path: CString,
        /// `MOUNT_ATTR_*`.
        attributes: u64,
    },
    /// Terminals.
    Terminals(CString),
}

/// A ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landlock {
    /// `LANDLOCK_ACCESS_FS_*` that are denied unless a rule allows them, as far as the kernel knows them.
    pub(crate) files: u64,
    /// `LANDLOCK_SCOPE_*`, as far as the kernel knows them.
    pub(crate) scopes: u64,
    /// The oldest version of Landlock that will do.
    pub(crate) least: u32,
    /// What is allowed beneath a place, as it is seen inside.
    pub(crate) rules: Vec<(CString, u64)>,
}
