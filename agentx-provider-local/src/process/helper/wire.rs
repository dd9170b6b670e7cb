//! What the host and its helper say to each other. Both are built from this file, so that they can't differ.
//!
//! The host sends [`Setup`] once and then requests, one packet each, over the *control socket*. Each request brings a
//! socket of its own, the *line* of that command: replies come through it, and so do [`Order`]s. Closing the line
//! means: end the command. When nothing of the command is left, the line may take the next request, which then brings
//! none. All numbers are little-endian.

/// Who speaks another version of this is not spoken to.
pub(crate) const VERSION: u32 = 4;

/// The largest packet. What does not fit is put into a memory file, whose handle the packet carries.
pub(crate) const MAX_PACKET: usize = 8 << 10;
/// The most that a command's files, arguments, variables, limits and policy come to: more than the kernel lets any
/// program have (6 MiB).
pub(crate) const MAX_BODY: usize = 8 << 20;
/// The most handles that one packet carries.
pub(crate) const MAX_HANDLES: usize = 64;
/// How many of a tag's lowest bits number the command.
pub(crate) const NUMBER_BITS: u32 = 24;

/// What did not go well, as far as the helper came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The packet makes no sense.
    Request,
    /// Starting a process.
    Clone,
    /// A process group of its own; or a session, and its terminal.
    Session,
    /// Its input and output.
    Handles,
    /// Its working directory.
    Directory,
    /// Its limits.
    Limits,
    /// What confines it.
    Policy,
    /// Executing the program.
    Execute,
    /// A namespace of its own for process ids.
    Namespace,
}

const STAGES: [Stage; 9] = [
    Stage::Request,
    Stage::Clone,
    Stage::Session,
    Stage::Handles,
    Stage::Directory,
    Stage::Limits,
    Stage::Policy,
    Stage::Execute,
    Stage::Namespace,
];

/// What the helper is told first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    /// The tag of command 0; that of command N is N more.
    pub(crate) first_tag: u64,
    /// Become the first process of a new namespace of process ids.
    pub(crate) pid_namespace: bool,
    /// How many control groups each command enters. What they are entered by travels beside it, behind the policy's
    /// handle.
    pub(crate) groups: u8,
    /// What confines the helper itself, and so all that it starts.
    pub(crate) policy: Vec<u8>,
}

/// A command to start. Its handles travel beside it, in this order: line where it is a new one, working directory, standard output, standard
/// error, standard input unless [`Exec::NO_STDIN`], the body if [`Exec::IN_FILE`], those of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exec<'a> {
    pub(crate) flags: u8,
    /// Which command it is, among those of this helper.
    pub(crate) number: u32,
    /// Soft and hard limits by the system's number of the resource.
    pub(crate) limits: Vec<(u32, u64, u64)>,
    /// Where the program may be, in order: the first one that is there is executed.
    pub(crate) files: Strings<'a>,
    /// With the program's name first.
    pub(crate) args: Strings<'a>,
    /// As `NAME=value`.
    pub(crate) env: Strings<'a>,
    /// What confines this command, in the words of the policy itself.
    pub(crate) policy: &'a [u8],
}

impl Exec<'_> {
    /// Standard input is empty.
    pub(crate) const NO_STDIN: u8 = 1;
    /// The command gets its standard input as the terminal that controls it.
    pub(crate) const TERMINAL: u8 = 2;
    /// The body is in a memory file.
    pub(crate) const IN_FILE: u8 = 4;
}

/// Strings, each with a NUL behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings<'a> {
    pub(crate) count: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// Each string with its NUL.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }
}

/// What the helper tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is ready. On the control socket, once.
    Ready { version: u32 },
    /// Nothing was started, or the helper itself could not do what it was told to.
    Refused { stage: Stage, errno: i32 },
    /// The program runs. Not told of a command that ends soon: its end tells so, too.
    Started,
    /// The start takes long: a program or a directory does not answer. Others are served meanwhile.
    Delayed,
    /// The command's first process has ended: with this code, or by this signal. `gone` says that nothing else of it
    /// is left either, and is then the last word.
    Exited { signalled: bool, value: i32, gone: bool },
    /// Nothing of the command is left.
    Gone,
    /// What is left of the command can't be ended: it has become another user's, or the kernel does not let go.
    Stuck,
}

