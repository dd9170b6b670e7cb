//! The place where an image's agent works: a directory of its own.

use std::{
    fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx::{
    ContainerId, Error, ImageId, Result,
    core::{Tool, WorkspaceProvider},
    local::{Isolation, LocalEnv, LocalFileSystem, LocalProcess},
    resource::{FileSystem, ResourcePath, TransferOptions},
    sandbox::{NodeRuntime, Sandbox},
};
use agentx_server::WorkspaceFiles;
use async_trait::async_trait;

use crate::{
    bounds::{self, Bounded, Bounds},
    disk::Place,
};

/// Directories by container and image, below one directory.
#[derive(Clone)]
pub(crate) struct Workspaces {
    root: PathBuf,
    /// Holds commands; none lets them do what the server's user may do.
    isolation: Option<Isolation>,
    bounds: Bounded,
}

impl Workspaces {
    pub(crate) fn new(root: PathBuf, isolation: Option<Isolation>, bounds: Bounds) -> Self {
        Self { bounds: Bounded::new(bounds, &root), root, isolation }
    }

    /// The place of the disk that is counted; none where nothing is.
    fn place(&self, container: &ContainerId, image: &ImageId) -> Option<Place> {
        self.bounds.place(container, self.path(container, image))
    }

    /// Removes what copies of workspaces have left that a crash cut off, and counts it; what can't be removed is logged, and
    /// left. Nobody else may be at work.
    pub(crate) async fn clear(&self) -> Result<usize> {
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || cut_off(&root)).await;
        let found = found.map_err(io::Error::other).flatten();
        let operation = "clear workspaces";
        let found = found
            .map_err(|error| Error::new(agentx::ErrorKind::Unavailable, operation).with_source(error))?;
        let mut count = 0;
        for container in found {
            let cleared =
                async { LocalFileSystem::open(&container)?.clear_unfinished(&ResourcePath::root()).await };
            match cleared.await {
                Ok(cleared) => count += cleared,
                Err(error) => {
                    let path = container.display();
                    tracing::warn!(%path, %error, "half a copy of a workspace is left, and can't be removed");
                }
            }
        }
        Ok(count)
    }

    /// Ids have no slash and are not made of dots alone: each is one name.
    fn path(&self, container: &ContainerId, image: &ImageId) -> PathBuf {
        self.root.join(container.as_str()).join(image.as_str())
    }

    fn create(&self, container: &ContainerId, image: &ImageId) -> Result<PathBuf> {
        let path = self.path(container, image);
        let made = match fs::create_dir_all(&path) {
            // The container's directory was empty, and removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(&path),
            made => made,
        };
        made.map_err(|error| failed("create workspace", image, error))?;
        Ok(path)
    }
}

/// The containers with something that may be half a copy: no image has such a name.
fn cut_off(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let containers = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        containers => containers?,
    };
    for container in containers {
        let container = container?;
        if !container.file_type()?.is_dir() {
            continue;
        }
        let path = container.path();
        match has_hidden(&path) {
            Ok(true) => found.push(path),
            Ok(false) => {}
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "whether half a copy of a workspace is left can't be seen");
            }
        }
    }
    Ok(found)
}

fn has_hidden(container: &Path) -> io::Result<bool> {
    for image in fs::read_dir(container)? {
        if image?.file_name().as_encoded_bytes().starts_with(b".") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The files of a workspace, which are counted where that is bounded.
fn counted(path: &Path, place: Option<&Place>) -> Result<Arc<dyn FileSystem>> {
    let files: Arc<dyn FileSystem> = Arc::new(LocalFileSystem::open(path)?);
    Ok(match place {
        Some(place) => place.files(files),
        None => files,
    })
}

fn failed(operation: &'static str, image: &ImageId, error: io::Error) -> Error {
    Error::new(agentx::ErrorKind::Unavailable, operation).with_path(image).with_source(error)
}

impl fmt::Debug for Workspaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspaces").field("root", &self.root).finish_non_exhaustive()
    }
}

