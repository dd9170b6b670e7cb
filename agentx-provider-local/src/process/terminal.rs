//! A terminal in place of pipes.

use std::os::fd::OwnedFd;

use agentx_resource::TerminalSize;
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec, ioctl_fionbio},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// What is typed for the end of the input.
pub(super) const END_OF_INPUT: &[u8] = b"\x04";

/// The host's end of a terminal, which never blocks.
#[derive(Debug)]
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    /// A new terminal, and the command's end of it.
    pub(super) fn open(size: TerminalSize) -> Result<(Self, OwnedFd), Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let host = openpt(flags)?;
        grantpt(&host)?;
        unlockpt(&host)?;
        // By its handle, since a name below /dev/pts may mean another one here.
        let command = ioctl_tiocgptpeer(&host, flags)?;
        ioctl_fionbio(&host, true)?;
        let terminal = Self(host);
        terminal.resize(size)?;
        Ok((terminal, command))
    }

    /// Tells the command's side its new size.
    pub(super) fn resize(&self, size: TerminalSize) -> Result<(), Errno> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.0, size)
    }

    /// Another handle to read what is shown, or to type.
    pub(super) fn handle(&self) -> Result<OwnedFd, Errno> {
        fcntl_dupfd_cloexec(&self.0, 0)
    }
}

/// `bytes` as they are typed, and then the end: told twice behind an unfinished line, which the first ends.
pub(super) fn typed(bytes: &[u8]) -> Vec<u8> {
    let unfinished = bytes.last().is_some_and(|last| *last != b'\n');
    let ends = if unfinished { 2 } else { 1 };
    [bytes, &END_OF_INPUT.repeat(ends)].concat()
}
