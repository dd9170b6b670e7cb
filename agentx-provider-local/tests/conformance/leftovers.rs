//! What a case has left behind where it should have left nothing.

use std::{fs, path::Path};

/// Asks whether something is left of what went on in `dir`: a process that works there, an open file, an unfinished
/// write. The files that the case made are its own.
pub(crate) fn check(dir: &Path) -> impl Fn() -> Result<(), String> + Send + use<> {
    let dir = fs::canonicalize(dir).unwrap();
    move || {
        let mut left = processes(&dir);
        left.extend(open_files(&dir));
        left.extend(unfinished(&dir));
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    }
}

/// The processes whose working directory is there, whoever started them; this one is not among them.
fn processes(dir: &Path) -> Vec<String> {
    entries(Path::new("/proc"))
        .filter(|entry| {
            entry.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        })
        .filter(|entry| fs::read_link(entry.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)))
        .map(|entry| format!("the process {}", fs::read_to_string(entry.join("stat")).unwrap_or_default()))
        .collect()
}

/// What this process has open there, be it without a name or already removed.
fn open_files(dir: &Path) -> Vec<String> {
    entries(Path::new("/proc/self/fd"))
        .filter_map(|entry| fs::read_link(entry).ok())
        .filter(|target| target.starts_with(dir))
        .map(|target| format!("the open file {}", target.display()))
        .collect()
}

/// The names that are given to unfinished writes, which no listing shows.
fn unfinished(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in entries(dir) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.strip_prefix(".agentx-").is_some_and(|rest| rest.strip_suffix(".tmp").is_some()) {
            left.push(format!("the unfinished write {}", entry.display()));
        }
        if fs::symlink_metadata(&entry).is_ok_and(|found| found.is_dir()) {
            left.extend(unfinished(&entry));
        }
    }
    left
}

/// What is in a directory; nothing where it is gone meanwhile.
fn entries(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// A check that can't fail proves nothing.
mod each_kind_is_told {
    use std::process::{Command, Stdio};

    use super::*;

    fn told(dir: &Path) -> String {
        check(dir)().unwrap_err()
    }

    #[test]
    fn a_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        let mut child =
            command.arg("300").current_dir(dir.path()).stdin(Stdio::null()).spawn().expect("sleep is there");
        let left = told(dir.path());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(left.contains("the process ") && left.contains("sleep"), "{left}");
        check(dir.path())().unwrap();
    }

    #[test]
    fn an_open_file_also_one_that_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("f")).unwrap();
        fs::remove_file(dir.path().join("f")).unwrap();
        assert!(told(dir.path()).contains("the open file "));
        drop(file);
        check(dir.path())().unwrap();
    }

    #[test]
    fn an_unfinished_write() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/.agentx-0123456789abcdef.tmp"), "half").unwrap();
        assert!(told(dir.path()).contains("the unfinished write "));
    }

    /// What the check tells fails the case that left it.
    #[test]
    fn and_fails_its_case() {
        use agentx_conformance::{Case, Fresh, Profile, file_system};
        use agentx_provider_local::LocalFileSystem;

        let failure = Case::run(
            file_system::CASES,
            "stat_root",
            || async {
                let dir = tempfile::tempdir().unwrap();
                let fs = LocalFileSystem::open(dir.path())?;
                let left = fs::File::create(dir.path().join("f")).unwrap();
                Ok::<_, agentx_resource::Error>(
                    Fresh::file_system(fs).with_check(check(dir.path())).with_guard((left, dir)),
                )
            },
            &Profile::new(),
        );
        assert!(failure.unwrap_err().to_string().contains("stat-root: after the case: the open file "));
    }
}
