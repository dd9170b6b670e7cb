//! One system call: its number, its arguments and what the kernel answers. It touches neither `errno` nor anything else
//! of the C library, so that children can make it that share this program's memory.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a system call takes and gives whole registers"
)]

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) const ENOENT: Self = Self(2);
    pub(crate) const ESRCH: Self = Self(3);
    pub(crate) const EINTR: Self = Self(4);
    pub(crate) const ECHILD: Self = Self(10);
    pub(crate) const EACCES: Self = Self(13);
    pub(crate) const ENOTDIR: Self = Self(20);
    pub(crate) const EBUSY: Self = Self(16);
    pub(crate) const EAGAIN: Self = Self(11);
    pub(crate) const ENODEV: Self = Self(19);
    pub(crate) const EINVAL: Self = Self(22);
    pub(crate) const EEXIST: Self = Self(17);
    pub(crate) const ENOSYS: Self = Self(38);
    pub(crate) const EPROTO: Self = Self(71);
    pub(crate) const EOPNOTSUPP: Self = Self(95);
    pub(crate) const ESTALE: Self = Self(116);
    pub(crate) const ETIMEDOUT: Self = Self(110);
}

pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// One system call.
///
/// # Safety
/// The arguments must be what the call expects: every pointer valid for what the kernel reads or writes there.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn call(number: usize, args: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the clobbers are those of the calling convention.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    told(result)
}

/// One system call.
///
/// # Safety
/// The arguments must be what the call expects: every pointer valid for what the kernel reads or writes there.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn call(number: usize, args: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the clobbers are those of the calling convention.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number, inlateout("x0") args[0] => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    told(result)
}

fn told(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

macro_rules! numbers {
    ($($name:ident $x86_64:literal $aarch64:literal)*) => {
        pub(crate) mod number {
            $(
                #[cfg(target_arch = "x86_64")]
                pub(crate) const $name: usize = $x86_64;
                #[cfg(target_arch = "aarch64")]
                pub(crate) const $name: usize = $aarch64;
            )*
        }
    };
}

numbers! {
    READ 0 63
    WRITE 1 64
    CLOSE 3 57
    IOCTL 16 29
    DUP3 292 24
    EXECVE 59 221
    FACCESSAT 269 48
    GETPPID 110 173
    PRLIMIT64 302 261
    RT_SIGPROCMASK 14 135
    SETPGID 109 154
    SETSID 112 157
    SOCKET 41 198
    BIND 49 200
    LISTEN 50 201
    RECVFROM 45 207
    SENDMSG 46 211
    EXIT 60 93
    WAIT4 61 260
    WAITID 247 95
    KILL 62 129
    FCHDIR 81 50
    RT_SIGACTION 13 134
    CAPSET 126 91
    PIVOT_ROOT 155 41
    PRCTL 157 167
    UMOUNT2 166 39
    SETHOSTNAME 170 161
    FUTEX 202 98
    SHMCTL 31 195
    SEMCTL 66 191
    MSGCTL 71 187
    GETDENTS64 217 61
    FLISTXATTR 196 13
    OPENAT 257 56
    MKDIRAT 258 34
    NEWFSTATAT 262 79
    SYMLINKAT 266 36
    UNSHARE 272 97
    SETNS 308 268
    SECCOMP 317 277
    OPEN_TREE 428 428
    MOVE_MOUNT 429 429
    FSOPEN 430 430
    FSCONFIG 431 431
    FSMOUNT 432 432
    CLOSE_RANGE 436 436
    OPENAT2 437 437
    MOUNT_SETATTR 442 442
    LANDLOCK_CREATE_RULESET 444 444
    LANDLOCK_ADD_RULE 445 445
    LANDLOCK_RESTRICT_SELF 446 446
}
