use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentx_resource::{FileKind, Metadata, ResourcePath, StatOptions, Version};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, futimens, readlinkat},
    time::{ClockId, clock_gettime},
};

use super::{Done, Fault, resolve::Root};

/// What `stat` tells of an entry.
pub(super) fn describe(stat: &Stat) -> Metadata {
    let kind = kind(FileType::from_raw_mode(stat.st_mode));
    let mut metadata = match kind {
        FileKind::File => Metadata::file(size(stat)).with_version(version(stat)),
        kind => Metadata::of(kind),
    };
    metadata.modified = modified(stat);
    metadata.mode = Some(stat.st_mode & 0o777);
    metadata
}

pub(super) fn kind(of: FileType) -> FileKind {
    match of {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// The size of a file, in bytes.
pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The permission bits. The bits that change a user (setuid and the like) are left out on purpose: new content does
/// not inherit them.
pub(super) fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o777)
}

/// What tells one entry from all others on this host while it exists.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// A file's version: inode, size and both times of change, to the nanosecond.
///
/// Each write through AgentX makes a new inode and [`stamp`]s it, so that no two of them share a version even where an
/// inode number is used again at once. Whoever changes content in place and hides that by setting the time back is
/// still seen by the second time, which can't be set.
pub(super) fn version(stat: &Stat) -> Version {
    let modified = nanoseconds(stat.st_mtime, stat.st_mtime_nsec);
    let changed = nanoseconds(stat.st_ctime, stat.st_ctime_nsec);
    let token = hex([stat.st_ino, stat.st_size.cast_unsigned(), modified, changed]);
    Version::new(str::from_utf8(&token).unwrap_or_default())
}

/// Numbers of 16 digits with a dash between: by hand, since each entry of a listing has such a token.
fn hex(numbers: [u64; 4]) -> [u8; 67] {
    let mut text = [b'-'; 67];
    for (place, number) in text.chunks_mut(17).zip(numbers) {
        let (high, low) = (digits(number >> 32), digits(number & 0xFFFF_FFFF));
        for (digit, value) in place.iter_mut().zip(high.into_iter().chain(low)) {
            *digit = value;
        }
    }
    text
}

/// The eight digits of a number of 32 bits, all of them at once.
fn digits(number: u64) -> [u8; 8] {
    // Each half of a byte moves into a byte of its own.
    let spread = (number | number << 16) & 0x0000_FFFF_0000_FFFF;
    let spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    let spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    // Those above 9 are letters.
    let letters = (spread + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    let text = spread + u64::from(b'0') * 0x0101_0101_0101_0101 + letters * u64::from(b'a' - b'0' - 10);
    text.to_be_bytes()
}

/// Dates a file's content to the nanosecond; the kernel's own stamp may be the same for several milliseconds.
pub(super) fn stamp(file: impl AsFd) -> Done<()> {
    let now = clock_gettime(ClockId::Realtime);
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Ok(futimens(file, &Timestamps { last_access: keep, last_modification: now })?)
}

/// `stat` without a wait where the host has the answer in memory, else `None`.
pub(super) fn stat_cached(root: &Root, path: &ResourcePath, options: &StatOptions) -> Option<Done<Metadata>> {
    let opened = root.open_cached(path.relative().as_bytes(), flags(options))?;
    Some(opened.map_err(Fault::of_lookup).and_then(|fd| stat_fd(&fd)))
}

/// `stat`.
pub(super) fn stat(root: &Root, path: &ResourcePath, options: &StatOptions) -> Done<Metadata> {
    stat_fd(&root.open(path.relative().as_bytes(), flags(options)).map_err(Fault::of_lookup)?)
}

fn flags(options: &StatOptions) -> OFlags {
    if options.follow { OFlags::PATH } else { OFlags::PATH | OFlags::NOFOLLOW }
}

fn stat_fd(fd: &OwnedFd) -> Done<Metadata> {
    let mut metadata = describe(&fstat(fd)?);
    if metadata.kind == FileKind::Symlink {
        metadata.link_target = readlinkat(fd, "", Vec::new())?.into_string().ok();
    }
    Ok(metadata)
}

fn modified(stat: &Stat) -> Option<SystemTime> {
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    match u64::try_from(stat.st_mtime) {
        Ok(seconds) => UNIX_EPOCH.checked_add(Duration::from_secs(seconds) + nanos),
        Err(_) => {
            UNIX_EPOCH.checked_sub(Duration::from_secs(stat.st_mtime.unsigned_abs()))?.checked_add(nanos)
        }
    }
}

fn nanoseconds(seconds: i64, nanos: u64) -> u64 {
    // Wraps in the year 2554, which keeps the token as distinct as it was.
    seconds.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_differ_with_each_part() {
        let file = tempfile();
        let base = fstat(&file).unwrap();
        let mut tokens = vec![version(&base)];
        for change in [
            |stat: &mut Stat| stat.st_ino += 1,
            |stat: &mut Stat| stat.st_size += 1,
            |stat: &mut Stat| stat.st_mtime_nsec += 1,
            |stat: &mut Stat| stat.st_ctime_nsec += 1,
        ] {
            let mut stat = base;
            change(&mut stat);
            let token = version(&stat);
            assert!(!tokens.contains(&token), "{token}");
            tokens.push(token);
        }
    }

    #[test]
    fn a_token_is_hexadecimal() {
        let text = hex([0x0123_4567_89ab_cdef, u64::MAX, 0, 10]);
        let expected = "0123456789abcdef-ffffffffffffffff-0000000000000000-000000000000000a";
        assert_eq!(str::from_utf8(&text).unwrap(), expected);
    }

    #[test]
    fn a_time_before_1970_is_told() {
        let mut stat = fstat(tempfile()).unwrap();
        stat.st_mtime = -2;
        stat.st_mtime_nsec = 500_000_000;
        assert_eq!(modified(&stat), Some(UNIX_EPOCH - Duration::from_millis(1500)));
    }

    fn tempfile() -> OwnedFd {
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        rustix::fs::open(std::env::temp_dir(), flags, Mode::from_raw_mode(0o600)).unwrap()
    }
}
