//! Rights of the user.

use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    },
};

use super::{
    Attempt, Outcome,
    call::{self, Errno, at, c, call},
    done,
};

const AT_FDCWD: usize = (-100_isize) as usize;

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("capabilities", |_| {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
        let bits = line.and_then(|line| u64::from_str_radix(line, 16).ok()).ok_or(Errno::NOTHING)?;
        if bits == 0 { Err(Errno::EPERM) } else { Ok(format!("{bits:#x}")) }
    }),
    ("bounding-set", |_| {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")).map(str::trim);
        if line == Some("1") { Err(Errno::EPERM) } else { Ok("new privileges can be had".to_owned()) }
    }),
    ("become-another", |_| done(call(call::SETRESUID, [another(); 3]))),
    ("change-groups", |_| {
        let groups = [another() as u32];
        done(call(call::SETGROUPS, [1, groups.as_ptr() as usize]))
    }),
    ("give-away", |_| {
        File::create("given")?;
        done(chown("given", Some(another() as u32), None).map_err(Errno::from))
    }),
    ("ignore-mode", |_| {
        let _ = fs::remove_file("closed");
        OpenOptions::new().write(true).create_new(true).mode(0o000).open("closed")?;
        done(File::open("closed").map_err(Errno::from))
    }),
    ("setuid-file", |_| {
        let _ = fs::remove_file("setuid");
        fs::copy("/proc/self/exe", "setuid")?;
        chown("setuid", Some(another() as u32), None)?;
        done(fs::set_permissions("setuid", fs::Permissions::from_mode(0o4755)).map_err(Errno::from))
    }),
    ("block-device", |_| {
        let _ = fs::remove_file("block");
        let path = c("block");
        // The first disk of a virtual machine, if there is one.
        call(call::MKNODAT, [AT_FDCWD, at(&path), 0o060_600, 254 << 8])?;
        done(fs::remove_file("block").map_err(Errno::from))
    }),
    ("character-device", |_| {
        let _ = fs::remove_file("character");
        let path = c("character");
        call(call::MKNODAT, [AT_FDCWD, at(&path), 0o020_600, 1 << 8 | 3])?;
        let opened = File::open("character").map_err(Errno::from);
        fs::remove_file("character")?;
        done(opened)
    }),
    ("read-disk", |_| {
        for entry in fs::read_dir("/sys/class/block").map_err(|_| Errno::EPERM)?.flatten() {
            let device = format!("/dev/{}", entry.file_name().to_string_lossy());
            if File::open(&device).is_ok() {
                return Ok(device);
            }
        }
        Err(Errno::EPERM)
    }),
    ("raise-priority", |_| done(call(call::SETPRIORITY, [0, 0, (-5_isize) as usize]))),
    ("real-time", |_| {
        let parameters = [1_i32];
        done(call(call::SCHED_SETSCHEDULER, [0, 1, parameters.as_ptr() as usize]))
    }),
    ("raise-limit", |_| {
        let limit = [1_u64 << 30; 2];
        done(call(call::PRLIMIT64, [0, 7, limit.as_ptr() as usize, 0]))
    }),
    ("ambient-capability", |_| done(call(call::PRCTL, [47, 2, 21, 0, 0]))),
    ("type-into-terminal", |_| type_into(0x5412)),
    ("low-port", |_| {
        done(std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 1)).map_err(Errno::from))
    }),
    ("trusted-attribute", |_| {
        let file = File::create("attribute")?;
        let name = c("trusted.agentx");
        done(call(call::FSETXATTR, [file.as_raw_fd() as usize, at(&name), at(&name), 4, 0]))
    }),
];

/// A user who this one is not.
fn another() -> usize {
    const NOBODY: usize = 65_534;
    let mine = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid() as usize);
    if mine == NOBODY { NOBODY - 1 } else { NOBODY }
}

/// Types a letter into a terminal of its own, as its user would.
fn type_into(request: usize) -> Outcome {
    const TIOCSPTLCK: usize = 0x4004_5431;
    const TIOCGPTPEER: usize = 0x5441;
    const TIOCSCTTY: usize = 0x540e;
    call(call::SETSID, [])?;
    let master = OpenOptions::new().read(true).write(true).custom_flags(0o400).open("/dev/ptmx")?;
    let unlock = 0_i32;
    call(call::IOCTL, [master.as_raw_fd() as usize, TIOCSPTLCK, (&raw const unlock) as usize])?;
    // Both ends stay open until this process ends: where they close, it is hung up on before it can tell.
    let master = master.into_raw_fd() as usize;
    let slave = call(call::IOCTL, [master, TIOCGPTPEER, 0o402])?;
    call(call::IOCTL, [slave, TIOCSCTTY, 0])?;
    let letter = b'x';
    done(call(call::IOCTL, [slave, request, (&raw const letter) as usize]))
}