#[async_trait]
impl WorkspaceProvider for Workspaces {
    async fn open(&self, container: &ContainerId, image: &ImageId) -> Result<Vec<Arc<dyn Tool>>> {
        let path = self.create(container, image)?;
        let (place, group) = (self.place(container, image), self.bounds.group(container).await?);
        let mut process = LocalProcess::new(&path)?;
        if let Some(isolation) = bounds::held(self.isolation.as_ref(), group.as_deref()) {
            process = process.with_isolation(isolation)?;
        }
        let files = counted(&path, place.as_ref())?;
        let process = self.bounds.process(Arc::new(process), group, place);
        Ok(Sandbox::new(NodeRuntime::new(files, Arc::new(LocalEnv::new()), process)).tools())
    }

    async fn fork(&self, container: &ContainerId, from: &ImageId, to: &ImageId) -> Result<()> {
        let at = |image: &ImageId| ResourcePath::new(format!("/{image}"));
        self.create(container, from)?;
        // It follows no link out of the container, whatever an agent does meanwhile.
        let files = LocalFileSystem::open(self.root.join(container.as_str()))?;
        let (source, copy) = (at(from)?, at(to)?);
        let copied = files.copy(&source, &copy, TransferOptions::create_new());
        match self.place(container, from).zip(self.place(container, to)) {
            Some((from, to)) => to.copied(&from, copied).await,
            None => copied.await,
        }
    }

    async fn delete(&self, container: &ContainerId, image: &ImageId) -> Result<()> {
        match fs::remove_dir_all(self.path(container, image)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("delete workspace", image, error));
            }
            _ => {}
        }
        if let Some(place) = self.place(container, image) {
            place.forget();
        }
        // Where that was the last of the container's, so that not even its name is left.
        match fs::remove_dir(self.root.join(container.as_str())) {
            Err(error) if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
                Err(failed("delete workspace", image, error))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl WorkspaceFiles for Workspaces {
    async fn files(&self, container: &ContainerId, image: &ImageId) -> Result<Arc<dyn FileSystem>> {
        counted(&self.create(container, image)?, self.place(container, image).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_fork_has_all_files_and_no_more_than_those() {
        let root = tempfile::tempdir().unwrap();
        let workspaces = Workspaces::new(root.path().to_owned(), None, Bounds::default());
        let alice = ContainerId::new("alice").unwrap();
        let [one, two, three] = ["img_1", "img_2", "img_3"].map(|id| ImageId::new(id).unwrap());
        let (source, copy) = (workspaces.create(&alice, &one).unwrap(), workspaces.path(&alice, &two));
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::write(source.join("a/b/c.txt"), "kept").unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), source.join("link")).unwrap();

        workspaces.fork(&alice, &one, &two).await.unwrap();
        fs::write(source.join("a/b/c.txt"), "changed").unwrap();
        assert_eq!(fs::read_to_string(copy.join("a/b/c.txt")).unwrap(), "kept");
        assert!(fs::symlink_metadata(copy.join("link")).unwrap().is_symlink());
        let error = workspaces.fork(&alice, &one, &two).await.unwrap_err();
        assert_eq!(error.kind(), agentx::ErrorKind::AlreadyExists);

        workspaces.delete(&alice, &two).await.unwrap();
        assert!(!copy.exists());
        // One that was never opened.
        workspaces.fork(&alice, &three, &two).await.unwrap();
        assert_eq!(fs::read_dir(&copy).unwrap().count(), 0);

        for image in [&one, &two, &three] {
            workspaces.delete(&alice, image).await.unwrap();
        }
        assert!(!root.path().join("alice").exists());
    }

    #[tokio::test]
    async fn what_can_not_be_cleared_keeps_nothing_else_from_it() {
        let root = tempfile::tempdir().unwrap();
        let half = |container: &str| {
            let path = root.path().join(container).join(".agentx-0123456789abcdef.tmp");
            fs::create_dir_all(path.join("deep")).unwrap();
            fs::write(path.join("deep/file"), "x").unwrap();
            path
        };
        let (others, closed) = ([half("ann"), half("zoe")], half("bob"));
        let mode = |mode| fs::set_permissions(closed.join("deep"), fs::Permissions::from_mode(mode));
        mode(0o000).unwrap();
        let workspaces = Workspaces::new(root.path().to_owned(), None, Bounds::default());
        let count = workspaces.clear().await.unwrap();
        assert!(others.iter().all(|path| !path.exists()));
        // Root may remove it.
        assert_eq!(count, if closed.exists() { 2 } else { 3 });
        if closed.exists() {
            mode(0o700).unwrap();
        }
    }
}
