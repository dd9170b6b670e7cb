//! Other processes: what they know, and what can be done to them.

use std::{
    fs,
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use super::{
    Attempt, SECRET, Target,
    call::{self, Errno, call},
    done, own, raw, secret, secret_in,
};

const PTRACE_ATTACH: usize = 16;
const PTRACE_DETACH: usize = 17;
const PTRACE_SEIZE: usize = 0x4206;
const SIGCONT: usize = 18;

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("list-others", |t| {
        let name = fs::read_to_string(format!("/proc/{}/comm", other(t)?))?;
        Ok(name.trim().to_owned())
    }),
    ("command-line", |t| Ok(format!("{} bytes", some(fs::read(of(t, "cmdline")?)?)?.len()))),
    ("environment", |t| secret_in(&of(t, "environ")?)),
    ("maps", |t| Ok(format!("{} bytes", fs::read(of(t, "maps")?)?.len()))),
    ("memory", |t| {
        let mut file = File::open(of(t, "mem")?)?;
        file.seek(SeekFrom::Start(t.address as u64))?;
        let mut bytes = [0; 128];
        file.read_exact(&mut bytes)?;
        secret(&bytes)
    }),
    ("root", |t| secret_in(&format!("{}{}", of(t, "root")?, t.at("secret")))),
    ("working-directory", |t| secret_in(&format!("{}/secret", of(t, "cwd")?))),
    ("descriptor", |t| secret_in(&of(t, &format!("fd/{}", t.fd))?)),
    ("executable", |t| Ok(fs::read_link(of(t, "exe")?)?.display().to_string())),
    ("auxiliary-vector", |t| Ok(format!("{} bytes", some(fs::read(of(t, "auxv")?)?)?.len()))),
    ("system-call", |t| fs::read_to_string(of(t, "syscall")?).map_err(Errno::from)),
    ("stack", |t| fs::read_to_string(of(t, "stack")?).map_err(Errno::from)),
    ("mounts", |t| Ok(format!("{} bytes", fs::read(of(t, "mountinfo")?)?.len()))),
    ("score", |t| done(fs::write(of(t, "oom_score_adj")?, "1").map_err(Errno::from))),
    ("search-all", |_| {
        for entry in fs::read_dir("/proc")?.flatten() {
            for file in ["environ", "cmdline"] {
                let read = fs::read(entry.path().join(file)).map_err(Errno::from);
                if let Ok(found) = read.and_then(|bytes| secret(&bytes)) {
                    return Ok(found);
                }
            }
        }
        Err(Errno::NOTHING)
    }),
    ("trace", |t| {
        let pid = other(t)?;
        call(call::PTRACE, [PTRACE_ATTACH, pid, 0, 0])?;
        call::wait(t.pid)?;
        done(call(call::PTRACE, [PTRACE_DETACH, pid, 0, 0]))
    }),
    ("seize", |t| done(call(call::PTRACE, [PTRACE_SEIZE, other(t)?, 0, 0]))),
    ("trace-own-child", |_| {
        let child = call::fork()?;
        if child == 0 {
            let traced = call(call::PTRACE, [0, 0, 0, 0]);
            call::exit(i32::from(traced.is_err()));
        }
        if call::wait(child)? == 0 { Ok("traced".to_owned()) } else { Err(Errno::EPERM) }
    }),
    ("read-memory", |t| {
        let mut bytes = [0_u8; 128];
        let local = [bytes.as_mut_ptr() as usize, bytes.len()];
        let remote = [t.address, bytes.len()];
        let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
        call(call::PROCESS_VM_READV, [other(t)?, local, 1, remote, 1, 0])?;
        secret(&bytes)
    }),
    ("write-memory", |t| {
        // The first letter, as it is.
        let bytes = [SECRET.as_bytes().first().copied().unwrap_or_default()];
        let local = [bytes.as_ptr() as usize, 1];
        let remote = [t.address, 1];
        let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
        done(call(call::PROCESS_VM_WRITEV, [other(t)?, local, 1, remote, 1, 0]))
    }),
    ("take-descriptor", |t| {
        let process = own(call(call::PIDFD_OPEN, [other(t)?, 0])?);
        let fd = own(call(call::PIDFD_GETFD, [raw(&process), t.fd as usize, 0])?);
        let mut file = File::from(fd);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        secret(&bytes)
    }),
    ("open-handle", |t| done(call(call::PIDFD_OPEN, [other(t)?, 0]))),
    ("compare", |t| done(call(call::KCMP, [std::process::id() as usize, other(t)?, 1, 0, 0]))),
    ("signal", |t| done(call(call::KILL, [other(t)?, SIGCONT]))),
    ("signal-by-handle", |t| {
        let process = own(call(call::PIDFD_OPEN, [other(t)?, 0])?);
        done(call(call::PIDFD_SEND_SIGNAL, [raw(&process), SIGCONT, 0, 0]))
    }),
    ("signal-parent", |_| {
        let grandparent =
            stat_of("/proc/self/stat", 3).and_then(|pid| stat_of(&format!("/proc/{pid}/stat"), 3))?;
        if grandparent <= 1 { Err(Errno(3)) } else { done(call(call::KILL, [grandparent as usize, 0])) }
    }),
    ("signal-init", |_| done(call(call::KILL, [1, 0]))),
    ("limits", |t| {
        let mut old = [0_u64; 2];
        // The limit of locks, which has no effect any more, to what it is.
        call(call::PRLIMIT64, [other(t)?, 10, 0, old.as_mut_ptr() as usize])?;
        done(call(call::PRLIMIT64, [other(t)?, 10, old.as_ptr() as usize, 0]))
    }),
    ("priority", |t| done(call(call::SETPRIORITY, [0, other(t)?, 5]))),
    ("measure", |t| done(measure(other(t)?))),
    ("environment-of-init", |_| Ok(format!("{} bytes", some(fs::read("/proc/1/environ")?)?.len()))),
    ("maps-of-init", |_| Ok(format!("{} bytes", some(fs::read("/proc/1/maps")?)?.len()))),
    ("memory-of-init", |_| done(File::open("/proc/1/mem").map_err(Errno::from))),
    ("root-of-init", |t| secret_in(&format!("/proc/1/root{}", t.at("secret")))),
    ("descriptors-of-init", |_| Ok(format!("{} open", fs::read_dir("/proc/1/fd")?.count()))),
    ("shared-memory", |t| {
        const READ_ONLY: usize = 0o10_000;
        let address = call(call::SHMAT, [t.segment as usize, 0, READ_ONLY])?;
        secret(&call::read_at(address, 256))
    }),
    ("terminal", |t| done(File::options().write(true).open(&t.terminal).map_err(Errno::from))),
];

