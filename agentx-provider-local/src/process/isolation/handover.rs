use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags, SocketType,
    recvmsg, send, socketpair,
};

/// A plan on its way to a helper, which answers through the same socket what came of it.
#[derive(Debug)]
pub(in crate::process) struct HandedOver {
    ours: OwnedFd,
    /// The helper's end.
    pub(in crate::process) theirs: OwnedFd,
}

/// The helper's answer.
struct Answer {
    /// Zero where nothing failed.
    errno: i32,
    /// The step that failed.
    step: String,
    listener: Option<OwnedFd>,
}

impl HandedOver {
    pub(super) fn new(plan: &[u8]) -> io::Result<Self> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // A plan that is larger than the socket's buffer is refused here.
        if send(&ours, plan, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)? != plan.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(Self { ours, theirs })
    }

    /// What the helper gave when all is in force: where the plan has it listen, the socket.
    ///
    /// # Errors
    /// When it did not say that all is in force.
    pub(in crate::process) fn entered(self) -> Result<Option<OwnedFd>, String> {
        let answer = self.answer().ok_or("the helper does not say that it is isolated")?;
        if answer.errno == 0 { Ok(answer.listener) } else { Err(answer.words()) }
    }

    /// Why the helper could not put the plan into force, if it said so.
    pub(in crate::process) fn refused(self) -> Option<String> {
        self.answer().map(Answer::words)
    }

    fn answer(self) -> Option<Answer> {
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.ours, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags).ok()?;
        let listener = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
            _ => None,
        });
        let (errno, step) = bytes.get(..received.bytes)?.split_first_chunk()?;
        let errno = i32::from_le_bytes(*errno);
        Some(Answer { errno, step: String::from_utf8_lossy(step).into_owned(), listener })
    }
}

impl Answer {
    fn words(self) -> String {
        format!("{}: {}", self.step, io::Error::from_raw_os_error(self.errno))
    }
}
