//! Packets with handles beside them.

use std::{
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::{
    ControlHead, IoVec, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, Message,
    SCM_RIGHTS, SOL_SOCKET, errno, recvmsg, send,
};

/// What a packet brought.
pub(crate) struct Packet {
    pub(crate) length: usize,
    pub(crate) handles: Vec<OwnedFd>,
    /// Something of it was cut off.
    pub(crate) cut: bool,
}

impl Packet {
    /// Its length, if nothing of it was cut off.
    pub(crate) fn whole(&self) -> Option<usize> {
        (!self.cut).then_some(self.length)
    }
}

/// Takes one packet with its handles. No packet is `EAGAIN` unless `wait`; an empty one is the end.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8], wait: bool) -> Result<Packet, i32> {
    const HEAD: usize = size_of::<ControlHead>();
    let mut control = [0_u64; (HEAD + 4 * crate::wire::MAX_HANDLES).div_ceil(8)];
    let mut part = IoVec { base: buffer.as_mut_ptr().cast(), length: buffer.len() };
    let mut message = Message {
        name: ptr::null_mut(),
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: control.as_mut_ptr().cast(),
        control_length: size_of_val(&control),
        flags: 0,
    };
    let flags = MSG_CMSG_CLOEXEC | if wait { 0 } else { MSG_DONTWAIT };
    // SAFETY: the message points to what outlives the call, with the right lengths.
    let length = unsafe { recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| errno())?;
    let mut handles = Vec::new();
    if message.control_length >= HEAD {
        // SAFETY: the kernel wrote a whole head there, and the buffer is aligned for it.
        let head = unsafe { &*control.as_ptr().cast::<ControlHead>() };
        if head.level == SOL_SOCKET && head.kind == SCM_RIGHTS {
            let count = head.length.min(message.control_length).saturating_sub(HEAD) / 4;
            for place in 0..count {
                // SAFETY: the kernel wrote so many handles behind the head, each of them new and nobody else's.
                handles.push(unsafe {
                    OwnedFd::from_raw_fd(*control.as_ptr().cast::<RawFd>().add(HEAD / 4 + place))
                });
            }
        }
    }
    Ok(Packet { length, handles, cut: message.flags & (MSG_TRUNC | MSG_CTRUNC) != 0 })
}

/// Sends one packet, or nothing where that would take time or nobody listens.
pub(crate) fn send_now(socket: &OwnedFd, bytes: &[u8]) {
    // SAFETY: the bytes outlive the call. An error means that the host has let go.
    unsafe { send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), MSG_DONTWAIT | MSG_NOSIGNAL) };
}