/// What the host wants done with a running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Ask all of it to end: `SIGTERM`, also for what has left its process group.
    Ask,
    /// End all of it.
    Kill,
    /// Send a signal to its process group.
    Signal(i32),
}

impl Setup {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(VERSION);
        out.u64(self.first_tag);
        out.u8(self.pid_namespace.into());
        out.u8(self.groups);
        out.0.extend_from_slice(&self.policy);
        out.0
    }

    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let mut rest = Reader(packet);
        if rest.u32()? != VERSION {
            return None;
        }
        let (first_tag, pid_namespace, groups) = (rest.u64()?, rest.u8()? == 1, rest.u8()?);
        Some(Self { first_tag, pid_namespace, groups, policy: rest.0.to_vec() })
    }
}

/// The fixed part of a request; the body follows it, or is in a memory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) flags: u8,
    pub(crate) number: u32,
    /// Of the body, in bytes.
    pub(crate) length: usize,
}

/// Its length.
const HEAD: usize = 9;

impl<'a> Exec<'a> {
    /// The packet, with the body in it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(self.flags);
        out.u32(self.number);
        out.u32(0);
        out.size(self.limits.len());
        for (resource, soft, hard) in &self.limits {
            out.u32(*resource);
            out.u64(*soft);
            out.u64(*hard);
        }
        for strings in [self.files, self.args, self.env] {
            out.size(strings.count);
            out.size(strings.bytes.len());
        }
        for strings in [self.files, self.args, self.env] {
            out.0.extend_from_slice(strings.bytes);
        }
        out.0.extend_from_slice(self.policy);
        let length = Writer::size_of(out.0.len() - HEAD);
        if let Some(place) = out.0.get_mut(5..HEAD) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        out.0
    }

    /// Takes the body out of a packet that is too large: what remains says where it is.
    pub(crate) fn split(mut packet: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let body = packet.split_off(HEAD.min(packet.len()));
        if let Some(flags) = packet.first_mut() {
            *flags |= Self::IN_FILE;
        }
        (packet, body)
    }

    /// What a packet begins with.
    pub(crate) fn head(packet: &[u8]) -> Option<Head> {
        let mut rest = Reader(packet);
        let (flags, number) = (rest.u8()?, rest.u32()?);
        let length = rest.size()?;
        (length <= MAX_BODY).then_some(Head { flags, number, length })
    }

    /// The body that a packet itself holds.
    pub(crate) fn body(packet: &[u8]) -> &[u8] {
        packet.get(HEAD..).unwrap_or_default()
    }

    pub(crate) fn decode(packet: &[u8], body: &'a [u8]) -> Option<Self> {
        let Head { flags, number, .. } = Self::head(packet)?;
        let mut rest = Reader(body);
        let mut limits = Vec::new();
        for _ in 0..rest.u32()? {
            limits.push((rest.u32()?, rest.u64()?, rest.u64()?));
        }
        let mut sizes = [(0, 0); 3];
        for size in &mut sizes {
            *size = (rest.size()?, rest.size()?);
        }
        let [files, args, env] = sizes.map(|(count, length)| rest.strings(count, length));
        Some(Self { flags, number, limits, files: files?, args: args?, env: env?, policy: rest.0 })
    }
}

impl Reply {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Ready { version } => {
                out.u8(0);
                out.u32(version);
            }
            Self::Refused { stage, errno } => {
                out.u8(1);
                out.u8(STAGES
                    .iter()
                    .zip(0..)
                    .find(|(known, _)| **known == stage)
                    .map_or(0, |(_, place)| place));
                out.i32(errno);
            }
            Self::Started => out.u8(2),
            Self::Exited { signalled, value, gone } => {
                out.u8(3);
                out.u8(signalled.into());
                out.i32(value);
                out.u8(gone.into());
            }
            Self::Gone => out.u8(4),
            Self::Stuck => out.u8(5),
            Self::Delayed => out.u8(6),
        }
        out.0
    }

    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let mut rest = Reader(packet);
        Some(match rest.u8()? {
            0 => Self::Ready { version: rest.u32()? },
            1 => {
                let stage = *STAGES.get(usize::from(rest.u8()?))?;
                Self::Refused { stage, errno: rest.i32()? }
            }
            2 => Self::Started,
            3 => {
                let signalled = rest.u8()? == 1;
                Self::Exited { signalled, value: rest.i32()?, gone: rest.u8()? == 1 }
            }
            4 => Self::Gone,
            5 => Self::Stuck,
            6 => Self::Delayed,
            _ => return None,
        })
    }
}

