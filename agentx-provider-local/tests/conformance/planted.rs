use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx_conformance::{
    Fresh,
    planted::{Growth, Plant, Planted},
};
use agentx_provider_local::{LocalFileSystem, Resolution};
use agentx_resource::{ResourcePath, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::leftovers;

const SECRET: &str = "not for the agent";

agentx_conformance::planted_suite!(kernel, || async { world(Resolution::Kernel) });
agentx_conformance::planted_suite!(walked, || async { world(Resolution::Walk) });

/// A root `in` beside a directory `out`, which holds `secret`.
pub(crate) fn world(resolution: Resolution) -> Result<Fresh<Planted>> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["in", "out"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("out/secret"), SECRET).unwrap();
    let files = LocalFileSystem::open_with(dir.path().join("in"), resolution)?;
    let plant = HostPlant { dir: fs::canonicalize(dir.path()).unwrap() };
    let planted = Fresh::planted(Arc::new(files), Arc::new(plant));
    Ok(planted.with_check(leftovers::check(dir.path())).with_guard(Opened(dir)))
}

/// What a command of this machine can do.
#[derive(Debug)]
struct HostPlant {
    dir: PathBuf,
}

impl HostPlant {
    fn host(&self, path: &ResourcePath) -> PathBuf {
        self.dir.join("in").join(path.relative())
    }
}

impl Plant for HostPlant {
    fn symlink(&self, target: &str, at: &ResourcePath) -> Growth {
        symlink(target, self.host(at))?;
        Ok(true)
    }

    fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth {
        fs::hard_link(self.host(existing), self.host(at))?;
        Ok(true)
    }

    fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth {
        fs::set_permissions(self.host(at), fs::Permissions::from_mode(bits))?;
        Ok(true)
    }

    fn special(&self, at: &ResourcePath) -> Growth {
        mknodat(CWD, self.host(at), FileType::Fifo, Mode::RWXU, 0)?;
        Ok(true)
    }

    fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth {
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        fs::write(self.host(directory).join(name), content)?;
        Ok(true)
    }

    fn absolute(&self, path: &ResourcePath) -> String {
        let root = self.dir.join("in").display().to_string();
        if path.is_root() { root } else { format!("{root}{path}") }
    }

    fn outside(&self) -> Vec<String> {
        let out = self.dir.join("out").display().to_string();
        let by_proc = format!("/proc/self/root{out}");
        vec!["../out".to_owned(), out, by_proc, "../in/../out".to_owned()]
    }

    fn touched(&self) -> Option<String> {
        let out = self.dir.join("out");
        let names: Vec<_> =
            fs::read_dir(&out).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        if names != ["secret"] {
            return Some(format!("there is {names:?}"));
        }
        let content = fs::read_to_string(out.join("secret")).unwrap_or_default();
        (content != SECRET).then_some(content)
    }

    fn is_privileged(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}

/// Opens what a case has sealed and left so when it failed, so that the directory can be removed.
struct Opened(TempDir);

impl Drop for Opened {
    fn drop(&mut self) {
        open(self.0.path());
    }
}

fn open(dir: &Path) {
    if fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir()) {
        let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
        fs::read_dir(dir).into_iter().flatten().flatten().for_each(|entry| open(&entry.path()));
    }
}
