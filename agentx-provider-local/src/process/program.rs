use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, FileType, accessat, statat},
    io::Errno,
};

use super::environment::Variables;

/// Why a program could not be run, as a shell tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such program.
    NotFound,
    /// It is there, and can't be executed.
    NotExecutable(Errno),
}

impl Refusal {
    /// The refusal that an error of starting a program means; none for what says nothing about the program.
    pub(super) fn of(errno: Errno) -> Option<Self> {
        match errno {
            Errno::NOENT => Some(Self::NotFound),
            Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP => {
                Some(Self::NotExecutable(errno))
            }
            Errno::TXTBSY | Errno::NAMETOOLONG | Errno::LIBBAD => Some(Self::NotExecutable(errno)),
            _ => None,
        }
    }

    pub(super) fn code(self) -> i32 {
        match self {
            Self::NotFound => 127,
            Self::NotExecutable(_) => 126,
        }
    }

    /// The line that the command's standard error gets.
    pub(super) fn message(self, program: &str) -> String {
        match self {
            Self::NotFound if program.contains('/') => format!("{program}: No such file or directory\n"),
            Self::NotFound => format!("{program}: command not found\n"),
            Self::NotExecutable(errno) => {
                let text = std::io::Error::from(errno).to_string();
                let text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text);
                format!("{program}: {text}\n")
            }
        }
    }
}

/// Finds a program as the command itself would: in its own `PATH`, from its own working directory. The standard
/// library's lookup uses the host's, or forks the whole host for it.
pub(super) fn find(program: &str, variables: &Variables, cwd: impl AsFd) -> Result<PathBuf, Refusal> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let mut refusal = Refusal::NotFound;
    for directory in variables.search_path() {
        let file = directory.join(program);
        if is_executable(&cwd, &file) {
            return Ok(file);
        }
        if is_file(&cwd, &file) {
            refusal = Refusal::NotExecutable(Errno::ACCESS);
        }
    }
    Err(refusal)
}

/// Where a program may be that the command itself is to find.
pub(super) fn candidates(program: &str, variables: &Variables) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![program.into()];
    }
    variables.search_path().map(|directory| directory.join(program)).collect()
}

pub(super) fn is_executable(cwd: impl AsFd, file: &Path) -> bool {
    is_file(&cwd, file) && accessat(&cwd, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

fn is_file(cwd: impl AsFd, file: &Path) -> bool {
    let stat = statat(cwd, file, AtFlags::empty());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_as_a_shell_says_it() {
        assert_eq!(Refusal::NotFound.message("nope"), "nope: command not found\n");
        assert_eq!(Refusal::NotFound.message("./nope"), "./nope: No such file or directory\n");
        let denied = Refusal::of(Errno::ACCESS).unwrap();
        assert_eq!((denied.code(), denied.message("x").as_str()), (126, "x: Permission denied\n"));
        assert_eq!(Refusal::of(Errno::TOOBIG), None);
        assert_eq!(Refusal::of(Errno::MFILE), None);
    }
}
