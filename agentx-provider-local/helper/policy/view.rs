//! The file system as commands see it: a small one of its own, with the host's places mounted into it.

use std::{
    ffi::{CStr, CString, OsStr},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{
    Failure,
    plan::{Mount, Namespaces, Scratch},
    sys::{self, Errno, Fd},
};

/// What a file system of the sandbox itself never has.
const PLAIN: u64 = sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV;

/// Builds the view in this mount namespace and makes it the root.
pub(crate) fn build(namespaces: &Namespaces) -> Result<(), Failure> {
    let old = sys::open(sys::AT_FDCWD, c"/", sys::O_PATH | sys::O_DIRECTORY, 0)
        .map_err(Failure::of("open the root"))?;
    sys::restrict_mount(old.raw(), 0, sys::MS_PRIVATE, true)
        .map_err(Failure::of("part the mounts from the host's"))?;
    // All sources are taken before anything is mounted over them.
    let sources = sources(&namespaces.mounts)?;
    let root = root()?;
    let mut sources = sources.into_iter();
    for mount in &namespaces.mounts {
        place(&root, mount, &mut sources)?;
    }
    let proc = proc()?;
    let at = inside(&root, c"/proc")?;
    sys::attach(proc.raw(), at.raw()).map_err(Failure::of("mount /proc"))?;
    if let Some(scratch) = &namespaces.scratch {
        let mounted = mount_scratch(root.raw(), scratch);
        mounted.map_err(Failure::at("mount a file system of its own at", &scratch.path))?;
    }
    sys::restrict_mount(root.raw(), sys::MOUNT_ATTR_RDONLY | PLAIN, 0, false)
        .map_err(Failure::of("make the root read-only"))?;
    sys::change_dir(root.raw()).map_err(Failure::of("enter the new root"))?;
    sys::pivot_here().map_err(Failure::of("make the new root the root"))
}

/// What a command with namespaces of its own mounts afresh. Allocates nothing.
pub(crate) fn refresh(scratch: Option<&Scratch>) -> sys::Result<()> {
    let root = sys::open(sys::AT_FDCWD, c"/", sys::O_PATH | sys::O_DIRECTORY, 0)?;
    let proc = new_proc()?;
    let at = sys::open(root.raw(), c"proc", sys::O_PATH | sys::O_DIRECTORY, 0)?;
    sys::attach(proc.raw(), at.raw())?;
    scratch.map_or(Ok(()), |scratch| mount_scratch(root.raw(), scratch))
}

/// The message queues of this ipc namespace, as a directory.
pub(crate) fn queues() -> sys::Result<Fd> {
    sys::new_mount(c"mqueue", &[], sys::MOUNT_ATTR_NOEXEC | PLAIN)
}

/// A detached copy of each source, in order.
fn sources(mounts: &[Mount]) -> Result<Vec<Fd>, Failure> {
    let mut sources = Vec::new();
    for mount in mounts {
        let Mount::Bind { source, attributes, identity, .. } = mount else { continue };
        let open = || {
            let place = sys::open(sys::AT_FDCWD, source, sys::O_PATH, 0)?;
            let (device, inode, _) = sys::identity(place.raw())?;
            if *identity != (0, 0) && *identity != (device, inode) {
                return Err(Errno::ESTALE);
            }
            let tree = sys::clone_tree(place.raw())?;
            sys::restrict_mount(tree.raw(), *attributes, 0, true)?;
            Ok(tree)
        };
        sources.push(open().map_err(Failure::at("take", source))?);
    }
    Ok(sources)
}

/// An empty root. It hangs over the old `/dev` until it is the root, since that is there on every machine.
fn root() -> Result<Fd, Failure> {
    let make = || {
        let root = sys::new_mount(c"tmpfs", &[(c"size", c"1048576"), (c"mode", c"0755")], PLAIN)?;
        let place = sys::open(sys::AT_FDCWD, c"/dev", sys::O_PATH | sys::O_DIRECTORY, 0)?;
        sys::attach(root.raw(), place.raw())?;
        Ok(root)
    };
    make().map_err(Failure::of("mount a root"))
}

fn place(root: &Fd, mount: &Mount, sources: &mut impl Iterator<Item = Fd>) -> Result<(), Failure> {
    let put = |mount: &Fd, path: &CStr| {
        let at = inside(root, path)?;
        sys::attach(mount.raw(), at.raw()).map_err(Failure::at("mount at", path))
    };
    match mount {
        Mount::Directory(path) => directories(root, path),
        Mount::Link { path, target } => {
            parents(root, path)?;
            sys::make_symlink(target, root.raw(), relative(path)).map_err(Failure::at("link", path))
        }
        Mount::File { path, content } => {
            parents(root, path)?;
            file(root, path, content).map_err(Failure::at("make", path))
        }
        Mount::Bind { path, .. } => {
            let source = sources.next().ok_or(Errno::EINVAL).map_err(Failure::at("take", path))?;
            if is_directory(&source).map_err(Failure::at("look at", path))? {
                directories(root, path)?;
            } else if inside(root, path).is_err() {
                parents(root, path)?;
                file(root, path, &[]).map_err(Failure::at("make", path))?;
            }
            put(&source, path)
        }
        Mount::Pin { path, attributes } => {
            let at = inside(root, path)?;
            let pin = || {
                let pin = sys::clone_tree(at.raw())?;
                sys::restrict_mount(pin.raw(), *attributes, 0, true)?;
                sys::attach(pin.raw(), at.raw())
            };
            pin().map_err(Failure::at("protect", path))
        }
        Mount::Terminals(path) => {
            directories(root, path)?;
            let options = [(c"mode", c"0620"), (c"ptmxmode", c"0666")];
            let terminals =
                sys::new_mount(c"devpts", &options, sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NOEXEC)
                    .map_err(Failure::of("make terminals"))?;
            put(&terminals, path)
        }
    }
}

fn proc() -> Result<Fd, Failure> {
    new_proc()
        .map_err(Failure::of("make a /proc of its own (a container that covers parts of /proc forbids it)"))
}

/// Read-only: where the host runs as root, what is written to it would reach the whole machine.
fn new_proc() -> sys::Result<Fd> {
    let attributes = sys::MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOEXEC | PLAIN;
    sys::new_mount(c"proc", &[(c"hidepid", c"ptraceable")], attributes)
}

/// Allocates nothing.
fn mount_scratch(root: i32, scratch: &Scratch) -> sys::Result<()> {
    let mut digits = [0_u8; 21];
    let size = decimal(scratch.size, &mut digits);
    let mount = sys::new_mount(c"tmpfs", &[(c"size", size), (c"mode", c"1777")], PLAIN)?;
    let at = open_beneath(root, &scratch.path)?;
    sys::attach(mount.raw(), at.raw())?;
    for (from, steps) in &scratch.places {
        let from = open_beneath(root, from)?;
        let is_dir = is_directory(&from)?;
        let mut steps = steps.iter().peekable();
        while let Some(step) = steps.next() {
            if is_dir || steps.peek().is_some() {
                match sys::make_dir(mount.raw(), step, 0o755) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            } else {
                sys::open(mount.raw(), step, sys::O_WRONLY | sys::O_CREAT, 0o644)?;
            }
            if steps.peek().is_none() {
                let place = sys::open2(mount.raw(), step, sys::O_PATH, sys::RESOLVE_BENEATH)?;
                sys::attach(sys::clone_tree(from.raw())?.raw(), place.raw())?;
            }
        }
    }
    Ok(())
}

/// Whether a scratch file system is as it was mounted: nothing is in it, and anybody may use it. Allocates nothing.
pub(crate) fn is_unused(path: &CStr) -> sys::Result<bool> {
    let dir = sys::open(sys::AT_FDCWD, path, sys::O_RDONLY | sys::O_DIRECTORY, 0)?;
    let (_, _, mode) = sys::identity(dir.raw())?;
    if mode != 0o041_777 || sys::has_attributes(dir.raw()) {
        return Ok(false);
    }
    let mut entries = [0_u8; 128];
    // `.` and `..` take 24 bytes each, and any other entry as much at least.
    Ok(sys::list(dir.raw(), &mut entries)? <= 48)
}

fn open_beneath(root: i32, path: &CStr) -> sys::Result<Fd> {
    sys::open2(root, relative(path), sys::O_PATH, sys::RESOLVE_BENEATH)
}

fn is_directory(place: &Fd) -> sys::Result<bool> {
    let (_, _, mode) = sys::identity(place.raw())?;
    Ok(mode & 0o170_000 == 0o040_000)
}

/// The digits of a number, in a buffer that ends in NUL.
fn decimal(mut number: u64, digits: &mut [u8; 21]) -> &CStr {
    let mut start = digits.len() - 1;
    for place in digits.iter_mut().rev().skip(1) {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        start -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    digits.get(start..).and_then(|digits| CStr::from_bytes_with_nul(digits).ok()).unwrap_or(c"0")
}

fn inside(root: &Fd, path: &CStr) -> Result<Fd, Failure> {
    let resolve = sys::RESOLVE_BENEATH | sys::RESOLVE_NO_SYMLINKS;
    sys::open2(root.raw(), relative(path), sys::O_PATH, resolve).map_err(Failure::at("open", path))
}

fn file(root: &Fd, path: &CStr, content: &[u8]) -> sys::Result<()> {
    let file = sys::open(root.raw(), relative(path), sys::O_WRONLY | sys::O_CREAT | sys::O_EXCL, 0o644)?;
    let written = sys::write(file.raw(), content)?;
    if written == content.len() { Ok(()) } else { Err(Errno::EINVAL) }
}

fn parents(root: &Fd, path: &CStr) -> Result<(), Failure> {
    let parent = Path::new(OsStr::from_bytes(path.to_bytes())).parent().unwrap_or(Path::new("/"));
    let parent =
        CString::new(parent.as_os_str().as_bytes()).map_err(|_| Failure::at("make", path)(Errno::EINVAL))?;
    directories(root, &parent)
}

fn directories(root: &Fd, path: &CStr) -> Result<(), Failure> {
    let mut part = Vec::new();
    for name in path.to_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        if !part.is_empty() {
            part.push(b'/');
        }
        part.extend_from_slice(name);
        let part = CString::new(part.clone()).map_err(|_| Failure::at("make", path)(Errno::EINVAL))?;
        match sys::make_dir(root.raw(), &part, 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            // It is there, in what was mounted before.
            Err(_) if inside_any(root, &part) => {}
            Err(errno) => return Err(Failure::at("make", path)(errno)),
        }
    }
    Ok(())
}

fn inside_any(root: &Fd, relative: &CStr) -> bool {
    sys::open2(root.raw(), relative, sys::O_PATH | sys::O_DIRECTORY, sys::RESOLVE_BENEATH).is_ok()
}

/// The path without its first slash.
fn relative(path: &CStr) -> &CStr {
    match path.to_bytes_with_nul() {
        [b'/', rest @ ..] if rest.len() > 1 => CStr::from_bytes_with_nul(rest).unwrap_or(path),
        _ => c".",
    }
}
