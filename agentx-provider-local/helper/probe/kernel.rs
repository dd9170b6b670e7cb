//! Parts of the kernel that a command has no use for.

use std::fs;

use super::{
    Attempt, Outcome,
    call::{self, Errno, at, c, call},
    done, own, permitted, processes, raw,
};

const NEWTIME: usize = 0x80;
const NEWNS: usize = 0x2_0000;
const NEWCGROUP: usize = 0x200_0000;
const NEWUTS: usize = 0x400_0000;
const NEWIPC: usize = 0x800_0000;
const NEWUSER: usize = 0x1000_0000;
const NEWPID: usize = 0x2000_0000;
const NEWNET: usize = 0x4000_0000;
const SIGCHLD: usize = 0x11;
const AT_FDCWD: usize = (-100_isize) as usize;
/// A number that is no address and no descriptor.
const NONE: usize = usize::MAX;

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("io-uring", |_| {
        let mut parameters = [0_u32; 30];
        done(call(call::IO_URING_SETUP, [4, parameters.as_mut_ptr() as usize]))
    }),
    ("userfaultfd", |_| done(call(call::USERFAULTFD, [0]))),
    ("bpf", |_| {
        // A map of one word.
        let attributes = [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        done(call(call::BPF, [0, attributes.as_ptr() as usize, size_of_val(&attributes)]))
    }),
    ("performance-counters", |_| done(processes::measure(0))),
    ("add-key", |_| {
        let (kind, name) = (c("user"), c("agentx-probe"));
        // Into the keyring of this process, which ends right after this.
        done(call(call::ADD_KEY, [at(&kind), at(&name), at(&name), 4, (-2_isize) as usize]))
    }),
    ("find-keyring", |_| done(call(call::KEYCTL, [0, (-4_isize) as usize, 1]))),
    ("fanotify", |_| done(call(call::FANOTIFY_INIT, [0, 0]))),
    ("clone-user", |_| clone(NEWUSER)),
    ("clone-mount", |_| clone(NEWNS)),
    ("clone-pid", |_| clone(NEWPID)),
    ("clone-network", |_| clone(NEWNET)),
    ("clone3-user", |_| {
        let arguments = [NEWUSER as u64, 0, 0, 0, 17, 0, 0, 0];
        ended(call(call::CLONE3, [arguments.as_ptr() as usize, size_of_val(&arguments)])?)
    }),
    ("unshare-user", |_| done(call(call::UNSHARE, [NEWUSER]))),
    ("unshare-user-and-mount", |_| done(call(call::UNSHARE, [NEWUSER | NEWNS]))),
    ("unshare-mount", |_| done(call(call::UNSHARE, [NEWNS]))),
    ("unshare-pid", |_| done(call(call::UNSHARE, [NEWPID]))),
    ("unshare-network", |_| done(call(call::UNSHARE, [NEWNET]))),
    ("unshare-ipc", |_| done(call(call::UNSHARE, [NEWIPC]))),
    ("unshare-uts", |_| done(call(call::UNSHARE, [NEWUTS]))),
    ("unshare-cgroup", |_| done(call(call::UNSHARE, [NEWCGROUP]))),
    ("unshare-time", |_| done(call(call::UNSHARE, [NEWTIME]))),
    ("join-mounts", |t| join(&format!("/proc/{}/ns/mnt", t.pid))),
    ("join-network", |t| join(&format!("/proc/{}/ns/net", t.pid))),
    ("join-own", |_| join("/proc/self/ns/uts")),
    ("mount", |_| {
        private(|| {
            let kind = c("tmpfs");
            let place = place()?;
            done(call(call::MOUNT, [at(&kind), at(&place), at(&kind), 0, 0]))
        })
    }),
    ("mount-proc", |_| {
        private(|| {
            let kind = c("proc");
            let place = place()?;
            done(call(call::MOUNT, [at(&kind), at(&place), at(&kind), 0, 0]))
        })
    }),
    ("bind", |_| {
        private(|| {
            let (from, place) = (c("/"), place()?);
            done(call(call::MOUNT, [at(&from), at(&place), 0, 0x1000, 0]))
        })
    }),
    ("remount-writable", |_| {
        private(|| {
            let path = c("/");
            let attributes = [0_u64, 1, 0, 0];
            done(call(call::MOUNT_SETATTR, [AT_FDCWD, at(&path), 0, attributes.as_ptr() as usize, 32]))
        })
    }),
    ("unmount-proc", |_| {
        private(|| {
            let path = c("/proc");
            done(call(call::UMOUNT2, [at(&path), 2]))
        })
    }),
    ("new-mount", |_| {
        let kind = c("tmpfs");
        done(call(call::FSOPEN, [at(&kind), 0]).map(own))
    }),
    ("clone-mounts", |_| {
        let path = c("/");
        done(call(call::OPEN_TREE, [AT_FDCWD, at(&path), 1]).map(own))
    }),
    ("pivot", |_| {
        private(|| {
            let (kind, place) = (c("tmpfs"), place()?);
            call(call::MOUNT, [at(&kind), at(&place), at(&kind), 0, 0])?;
            done(call(call::PIVOT_ROOT, [at(&place), at(&place)]))
        })
    }),
    ("change-root", |_| {
        let path = c(".");
        done(call(call::CHROOT, [at(&path)]))
    }),
    ("change-root-and-climb", |t| {
        let place = place()?;
        call(call::CHROOT, [at(&place)])?;
        for _ in 0..16 {
            std::env::set_current_dir("..")?;
        }
        let here = c(".");
        call(call::CHROOT, [at(&here)])?;
        super::secret_in(&t.at("secret"))
    }),
    ("host-name", |_| {
        private_uts(|| {
            let name = c("attacked");
            done(call(call::SETHOSTNAME, [at(&name), 8]))
        })
    }),
    // What is refused only for what is asked, and not for who asks, is a right.
    ("load-module", |_| permitted(call(call::INIT_MODULE, [NONE, 0, NONE]))),
    ("load-module-by-handle", |_| permitted(call(call::FINIT_MODULE, [NONE, NONE, 0]))),
    ("remove-module", |_| {
        let name = c("agentx_no_such_module");
        permitted(call(call::DELETE_MODULE, [at(&name), 0o4000]))
    }),
    ("load-kernel", |_| permitted(call(call::KEXEC_LOAD, [0, 99, 0, 0xffff]))),
    ("reboot", |_| permitted(call(call::REBOOT, [1, 2, 3, 0]))),
    ("accounting", |_| {
        let path = c("/agentx/no/such/file");
        permitted(call(call::ACCT, [at(&path)]))
    }),
    ("swap", |_| {
        let path = c("/agentx/no/such/file");
        permitted(call(call::SWAPON, [at(&path), 0]))
    }),
    ("kernel-log", |_| done(call(call::SYSLOG, [10, 0, 0]))),
    ("kernel-log-device", |_| open("/dev/kmsg", false)),
    ("kernel-setting", |_| rewrite("/proc/sys/kernel/randomize_va_space")),
    ("core-pattern", |_| rewrite("/proc/sys/kernel/core_pattern")),
    ("own-host-name-setting", |_| rewrite("/proc/sys/kernel/domainname")),
    ("network-setting", |_| rewrite("/proc/sys/net/ipv4/ip_forward")),
    ("system-request", |_| open("/proc/sysrq-trigger", true)),
    ("system-file", |_| open("/sys/kernel/uevent_helper", true).or_else(|_| open("/sys/power/state", true))),
    ("control-group", |t| {
        let base =
            ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].into_iter().find(|path| fs::metadata(path).is_ok());
        let path = format!("{}/{}", base.ok_or(Errno::NOTHING)?, t.name);
        fs::create_dir(&path)?;
        done(fs::remove_dir(&path).map_err(Errno::from))
    }),
    ("virtual-machines", |_| open("/dev/kvm", true)),
    ("user-file-systems", |_| open("/dev/fuse", true)),
    ("loop-devices", |_| open("/dev/loop-control", true)),
    ("memory-device", |_| open("/dev/mem", false)),
    ("ports-device", |_| open("/dev/port", false)),
    ("console", |_| open("/dev/console", true)),
    #[cfg(target_arch = "x86_64")]
    ("descriptor-tables", |_| {
        let mut table = [0_u8; 64];
        done(call(154, [0, table.as_mut_ptr() as usize, table.len()]))
    }),
    #[cfg(target_arch = "x86_64")]
    ("port-rights", |_| done(call(172, [3]))),
    #[cfg(target_arch = "x86_64")]
    ("other-architecture", |_| done(call::process_id_32())),
    #[cfg(target_arch = "x86_64")]
    ("other-numbers", |_| done(call(0x4000_0000 + 39, []))),
];

