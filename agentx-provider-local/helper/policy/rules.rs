//! Landlock.

use super::{
    Failure,
    plan::Landlock,
    sys::{self, Errno, Fd},
};

/// The rights that a rule about a file can give: execute, write, read, truncate, control a device.
const OF_A_FILE: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;
const IS_DIRECTORY: u32 = 0o040_000;

/// The ruleset of a plan, over places as they are seen now.
pub(crate) fn ruleset(landlock: &Landlock) -> Result<Fd, Failure> {
    let version = sys::landlock_version().map_err(Failure::of("find Landlock"))?;
    if version < landlock.least {
        let step = format!("find Landlock of version {} or later; it is {version}", landlock.least);
        return Err(Failure { step, errno: Errno::ENOSYS });
    }
    let known = known(version);
    let ruleset = sys::ruleset(landlock.files & known, 0, landlock.scopes, if version < 6 { 8 } else { 24 })
        .map_err(Failure::of("make a Landlock ruleset"))?;
    for (path, access) in &landlock.rules {
        let allow = || {
            let place = sys::open(sys::AT_FDCWD, path, sys::O_PATH, 0)?;
            let (_, _, mode) = sys::identity(place.raw())?;
            let access = if mode & 0o170_000 == IS_DIRECTORY { *access } else { access & OF_A_FILE };
            let access = access & known;
            sys::allow_beneath(ruleset.raw(), place.raw(), access)
        };
        allow().map_err(Failure::at("allow", path))?;
    }
    Ok(ruleset)
}

/// The rights to files that a version of Landlock knows.
fn known(version: u32) -> u64 {
    let bits = match version {
        0 | 1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}
