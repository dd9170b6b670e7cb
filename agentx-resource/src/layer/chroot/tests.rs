use futures::{StreamExt, executor::block_on};

use super::*;
use crate::{
    ErrorKind, ExecRequest, FileSystemExt, ListOptions, MkdirOptions, RemoveOptions, TransferOptions,
    WriteMode,
    memory::{ManualClock, MemoryFileSystem, MemoryProcess},
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

fn below_home() -> (Arc<dyn FileSystem>, Arc<dyn FileSystem>) {
    let whole: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    (Chroot::new(path("/u/home")).layer(Arc::clone(&whole)), whole)
}

#[test]
fn errors_speak_of_the_callers_paths() {
    let (home, _) = below_home();
    block_on(async {
        home.mkdir(&path("/d"), MkdirOptions::recursive()).await.unwrap();
        for error in [
            home.read_file(&path("/d/x")).await.unwrap_err(),
            home.metadata(&path("/d/x")).await.unwrap_err(),
            home.readdir(&path("/d/x")).await.unwrap_err(),
            home.rm(&path("/d/x"), RemoveOptions::default()).await.unwrap_err(),
            home.rename(&path("/d/x"), &path("/y"), TransferOptions::default()).await.unwrap_err(),
        ] {
            assert_eq!(error.path(), Some("/d/x"));
            assert!(!error.to_string().contains("home"), "{error}");
        }
    });
}

#[test]
fn the_base_is_kept() {
    let (home, whole) = below_home();
    block_on(async {
        whole.mkdir(&path("/u/home"), MkdirOptions::recursive()).await.unwrap();
        let removed = home.rm(&path("/"), RemoveOptions::recursive().with_force()).await;
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::InvalidInput);
        let moved = home.rename(&path("/"), &path("/x"), TransferOptions::default()).await;
        assert_eq!(moved.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(whole.metadata(&path("/u/home")).await.unwrap().is_dir());
    });
}

#[test]
fn a_missing_base_is_nothing_until_it_is_created() {
    let (home, whole) = below_home();
    block_on(async {
        assert_eq!(home.readdir(&path("/")).await.unwrap_err().kind(), ErrorKind::NotFound);
        let root = home.write_file(&path("/"), "x").await.unwrap_err();
        assert_eq!(root.kind(), ErrorKind::IsADirectory);
        assert!(!whole.exists(&path("/u")).await.unwrap());
        let options = crate::WriteOptions::from(WriteMode::Overwrite).with_create_parents();
        home.write(&path("/a"), "x".into(), options).await.unwrap();
        let listed: Vec<_> = home.list(&path("/"), ListOptions::default()).collect().await;
        assert_eq!(listed[0].as_ref().unwrap().path, Some(path("/a")));
        assert_eq!(whole.read_to_string(&path("/u/home/a")).await.unwrap(), "x");
    });
}

#[test]
fn a_process_runs_below_the_base_and_says_where() {
    let fs = MemoryFileSystem::new();
    let inner = MemoryProcess::new(Arc::new(ManualClock::default()))
        .with_root("/workspace")
        .with_file_system(Arc::new(fs.clone()))
        .program("pwd", |context| async move {
            context.stdout.write(context.cwd.to_string()).await;
            0
        });
    block_on(async {
        fs.mkdir(&path("/u/home"), MkdirOptions::recursive()).await.unwrap();
        let process = Chroot::new(path("/u")).layer(Arc::new(inner) as Arc<dyn Process>);
        assert_eq!(process.capabilities().root, "/workspace/u");
        let pwd = ExecRequest::program("pwd", [""; 0]);
        let output = crate::ProcessExt::exec(&process, pwd.clone().with_cwd(path("/home"))).await.unwrap();
        assert_eq!(output.stdout_text(), "/u/home");
        let error = process.spawn(pwd.with_cwd(path("/missing"))).await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some("/missing")));
    });
}
