//! Files outside: reading, finding, changing.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write as _},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use super::{
    Attempt, Outcome, Target,
    call::{self, Errno, at, c, call},
    done, own, raw, secret, secret_in,
};

const AT_FDCWD: usize = (-100_isize) as usize;
/// Enough to reach the root from anywhere.
const UP: &str = "../../../../../../../../../../../../../../../..";

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("read", |t| secret_in(&t.at("secret"))),
    ("read-by-dots", |t| secret_in(&format!("{UP}{}", t.at("secret")))),
    ("read-by-symlink", |t| secret_in(&linked("link-file", &t.at("secret"))?)),
    ("read-by-directory-symlink", |t| secret_in(&format!("{}/secret", linked("link-dir", &t.outside)?))),
    ("read-by-relative-symlink", |t| secret_in(&linked("link-up", &format!("{UP}{}", t.at("secret")))?)),
    ("read-by-hard-link", |t| {
        fs::hard_link(t.at("secret"), fresh("hard"))?;
        secret_in("hard")
    }),
    ("read-by-rename", |t| {
        fs::write(t.at("moved"), SECRET_FILE)?;
        fs::rename(t.at("moved"), fresh("moved"))?;
        Ok("moved in".to_owned())
    }),
    ("read-by-own-root", |t| secret_in(&format!("/proc/self/root{}", t.at("secret")))),
    ("read-by-own-cwd", |t| secret_in(&format!("/proc/self/cwd/{UP}{}", t.at("secret")))),
    ("read-by-reopened-path", |t| {
        let path = File::from(open_path(&t.at("secret"))?);
        secret_in(&format!("/proc/self/fd/{}", raw(&path)))
    }),
    ("read-by-handle", read_by_handle),
    ("read-by-execution", |t| {
        let output = Command::new(t.at("program")).output()?;
        secret(&output.stdout)
    }),
    ("read-by-interpreter", |t| {
        let output = Command::new("/bin/sh").arg(t.at("program")).output()?;
        secret(&output.stdout)
    }),
    ("list", |t| Ok(format!("{} entries", fs::read_dir(&t.outside)?.count()))),
    ("look-at", |t| Ok(format!("{} bytes", fs::metadata(t.at("secret"))?.len()))),
    ("look-at-link", |t| Ok(fs::read_link(t.at("link"))?.display().to_string())),
    ("watch", |t| {
        let inotify = own(call(call::INOTIFY_INIT1, [0])?);
        let path = c(&t.outside);
        done(call(call::INOTIFY_ADD_WATCH, [raw(&inotify), at(&path), 0x2]))
    }),
    ("read-passwords", |_| Ok(format!("{} bytes", fs::read("/etc/shadow")?.len()))),
    ("list-home-of-root", |_| Ok(format!("{} entries", fs::read_dir("/root")?.count()))),
    ("list-hardware", |_| Ok(format!("{} entries", fs::read_dir("/sys/class")?.count()))),
    ("read-shared-memory-file", |t| secret_in(&format!("/dev/shm/{}", t.name))),
    ("create", |t| done(File::create(t.at("new")).map_err(Errno::from))),
    ("overwrite", |t| done(fs::write(t.at("mine"), "attacked").map_err(Errno::from))),
    ("append", |t| {
        let mut file = OpenOptions::new().append(true).open(t.at("mine"))?;
        done(file.write_all(b"attacked").map_err(Errno::from))
    }),
    ("truncate", |t| {
        let file = OpenOptions::new().write(true).truncate(true).open(t.at("mine"));
        done(file.map_err(Errno::from))
    }),
    ("overwrite-by-symlink", |t| {
        done(fs::write(linked("link-mine", &t.at("mine"))?, "x").map_err(Errno::from))
    }),
    ("overwrite-by-hard-link", |t| {
        fs::hard_link(t.at("mine"), fresh("hard-mine"))?;
        done(fs::write("hard-mine", "attacked").map_err(Errno::from))
    }),
    ("remove", |t| done(fs::remove_file(t.at("removable")).map_err(Errno::from))),
    ("remove-directory", |t| done(fs::remove_dir(t.at("removable-dir")).map_err(Errno::from))),
    ("make-directory", |t| done(fs::create_dir(t.at("new-dir")).map_err(Errno::from))),
    ("make-symlink", |t| done(symlink("x", t.at("new-link")).map_err(Errno::from))),
    ("make-pipe", |t| {
        let path = c(&t.at("new-pipe"));
        done(call(call::MKNODAT, [AT_FDCWD, at(&path), 0o010_600, 0]))
    }),
    ("make-socket", |t| {
        done(std::os::unix::net::UnixListener::bind(t.at("new-socket")).map_err(Errno::from))
    }),
    ("move-out", |t| {
        fs::write("moving", "attacked")?;
        done(fs::rename("moving", t.at("moved-out")).map_err(Errno::from))
    }),
    ("link-out", |t| {
        fs::write("linking", "attacked")?;
        done(fs::hard_link("linking", t.at("linked-out")).map_err(Errno::from))
    }),
    ("swap", |t| {
        fs::write("swapped", "attacked")?;
        let (from, to) = (c("swapped"), c(&t.at("swapped-out")));
        done(call(call::RENAMEAT2, [AT_FDCWD, at(&from), AT_FDCWD, at(&to), 2]))
    }),
    ("change-mode", |t| {
        done(fs::set_permissions(t.at("mine"), fs::Permissions::from_mode(0o777)).map_err(Errno::from))
    }),
    ("change-times", |t| {
        let path = c(&t.at("mine"));
        let number = if cfg!(target_arch = "x86_64") { 280 } else { 88 };
        done(call(number, [AT_FDCWD, at(&path), 0, 0]))
    }),
    ("change-attribute", |t| {
        let (path, name) = (c(&t.at("mine")), c("user.agentx"));
        let number = if cfg!(target_arch = "x86_64") { 188 } else { 5 };
        done(call(number, [at(&path), at(&name), at(&name), 4, 0]))
    }),
    ("write-to-usr", |t| write_and_remove(&format!("/usr/{}", t.name))),
    ("write-to-etc", |t| write_and_remove(&format!("/etc/{}", t.name))),
    ("write-to-root", |t| write_and_remove(&format!("/{}", t.name))),
    ("write-to-var", |t| write_and_remove(&format!("/var/lib/{}", t.name))),
    ("execute-own-memory", |_| execute_memory("/proc/self/fd")),
    ("execute-own-memory-by-handle", |_| execute_memory("")),
    ("inherited-descriptor", inherited_descriptor),
    ("inherited-environment", super::own_environment),
];

