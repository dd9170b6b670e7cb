//! What the two processes say to each other.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixStream;

/// What comes with the socket: the version of this exchange.
const OFFER: &[u8; 12] = b"avm-socket/1";

/// Says that whoever asked is going to serve.
pub(super) const TAKE: u8 = b'T';

/// Sends a socket.
pub(super) fn send(stream: &UnixStream, socket: BorrowedFd<'_>) -> io::Result<()> {
    let sockets = [socket];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
    match sendmsg(stream, &[IoSlice::new(OFFER)], &mut ancillary, SendFlags::NOSIGNAL)? {
        sent if sent == OFFER.len() => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// Receives what was sent so.
pub(super) fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let wrong = || io::Error::new(ErrorKind::InvalidData, "it offers something else: is it another version?");
    let mut told = [0; OFFER.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut told)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let socket = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    if told == *OFFER { socket.ok_or_else(wrong) } else { Err(wrong()) }
}