impl Order {
    /// Whether a packet is an order: no request is that short.
    pub(crate) fn is_one(packet: &[u8]) -> bool {
        packet.len() < HEAD && Self::decode(packet).is_some()
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Ask => out.u8(0),
            Self::Kill => out.u8(1),
            Self::Signal(signal) => {
                out.u8(2);
                out.i32(signal);
            }
        }
        out.0
    }

    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let mut rest = Reader(packet);
        Some(match rest.u8()? {
            0 => Self::Ask,
            1 => Self::Kill,
            2 => Self::Signal(rest.i32()?),
            _ => return None,
        })
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A size that is too large for the wire is told as one that is refused.
    fn size(&mut self, value: usize) {
        self.u32(Self::size_of(value));
    }

    fn size_of(value: usize) -> u32 {
        u32::try_from(value).unwrap_or(u32::MAX)
    }

    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(u8::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take()?))
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take()?))
    }

    /// Exactly so many strings of exactly this length.
    fn strings(&mut self, count: usize, length: usize) -> Option<Strings<'a>> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let strings = Strings { count, bytes };
        (strings.iter().count() == count && bytes.last().is_none_or(|byte| *byte == 0)).then_some(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec() -> Exec<'static> {
        Exec {
            flags: Exec::NO_STDIN,
            number: 77,
            limits: vec![(7, 1, u64::MAX)],
            files: Strings { count: 2, bytes: b"/bin/a\0/usr/bin/a\0" },
            args: Strings { count: 2, bytes: b"a\0\0" },
            env: Strings::default(),
            policy: b"anything",
        }
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let packet = exec().encode();
        let length = Exec::body(&packet).len();
        assert_eq!(Exec::head(&packet), Some(Head { flags: Exec::NO_STDIN, number: 77, length }));
        assert_eq!(Exec::decode(&packet, Exec::body(&packet)), Some(exec()));

        let (packet, body) = Exec::split(packet);
        let flags = Exec::NO_STDIN | Exec::IN_FILE;
        assert_eq!(Exec::head(&packet), Some(Head { flags, number: 77, length: body.len() }));
        assert_eq!(Exec::decode(&packet, &body), Some(Exec { flags, ..exec() }));
    }

    #[test]
    fn a_request_that_is_cut_anywhere_is_none() {
        let packet = Exec { policy: b"", ..exec() }.encode();
        for end in 0..packet.len() {
            let cut = &packet[..end];
            assert!(Exec::decode(cut, Exec::body(cut)).is_none(), "{end}");
        }
    }

    #[test]
    fn strings_are_as_many_as_was_said() {
        for (count, bytes) in [(1, &b"a\0b\0"[..]), (2, b"a\0b"), (1, b"a"), (1, b"")] {
            let packet = Exec { args: Strings { count, bytes }, policy: b"", ..exec() }.encode();
            assert_eq!(Exec::decode(&packet, Exec::body(&packet)), None, "{count} {bytes:?}");
        }
    }

    #[test]
    fn replies_and_orders_arrive_as_they_were_sent() {
        let mut replies = vec![
            Reply::Ready { version: 3 },
            Reply::Started,
            Reply::Exited { signalled: true, value: 9, gone: false },
            Reply::Exited { signalled: false, value: -1, gone: true },
            Reply::Gone,
            Reply::Stuck,
            Reply::Delayed,
        ];
        replies.extend(STAGES.map(|stage| Reply::Refused { stage, errno: 2 }));
        for reply in replies {
            assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        }
        for order in [Order::Ask, Order::Kill, Order::Signal(15)] {
            assert_eq!(Order::decode(&order.encode()), Some(order));
            assert!(Order::is_one(&order.encode()));
        }
        for flags in [0, Exec::NO_STDIN, Exec::TERMINAL] {
            assert!(!Order::is_one(&Exec { flags, ..exec() }.encode()));
        }
        let setup = Setup { first_tag: 5 << 24, pid_namespace: true, groups: 3, policy: vec![1, 2] };
        assert_eq!(Setup::decode(&setup.encode()), Some(setup));
        assert!(
            Reply::decode(&[]).is_none() && Reply::decode(&[99]).is_none() && Order::decode(&[9]).is_none()
        );
    }
}
