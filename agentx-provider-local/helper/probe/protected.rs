//! Paths that stay as they are inside the root, which is the working directory.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::{
    Attempt, Outcome,
    call::{self, Errno, at, c, call},
    done,
};

const AT_FDCWD: usize = (-100_isize) as usize;
const RC: &str = ".bashrc";
const HOOKS: &str = ".git/hooks";
const HOOK: &str = ".git/hooks/pre-commit";
const CONFIG: &str = ".git/config";

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("overwrite-rc", |_| again(|| done(fs::write(RC, "attacked").map_err(Errno::from)))),
    ("append-rc", |_| {
        again(|| {
            let mut file = OpenOptions::new().append(true).open(RC)?;
            done(file.write_all(b"attacked").map_err(Errno::from))
        })
    }),
    ("remove-rc", |_| again(|| done(fs::remove_file(RC).map_err(Errno::from)))),
    ("move-rc", |_| again(|| done(fs::rename(RC, "rc-moved").map_err(Errno::from)))),
    ("replace-rc", |_| {
        again(|| {
            fs::write("rc-new", "attacked")?;
            done(fs::rename("rc-new", RC).map_err(Errno::from))
        })
    }),
    ("swap-rc", |_| {
        again(|| {
            fs::write("rc-swap", "attacked")?;
            let (from, to) = (c("rc-swap"), c(RC));
            done(call(call::RENAMEAT2, [AT_FDCWD, at(&from), AT_FDCWD, at(&to), 2]))
        })
    }),
    ("write-rc-by-hard-link", |_| {
        again(|| {
            fs::hard_link(RC, "rc-hard")?;
            done(fs::write("rc-hard", "attacked").map_err(Errno::from))
        })
    }),
    ("write-rc-by-symlink", |_| {
        again(|| {
            symlink(RC, "rc-link")?;
            done(fs::write("rc-link", "attacked").map_err(Errno::from))
        })
    }),
    ("make-rc-executable", |_| {
        again(|| done(fs::set_permissions(RC, fs::Permissions::from_mode(0o777)).map_err(Errno::from)))
    }),
    ("add-hook", |_| again(|| done(File::create(".git/hooks/post-checkout").map_err(Errno::from)))),
    ("overwrite-hook", |_| again(|| done(fs::write(HOOK, "attacked").map_err(Errno::from)))),
    ("move-hooks", |_| again(|| done(fs::rename(HOOKS, "hooks-moved").map_err(Errno::from)))),
    ("replace-hooks-by-symlink", |_| {
        again(|| {
            fs::rename(HOOKS, "hooks-away")?;
            done(symlink("../evil", HOOKS).map_err(Errno::from))
        })
    }),
    ("replace-git", |_| {
        again(|| {
            fs::rename(".git", "git-moved")?;
            done(fs::create_dir_all(HOOKS).map_err(Errno::from))
        })
    }),
    ("swap-git", |_| {
        again(|| {
            fs::create_dir_all("git-new/hooks")?;
            let (from, to) = (c("git-new"), c(".git"));
            done(call(call::RENAMEAT2, [AT_FDCWD, at(&from), AT_FDCWD, at(&to), 2]))
        })
    }),
    ("remove-git", |_| again(|| done(fs::remove_dir_all(".git").map_err(Errno::from)))),
    ("overwrite-git-config", |_| again(|| done(fs::write(CONFIG, "[core]\n").map_err(Errno::from)))),
    ("replace-git-config", |_| {
        again(|| {
            fs::write("config-new", "[core]\n")?;
            done(fs::rename("config-new", CONFIG).map_err(Errno::from))
        })
    }),
    ("unmount-rc", |_| {
        again(|| {
            let path = c(RC);
            done(call(call::UMOUNT2, [at(&path), 2]))
        })
    }),
];

/// Makes the attempt on things that are there and whole, as far as they can be made so.
fn again(attempt: impl FnOnce() -> Outcome) -> Outcome {
    for name in ["rc-moved", "rc-new", "rc-swap", "rc-hard", "rc-link", "config-new"] {
        let _ = fs::remove_file(name);
    }
    for name in ["hooks-moved", "hooks-away", "git-moved", "git-new"] {
        let _ = fs::remove_dir_all(name);
    }
    let _ = fs::create_dir_all(HOOKS);
    for (path, text) in [(RC, "# rc\n"), (HOOK, "# hook\n"), (CONFIG, "# config\n")] {
        let _ = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map(|mut file| file.write_all(text.as_bytes()));
    }
    attempt()
}