/// A process like any other but for these namespaces.
fn clone(flags: usize) -> Outcome {
    ended(call(call::CLONE, [flags | SIGCHLD, 0, 0, 0, 0])?)
}

fn ended(child: usize) -> Outcome {
    if child == 0 {
        call::exit(0);
    }
    done(call::wait(i32::try_from(child).unwrap_or(-1)))
}

/// In mounts of its own where those can be had, so that nothing stays mounted where it succeeds.
fn private(attempt: impl FnOnce() -> Outcome) -> Outcome {
    const MS_REC: usize = 0x4000;
    const MS_PRIVATE: usize = 1 << 18;
    if call(call::UNSHARE, [NEWNS]).is_ok() {
        let root = c("/");
        call(call::MOUNT, [0, at(&root), 0, MS_REC | MS_PRIVATE, 0])?;
    }
    attempt()
}

fn private_uts(attempt: impl FnOnce() -> Outcome) -> Outcome {
    // An error leaves the host's, which a confined process can't name.
    call(call::UNSHARE, [NEWUTS])?;
    attempt()
}

fn place() -> Result<std::ffi::CString, Errno> {
    match fs::create_dir("place") {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(c("place")),
    }
}

fn join(path: &str) -> Outcome {
    let namespace = fs::File::open(path)?;
    done(call(call::SETNS, [raw(&namespace), 0]))
}

fn open(path: &str, write: bool) -> Outcome {
    done(fs::File::options().read(!write).write(write).open(path).map_err(Errno::from))
}

/// Writes what is there.
fn rewrite(path: &str) -> Outcome {
    let text = fs::read(path)?;
    done(fs::write(path, text).map_err(Errno::from))
}