const SECRET_FILE: &str = "moved";

/// A link in the working directory, and its name.
fn linked(name: &str, target: &str) -> Result<String, Errno> {
    symlink(target, fresh(name))?;
    Ok(name.to_owned())
}

fn fresh(name: &str) -> &str {
    // An error means that it is not there.
    let _ = fs::remove_file(name);
    name
}

fn open_path(path: &str) -> Result<std::os::fd::OwnedFd, Errno> {
    const O_PATH: usize = 0o10_000_000;
    let path = c(path);
    let number = if cfg!(target_arch = "x86_64") { 257 } else { 56 };
    Ok(own(call(number, [AT_FDCWD, at(&path), O_PATH])?))
}

fn read_by_handle(t: &Target) -> Outcome {
    let bytes = (0..t.handle.len() / 2)
        .filter_map(|at| u8::from_str_radix(t.handle.get(at * 2..at * 2 + 2)?, 16).ok());
    let bytes: Vec<u8> = bytes.collect();
    let mut handle = u32::try_from(bytes.len()).unwrap_or_default().to_ne_bytes().to_vec();
    handle.extend_from_slice(&t.handle_type.to_ne_bytes());
    handle.extend_from_slice(&bytes);
    // Any descriptor of the same file system will do.
    let here = File::open(".")?;
    let fd = call(call::OPEN_BY_HANDLE_AT, [raw(&here), handle.as_ptr() as usize, 0])?;
    let mut text = Vec::new();
    File::from(own(fd)).read_to_end(&mut text)?;
    secret(&text)
}

fn write_and_remove(path: &str) -> Outcome {
    File::options().write(true).create_new(true).open(path)?;
    fs::remove_file(path)?;
    Ok("written".to_owned())
}

/// Executes a program that no file system holds.
fn execute_memory(by: &str) -> Outcome {
    let program = ["/usr/bin/true", "/bin/true"].into_iter().find(|path| Path::new(path).exists());
    let bytes = fs::read(program.ok_or(Errno::NOTHING)?)?;
    let name = c("x");
    let fd = own(call(call::MEMFD_CREATE, [at(&name), 0])?);
    let mut file = File::from(fd);
    file.write_all(&bytes)?;
    let args = [at(&name), 0];
    let env = [0_usize];
    let child = call::fork()?;
    if child == 0 {
        let path = if by.is_empty() { c("") } else { c(&format!("{by}/{}", raw(&file))) };
        let flags = if by.is_empty() { 0x1000 } else { 0 };
        let _ = call(
            call::EXECVEAT,
            [raw(&file), at(&path), args.as_ptr() as usize, env.as_ptr() as usize, flags],
        );
        call::exit(99);
    }
    if call::wait(child)? == 0 { Ok("executed".to_owned()) } else { Err(Errno::EPERM) }
}

/// Whatever is open above the standard three.
fn inherited_descriptor(_: &Target) -> Outcome {
    for fd in 3..64 {
        // It may be anybody's in this process, which ends right after this.
        let mut file = std::mem::ManuallyDrop::new(File::from(own(fd)));
        let mut bytes = [0; 256];
        let read = file.read(&mut bytes);
        if let Ok(found) =
            read.map_err(Errno::from).and_then(|count| secret(bytes.get(..count).unwrap_or_default()))
        {
            return Ok(found);
        }
    }
    Err(Errno::NOTHING)
}