/// Counts the instructions of a process, which tells what it does.
pub(super) fn measure(pid: usize) -> Result<usize, Errno> {
    // Of type software, the processor's time.
    let mut attributes = [0_u64; 16];
    attributes[0] = 1 | (128 << 32);
    attributes[1] = 1;
    call(call::PERF_EVENT_OPEN, [attributes.as_ptr() as usize, pid, usize::MAX, usize::MAX, 0])
}

/// The witness, unless its number can be that of somebody inside.
fn other(t: &Target) -> Result<usize, Errno> {
    let mine = std::process::id();
    let pid = u32::try_from(t.pid).unwrap_or_default();
    // Numbers are given out in turn. Outside, the witness is older and its parent is the same; inside, a number below
    // this one may be anybody's.
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if pid < mine && comm.trim() != super::witness::NAME && fs::metadata(format!("/proc/{pid}")).is_ok() {
        return Err(Errno(3));
    }
    usize::try_from(pid).map_err(|_| Errno::EINVAL)
}

fn of(t: &Target, file: &str) -> Result<String, Errno> {
    Ok(format!("/proc/{}/{file}", other(t)?))
}

fn some(bytes: Vec<u8>) -> Result<Vec<u8>, Errno> {
    if bytes.is_empty() { Err(Errno::NOTHING) } else { Ok(bytes) }
}

/// A number of a process's state, counted from zero.
fn stat_of(path: &str, field: usize) -> Result<i32, Errno> {
    let stat = fs::read_to_string(path)?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    rest.split_ascii_whitespace().nth(field - 2).and_then(|word| word.parse().ok()).ok_or(Errno::NOTHING)
}
