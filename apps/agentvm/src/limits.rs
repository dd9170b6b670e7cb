//! How much this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files, sockets among them, a server wants to be able to have open. More would only make slow what each program
/// does that closes all of its files.
const FILES: u64 = 65_536;

/// How many connections may be open that are no sockets, however many files there may be.
const ASKING: usize = 8_192;

/// How many sockets and streams.
const SOCKETS: usize = 20_000;

/// How many files this process may have open, and how many it could be given; none without a limit.
pub(crate) fn files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// Lets this process have as many files open as it may, up to what a server wants.
pub(crate) fn raise() {
    let (current, maximum) = files();
    let wanted = maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if current.is_some_and(|current| current < wanted) {
        let limit = Rlimit { current: Some(wanted), maximum };
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files can't be raised");
        }
    }
}

/// How many connections may be open that are no sockets, and how many sockets and streams may: half of the files that this
/// process may have is for neither, but for what agents do.
pub(crate) fn connections() -> (usize, usize) {
    let files = files().0.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    ((files / 8).clamp(1, ASKING), (files / 8 * 3).clamp(1, SOCKETS))
}
