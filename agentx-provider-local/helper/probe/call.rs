//! System calls, by number.
#![expect(unsafe_code, reason = "makes system calls")]

use std::{
    ffi::CString,
    fmt, io,
    os::fd::{FromRawFd, OwnedFd},
};

/// Why an attempt got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// It went through and gave nothing.
    pub(crate) const NOTHING: Self = Self(61);
    pub(crate) const EPERM: Self = Self(1);
    pub(crate) const EINVAL: Self = Self(22);

    /// The kernel refuses who asks, or does not know what is asked.
    pub(crate) fn is_refusal(self) -> bool {
        // EPERM, ENOENT does not count, EACCES, EROFS, ENOSYS, EAFNOSUPPORT.
        [1, 13, 30, 38, 97].contains(&self.0)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(Self::NOTHING.0))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}

/// Of the C library.
mod libc {
    unsafe extern "C" {
        pub(super) fn syscall(number: std::ffi::c_long, ...) -> std::ffi::c_long;
        pub(super) fn fork() -> i32;
        pub(super) fn _exit(code: i32) -> !;
        pub(super) fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
        pub(super) fn alarm(seconds: u32) -> u32;
        pub(super) fn pipe2(fds: *mut i32, flags: i32) -> i32;
    }
}

/// A system call. Addresses are passed as numbers, and must be those of what lives through the call.
pub(crate) fn call<const N: usize>(number: isize, args: [usize; N]) -> Result<usize, Errno> {
    let mut all = [0; 6];
    for (place, arg) in all.iter_mut().zip(args) {
        *place = arg;
    }
    // SAFETY: each caller in this module passes what the call expects; and each call is made in a process that was
    // forked for it and ends after it, so that a mistake is nobody else's.
    let result =
        unsafe { libc::syscall(number as std::ffi::c_long, all[0], all[1], all[2], all[3], all[4], all[5]) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error().into())
}

pub(crate) fn fork() -> Result<i32, Errno> {
    // SAFETY: the probe has one thread.
    match unsafe { libc::fork() } {
        pid if pid < 0 => Err(io::Error::last_os_error().into()),
        pid => Ok(pid),
    }
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes a number.
    unsafe { libc::_exit(code) }
}

pub(crate) fn wait(pid: i32) -> Result<i32, Errno> {
    let mut status = 0;
    // SAFETY: the status lives through the call.
    match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
        waited if waited < 0 => Err(io::Error::last_os_error().into()),
        _ => Ok(status),
    }
}

pub(crate) fn alarm(seconds: usize) {
    // SAFETY: takes a number.
    unsafe { libc::alarm(u32::try_from(seconds).unwrap_or(u32::MAX)) };
}

pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    const O_CLOEXEC: i32 = 0o2_000_000;
    let mut fds = [0; 2];
    // SAFETY: there is room for two.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error().into());
    }
    let [reader, writer] = fds.map(|fd| own(fd as usize));
    Ok((reader, writer))
}

/// A descriptor that the kernel has given, as an owned one.
pub(crate) fn own(fd: usize) -> OwnedFd {
    // SAFETY: nobody else has it, or this process is about to end.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(i32::MAX)) }
}

/// What is at an address.
pub(crate) fn read_at(address: usize, length: usize) -> Vec<u8> {
    // SAFETY: the kernel has just mapped a page there.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance(address), length) }.to_vec()
}

/// Puts bytes at an address.
pub(crate) fn write_at(address: usize, bytes: &[u8]) {
    // SAFETY: the kernel has just mapped a page there, for this process to write.
    let page = unsafe {
        std::slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(address), bytes.len())
    };
    page.copy_from_slice(bytes);
}

/// The number of this process, asked for as a 32-bit program does.
#[cfg(target_arch = "x86_64")]
pub(crate) fn process_id_32() -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: `getpid` takes nothing.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_isize => result) };
    usize::try_from(result).map_err(|_| Errno(i32::try_from(-result).unwrap_or(38)))
}

/// A path as C has it.
pub(crate) fn c(path: &str) -> CString {
    CString::new(path).unwrap_or_default()
}

pub(crate) fn at(text: &CString) -> usize {
    text.as_ptr() as usize
}

/// The number of a call that is one of two by architecture.
macro_rules! numbers {
    ($($name:ident $x86_64:literal $aarch64:literal)*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            pub(crate) const $name: isize = $x86_64;
            #[cfg(target_arch = "aarch64")]
            pub(crate) const $name: isize = $aarch64;
        )*
    };
}

numbers! {
    ACCT 163 89
    ADD_KEY 248 217
    BPF 321 280
    CHROOT 161 51
    CLONE 56 220
    CLONE3 435 435
    DELETE_MODULE 176 106
    EXECVEAT 322 281
    FANOTIFY_INIT 300 262
    FINIT_MODULE 313 273
    FSOPEN 430 430
    FSETXATTR 190 7
    INIT_MODULE 175 105
    INOTIFY_ADD_WATCH 254 27
    INOTIFY_INIT1 294 26
    IOCTL 16 29
    IO_URING_SETUP 425 425
    KCMP 312 272
    KEXEC_LOAD 246 104
    KEYCTL 250 219
    KILL 62 129
    MEMFD_CREATE 319 279
    MKNODAT 259 33
    MOUNT 165 40
    MOUNT_SETATTR 442 442
    NAME_TO_HANDLE_AT 303 264
    OPEN_BY_HANDLE_AT 304 265
    OPEN_TREE 428 428
    PERF_EVENT_OPEN 298 241
    PIDFD_GETFD 438 438
    PIDFD_OPEN 434 434
    PIDFD_SEND_SIGNAL 424 424
    PIVOT_ROOT 155 41
    PRCTL 157 167
    PRLIMIT64 302 261
    PROCESS_VM_READV 310 270
    PROCESS_VM_WRITEV 311 271
    PTRACE 101 117
    REBOOT 169 142
    RENAMEAT2 316 276
    SCHED_SETSCHEDULER 144 119
    SETGROUPS 116 159
    SETHOSTNAME 170 161
    SETNS 308 268
    SETPRIORITY 141 140
    SETRESUID 117 147
    SETSID 112 157
    SHMAT 30 196
    SHMGET 29 194
    SOCKET 41 198
    SWAPON 167 224
    SYSLOG 103 116
    UMOUNT2 166 39
    UNSHARE 272 97
    USERFAULTFD 323 282
}
