use std::fs;

use agentx::{
    ErrorKind,
    local::LocalFileSystem,
    resource::{FileSystemExt, ResourcePath, TransferOptions, WriteOptions},
};
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 1 << 20;

struct Scene {
    root: TempDir,
    disk: Disk,
}

impl Scene {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::new(root.path().to_owned(), LIMIT);
        Self { root, disk }
    }

    fn path(&self, container: &str) -> PathBuf {
        let path = self.root.path().join(container).join("img_1");
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn place(&self, container: &str) -> Place {
        self.disk.place(&ContainerId::new(container).unwrap(), self.path(container))
    }

    fn files(&self, container: &str) -> Arc<dyn FileSystem> {
        self.place(container).files(Arc::new(LocalFileSystem::open(self.path(container)).unwrap()))
    }
}

fn at(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

fn kib(count: usize) -> Vec<u8> {
    vec![b'x'; count << 10]
}

#[tokio::test]
async fn whoever_has_too_much_is_refused_until_something_is_removed() {
    let scene = Scene::new();
    let files = scene.files("ann:work");
    // What is replaced counts once, however often.
    for _ in 0..6 {
        files.write_file(&at("/a"), kib(400)).await.unwrap();
    }
    let refused = files.write_file(&at("/b"), kib(700)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    let told = refused.to_string();
    assert!(told.contains("/b") && told.contains("no room for 720896 more bytes"), "{told}");
    files.write_file(&at("/c"), kib(300)).await.unwrap();
    let refused = files.copy(&at("/a"), &at("/b"), TransferOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(!files.exists(&at("/b")).await.unwrap());
    files.rename(&at("/a"), &at("/d"), TransferOptions::default()).await.unwrap();
    files.rm_all(&at("/d")).await.unwrap();
    files.write_file(&at("/b"), kib(700)).await.unwrap();
}

#[tokio::test]
async fn a_writer_is_refused_when_it_comes_to_be_too_much() {
    let scene = Scene::new();
    let place = scene.place("ann:work");
    // Larger than what a writer takes at once.
    let files = Disk::new(scene.root.path().to_owned(), 4 << 20);
    let files = files.place(&ContainerId::new("ann:work").unwrap(), place.path.clone());
    let files = files.files(Arc::new(LocalFileSystem::open(&place.path).unwrap()));
    let mut writer = files.writer(&at("/a"), WriteOptions::default()).await.unwrap();
    let mut written = 0;
    let refused = loop {
        match writer.write(kib(512).into()).await {
            Ok(()) => written += 512,
            Err(error) => break error,
        }
        assert!(written <= 4 << 10);
    };
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(written >= 2 << 10, "{written}");
    drop(writer);
    // Nothing of it is left, and nothing is counted.
    files.write_file(&at("/b"), kib(2_048)).await.unwrap();
}

#[tokio::test]
async fn all_workspaces_of_one_owner_count_together_and_nobody_elses() {
    let scene = Scene::new();
    // One that was there before, and is not opened.
    fs::write(scene.path("ann:old").join("large"), kib(900)).unwrap();
    let refused = scene.files("ann:work").write_file(&at("/a"), kib(200)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    for other in ["anna:work", "bob:work"] {
        scene.files(other).write_file(&at("/a"), kib(200)).await.unwrap();
    }
    scene.place("ann:old").forget();
    scene.files("ann:work").write_file(&at("/a"), kib(200)).await.unwrap();
}

#[tokio::test]
async fn what_a_command_wrote_is_seen_when_it_has_ended() {
    let scene = Scene::new();
    let (place, files) = (scene.place("ann:work"), scene.files("ann:work"));
    files.write_file(&at("/a"), kib(1)).await.unwrap();
    let command = place.begin().await.unwrap();
    let largest = *command.file_size.as_ref().unwrap();
    assert!(largest <= LIMIT && largest > LIMIT - (64 << 10), "{largest}");
    fs::write(place.path.join("large"), kib(2_000)).unwrap();
    drop(command);
    let refused = files.write_file(&at("/b"), kib(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    // Elsewhere, too.
    assert!(scene.files("ann:else").write_file(&at("/b"), kib(1)).await.is_err());
    let command = place.begin().await.unwrap();
    assert!(command.file_size.as_ref().unwrap_err().contains("used up"));
    fs::remove_file(place.path.join("large")).unwrap();
    drop(command);
    files.write_file(&at("/b"), kib(1)).await.unwrap();
}

#[tokio::test]
async fn a_copy_needs_room() {
    let scene = Scene::new();
    let (from, to) = (scene.place("ann:from"), scene.place("ann:to"));
    fs::write(from.path.join("large"), kib(600)).unwrap();
    let refused = to.copied(&from, async { panic!("it is not made") }).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    fs::write(from.path.join("large"), kib(200)).unwrap();
    let copy = async {
        fs::copy(from.path.join("large"), to.path.join("large")).unwrap();
        Ok(())
    };
    to.copied(&from, copy).await.unwrap();
    assert!(scene.files("ann:to").write_file(&at("/a"), kib(700)).await.is_err());
}

#[tokio::test]
async fn what_can_not_be_measured_is_too_much() {
    let scene = Scene::new();
    let files = scene.files("ann:work");
    files.write_file(&at("/a"), kib(1)).await.unwrap();
    let command = scene.place("ann:work").begin().await.unwrap();
    let deep = scene.path("ann:work").join(vec!["d"; measure::DEEPEST].join("/"));
    fs::create_dir_all(deep).unwrap();
    drop(command);
    let refused = files.write_file(&at("/b"), kib(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(refused.to_string().contains("deep"), "{refused}");
    files.rm_all(&at("/d")).await.unwrap();
    files.write_file(&at("/b"), kib(1)).await.unwrap();
}
