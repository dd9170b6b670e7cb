//! How much this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files, sockets among them, a server wants to be able to have open. More would only make slow what each program
/// does that closes all of its files.
const FILES: u64 = 65_536;

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
