use std::sync::Arc;

use agentx_resource::{FileSystem, ResourcePath, memory::MemoryFileSystem};
use futures::FutureExt;

use super::{Growth, Plant};

/// Where whoever plants links sees the root.
const SEEN_AT: &str = "/workspace";

/// An empty file system in memory with links and permission bits, and its plant: the specification of the suite.
pub fn memory() -> (Arc<dyn FileSystem>, Arc<dyn Plant>) {
    let fs = MemoryFileSystem::new().with_symlinks(SEEN_AT).with_mode_bits();
    (Arc::new(fs.clone()), Arc::new(MemoryPlant::new(fs)))
}

/// Plants in a [`MemoryFileSystem`].
#[derive(Clone, Debug)]
pub struct MemoryPlant {
    fs: MemoryFileSystem,
}

impl MemoryPlant {
    /// In this one, with the links and permission bits that it declares. Its root is seen at `/workspace`.
    pub fn new(fs: MemoryFileSystem) -> Self {
        Self { fs }
    }
}

/// Whether it is done; a capability that is missing is no error.
fn planted(done: agentx_resource::Result<()>) -> Growth {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == agentx_resource::ErrorKind::Unsupported => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Plant for MemoryPlant {
    fn symlink(&self, target: &str, at: &ResourcePath) -> Growth {
        planted(self.fs.symlink(target, at))
    }

    /// In memory a second name is a copy: no write is in place.
    fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth {
        let copied = self.fs.copy(existing, at, agentx_resource::TransferOptions::create_new());
        planted(copied.now_or_never().ok_or("in memory a copy is done at once")?)
    }

    fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth {
        planted(self.fs.set_mode(at, bits))
    }

    fn special(&self, at: &ResourcePath) -> Growth {
        planted(self.fs.special(at))
    }

    fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth {
        planted(self.fs.unaddressable(directory, content.to_owned()))
    }

    fn absolute(&self, path: &ResourcePath) -> String {
        format!("{SEEN_AT}{}", path.as_str().trim_end_matches('/'))
    }

    fn outside(&self) -> Vec<String> {
        ["../out", "/out", "./../workspace/../out"].map(str::to_owned).to_vec()
    }

    /// There is nothing outside.
    fn touched(&self) -> Option<String> {
        None
    }

    fn is_privileged(&self) -> bool {
        false
    }
}

/// Nothing is left out of what the suite asks for.
#[cfg(test)]
mod tests {
    use super::*;

    crate::planted_suite!(planted, || async {
        let (files, plant) = memory();
        crate::Fresh::planted(files, plant)
    });
}
