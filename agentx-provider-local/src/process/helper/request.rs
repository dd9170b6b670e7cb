use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
};

use super::wire::{Exec, MAX_BODY, MAX_PACKET, Strings};

/// A command, as far as it is words.
#[derive(Debug)]
pub(in crate::process) struct Command<'a> {
    /// Where the program may be, in order.
    pub(in crate::process) files: &'a [PathBuf],
    /// Under which name it runs.
    pub(in crate::process) name: &'a str,
    pub(in crate::process) args: &'a [String],
    /// As `NAME=value`, each with a NUL behind it.
    pub(in crate::process) env: List,
    /// Soft and hard limits by the system's number of the resource.
    pub(in crate::process) limits: Vec<(u32, u64, u64)>,
    pub(in crate::process) terminal: bool,
    /// Where it finds its working directory itself, with a NUL behind it; nothing where that is a handle.
    pub(in crate::process) place: &'a [u8],
}

/// The handles that a command gets.
#[derive(Debug)]
pub(in crate::process) struct Handles<'a> {
    pub(in crate::process) directory: &'a OwnedFd,
    pub(in crate::process) stdin: Option<OwnedFd>,
    pub(in crate::process) stdout: OwnedFd,
    pub(in crate::process) stderr: OwnedFd,
}

/// Strings, each with a NUL behind it.
#[derive(Debug, Default)]
pub(in crate::process) struct List {
    count: usize,
    bytes: Vec<u8>,
}

impl List {
    pub(in crate::process) fn push(&mut self, parts: &[&OsStr]) {
        for part in parts {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self.bytes.push(0);
        self.count += 1;
    }

    fn strings(&self) -> Strings<'_> {
        Strings { count: self.count, bytes: &self.bytes }
    }
}

/// A packet, and the memory file with what did not fit.
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) body: Option<OwnedFd>,
}

impl Packet {
    /// # Errors
    /// `E2BIG` for more than any program can be given; what the system says of a file in memory.
    pub(super) fn new(number: u32, command: &Command<'_>, has_stdin: bool) -> io::Result<Self> {
        let (mut files, mut args) = (List::default(), List::default());
        for file in command.files {
            files.push(&[file.as_os_str()]);
        }
        args.push(&[command.name.as_ref()]);
        for arg in command.args {
            args.push(&[arg.as_ref()]);
        }
        let flags =
            if has_stdin { 0 } else { Exec::NO_STDIN } | if command.terminal { Exec::TERMINAL } else { 0 };
        let (files, args, env) = (files.strings(), args.strings(), command.env.strings());
        if files.bytes.len() + args.bytes.len() + env.bytes.len() > MAX_BODY / 2 {
            return Err(Errno::TOOBIG.into());
        }
        let exec =
            Exec { flags, number, limits: command.limits.clone(), files, args, env, policy: command.place };
        let bytes = exec.encode();
        if bytes.len() <= MAX_PACKET {
            return Ok(Self { bytes, body: None });
        }
        let (bytes, body) = Exec::split(bytes);
        Ok(Self { bytes, body: Some(in_memory(&body)?) })
    }

    /// The handles in the order of the wire, with a line where that is a new one.
    pub(super) fn handles<'a>(
        &'a self,
        line: Option<&'a OwnedFd>,
        handles: &'a Handles<'_>,
    ) -> Vec<BorrowedFd<'a>> {
        let mut all: Vec<_> = line.map(AsFd::as_fd).into_iter().collect();
        all.extend([handles.directory.as_fd(), handles.stdout.as_fd(), handles.stderr.as_fd()]);
        all.extend(handles.stdin.as_ref().map(AsFd::as_fd));
        all.extend(self.body.as_ref().map(AsFd::as_fd));
        all
    }
}

fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    let file = match memfd_create("agentx-request", flags) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create("agentx-request", MemfdFlags::CLOEXEC),
        outcome => outcome,
    }?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, bytes)?;
    Ok(file.into())
}
