//! Attempts to get out, run where a command would run.
//!
//! Each attempt is made in a process of its own and tells whether it *got* something: words of the witness, who holds a
//! secret outside; or a right that a confined command has no use for. Run outside, the same attempts show which of them
//! the machine itself would have let through: the others prove nothing.
//!
//! Nothing here does harm where it succeeds: what is changed is the probe's own, what is written to the kernel is what
//! was there, and orders to the machine are such that it refuses after it has checked who gives them.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a system call takes and gives whole registers"
)]

mod call;
mod files;
mod kernel;
mod network;
mod privileges;
mod processes;
mod protected;
mod tree;
mod witness;

use std::{
    env, fs,
    io::{self, Read, Write as _},
    os::fd::AsRawFd,
    process::ExitCode,
};

use self::call::{Errno, own};
pub(crate) use self::witness::testify;

/// What an attempt came to: `Ok` with what it got.
pub(crate) type Outcome = Result<String, Errno>;
/// A name, and how it is tried.
pub(crate) type Attempt = (&'static str, fn(&Target) -> Outcome);

/// What every secret of the witness begins with.
pub(crate) const SECRET: &str = "agentx-probe-secret-";
/// After how many seconds an attempt that hangs is ended.
const PATIENCE: usize = 5;

/// What the attempts aim at, as told on the command line by `name=value`.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// A directory outside.
    pub(crate) outside: String,
    /// The witness's process.
    pub(crate) pid: i32,
    /// Where the witness keeps its secret in memory.
    pub(crate) address: usize,
    /// The witness's descriptor of a file with the secret.
    pub(crate) fd: i32,
    pub(crate) tcp: u16,
    pub(crate) udp: u16,
    /// The name of an abstract Unix socket.
    pub(crate) name: String,
    /// A terminal of the witness.
    pub(crate) terminal: String,
    /// A System V shared memory segment.
    pub(crate) segment: i32,
    /// The kernel's handle to a file with the secret, in hexadecimal.
    pub(crate) handle: String,
    pub(crate) handle_type: i32,
    /// Only what a whole tree may use is tried.
    pub(crate) only_tree: bool,
}

impl Target {
    fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut target = Self::default();
        for arg in args {
            let Some((name, value)) = arg.split_once('=') else { continue };
            let value = value.to_owned();
            match name {
                "outside" => target.outside = value,
                "pid" => target.pid = value.parse().unwrap_or_default(),
                "address" => target.address = value.parse().unwrap_or_default(),
                "fd" => target.fd = value.parse().unwrap_or_default(),
                "tcp" => target.tcp = value.parse().unwrap_or_default(),
                "udp" => target.udp = value.parse().unwrap_or_default(),
                "name" => target.name = value,
                "terminal" => target.terminal = value,
                "segment" => target.segment = value.parse().unwrap_or_default(),
                "handle" => target.handle = value,
                "only" => target.only_tree = value == "tree",
                "handle_type" => target.handle_type = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        target
    }

    /// A file outside, by its name.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.outside)
    }
}

/// Makes all attempts and prints a line for each: its group, its name, and `got` or `denied` with a reason.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let target = Target::parse(args);
    let all: [(&str, &[Attempt]); 6] = [
        ("files", files::ATTEMPTS),
        ("protected", protected::ATTEMPTS),
        ("processes", processes::ATTEMPTS),
        ("network", network::ATTEMPTS),
        ("kernel", kernel::ATTEMPTS),
        ("privileges", privileges::ATTEMPTS),
    ];
    let tree: [(&str, &[Attempt]); 1] = [("tree", tree::ATTEMPTS)];
    let groups = if target.only_tree { &tree[..] } else { &all };
    let mut out = io::stdout().lock();
    for (group, attempts) in groups {
        for (name, attempt) in *attempts {
            let line = match apart(|| attempt(&target)) {
                Ok(what) => format!("{group}\t{name}\tgot\t{}\n", what.replace(['\t', '\n'], " ")),
                Err(why) => format!("{group}\t{name}\tdenied\t{why}\n"),
            };
            if out.write_all(line.as_bytes()).is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    // What proves that the attempts were all made.
    if out.write_all(b"end\n").and_then(|()| out.flush()).is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs an attempt in a process of its own.
pub(crate) fn apart(attempt: impl FnOnce() -> Outcome) -> Result<String, String> {
    let (mut reader, mut writer) = pipe().map_err(|errno| errno.to_string())?;
    match call::fork().map_err(|errno| errno.to_string())? {
        0 => {
            drop(reader);
            call::alarm(PATIENCE);
            let text = match attempt() {
                Ok(what) => format!("+{what}"),
                Err(why) => format!("-{why}"),
            };
            let _ = writer.write_all(text.as_bytes());
            call::exit(0)
        }
        child => {
            drop(writer);
            let mut text = String::new();
            let read = (&mut reader).take(1 << 16).read_to_string(&mut text);
            let status = call::wait(child).map_err(|errno| errno.to_string())?;
            read.map_err(|error| error.to_string())?;
            match text.split_at_checked(1) {
                Some(("+", what)) => Ok(what.to_owned()),
                Some((_, why)) => Err(why.to_owned()),
                None => Err(format!("ended with status {status:#x}")),
            }
        }
    }
}

fn pipe() -> Result<(fs::File, fs::File), Errno> {
    let (reader, writer) = call::pipe()?;
    Ok((reader.into(), writer.into()))
}

/// What a read gave, if it holds the witness's secret.
pub(crate) fn secret(bytes: &[u8]) -> Outcome {
    let mut windows = bytes.windows(SECRET.len());
    let at = windows.position(|window| window == SECRET.as_bytes()).ok_or(Errno::NOTHING)?;
    let word = bytes.get(at..).unwrap_or_default();
    let end = word.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(word.len());
    Ok(String::from_utf8_lossy(word.get(..end).unwrap_or_default()).into_owned())
}

/// The secret in a file, which may be large.
pub(crate) fn secret_in(path: &str) -> Outcome {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(1 << 20).read_to_end(&mut bytes)?;
    secret(&bytes)
}

pub(crate) fn raw(fd: &impl AsRawFd) -> usize {
    fd.as_raw_fd() as usize
}

/// Something that can be done is told in one word.
pub(crate) fn done<T>(result: Result<T, Errno>) -> Outcome {
    result.map(|_| "done".to_owned())
}

/// A right is held when the kernel refuses for another reason than that it is not.
pub(crate) fn permitted(result: Result<usize, Errno>) -> Outcome {
    match result {
        Err(errno) if errno.is_refusal() => Err(errno),
        _ => Ok("permitted".to_owned()),
    }
}

/// What the environment of this process itself gives away.
pub(crate) fn own_environment(_: &Target) -> Outcome {
    let all: Vec<_> = env::vars().map(|(_, value)| value).collect();
    secret(all.join("\n").as_bytes())
}
