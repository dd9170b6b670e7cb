use std::fs;

use agentx::{
    local::{LocalFileSystem, LocalProcess},
    resource::{
        ExecEvent, ExecOutput, ExecRequest, ExitStatus, FileSystem, FileSystemExt, ProcessExt, ResourcePath,
        Stdin,
    },
};
use tempfile::TempDir;

use super::*;

/// Commands of an owner who may have this much of the disk.
fn process(limit: u64) -> (Arc<dyn Process>, PathBuf, TempDir) {
    let (process, _files, path, root) = process_and_files_elsewhere(limit);
    (process, path, root)
}

/// And the files of another workspace of the same owner.
fn process_and_files_elsewhere(limit: u64) -> (Arc<dyn Process>, Arc<dyn FileSystem>, PathBuf, TempDir) {
    let root = tempfile::tempdir().unwrap();
    let bounds = Bounds { disk: Some(limit), ..Bounds::default() };
    let bounded = Bounded::new(bounds, root.path());
    let place = |container: &str| {
        let path = root.path().join(container).join("img_1");
        fs::create_dir_all(&path).unwrap();
        (bounded.place(&ContainerId::new(container).unwrap(), path.clone()), path)
    };
    let ((work, path), (elsewhere, other)) = (place("ann:work"), place("ann:else"));
    let inner = Arc::new(LocalProcess::new(&path).unwrap());
    let files = elsewhere.unwrap().files(Arc::new(LocalFileSystem::open(other).unwrap()));
    (bounded.process(inner, None, work), files, path, root)
}

async fn sh(process: &Arc<dyn Process>, script: &str) -> ExecOutput {
    process.exec(ExecRequest::shell(script)).await.unwrap()
}

#[tokio::test]
async fn a_command_that_fills_the_disk_is_ended_and_may_only_delete_from_then_on() {
    let (process, path, _root) = process(4 << 20);
    let script = "i=0; while :; do i=$((i + 1)); head -c 500000 /dev/zero > f$i; sleep 0.01; done";
    let filled = sh(&process, script).await;
    assert_eq!(filled.status, ExitStatus::Killed, "{}", filled.stderr_text());
    assert!(filled.stderr_text().contains("[The command was ended: the quota of the disk is used up"));

    let refused = sh(&process, "trap '' XFSZ; echo x > y").await;
    assert!(!refused.status.success());
    assert!(refused.stderr_text().contains("can delete files, and write to none"), "{refused:?}");
    assert_eq!(fs::metadata(path.join("y")).unwrap().len(), 0);

    let deleted = sh(&process, "rm -f f*").await;
    assert!(deleted.status.success(), "{deleted:?}");
    let written = sh(&process, "echo x > y && cat y").await;
    assert_eq!((written.stdout_text(), written.stderr_text()), ("x\n".into(), "".into()));
}

#[tokio::test]
async fn no_command_writes_a_file_larger_than_there_is_room_for() {
    let (process, path, _root) = process(1 << 20);
    let large = sh(&process, "head -c 4000000 /dev/zero > large").await;
    assert!(!large.status.success());
    assert!(fs::metadata(path.join("large")).unwrap().len() <= 1 << 20);
    fs::remove_file(path.join("large")).unwrap();
    // One that is there grows by what is left, wherever it ends.
    for command in ["head -c 700000 /dev/zero > large", "head -c 200000 /dev/zero >> large"] {
        let written = sh(&process, command).await;
        assert!(written.status.success(), "{written:?}");
    }
    let beside = sh(&process, "trap '' XFSZ; head -c 400000 /dev/zero >> large").await;
    assert!(!beside.status.success());
    assert!(fs::metadata(path.join("large")).unwrap().len() <= 1 << 20);
}

#[tokio::test]
async fn a_command_that_harms_nobody_is_let_be() {
    let (process, path, _root) = process(4 << 20);
    fs::write(path.join("large"), vec![1; 5 << 20]).unwrap();
    // It runs longer than until it is looked at, under a quota that is used up.
    let quiet = sh(&process, "sleep 2.5; rm large; echo done").await;
    assert_eq!((quiet.status, quiet.stdout_text()), (ExitStatus::Code(0), "done\n".into()));
}

#[tokio::test]
async fn what_was_written_again_elsewhere_counts_once_for_a_command() {
    let (process, files, _path, _root) = process_and_files_elsewhere(4 << 20);
    let overwrite = async |times| {
        for _ in 0..times {
            let path = ResourcePath::new("/again").unwrap();
            files.write_file(&path, vec![1; 600 << 10]).await.unwrap();
        }
    };
    overwrite(6).await;
    // What is reckoned until then would leave no room for this.
    let script = "head -c 2000000 /dev/zero > large && echo first && read go && \
                  head -c 500000 /dev/zero > more && sleep 2.5 && echo last";
    let request = ExecRequest::shell(script).with_stdin(Stdin::Piped);
    let child = process.spawn(request).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("first\n".into())));
    // It comes to be too much while the command writes, and runs until it is looked at.
    overwrite(2).await;
    child.write_stdin("go\n".into()).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("last\n".into())));
    let ended = child.next_event().await.unwrap();
    assert_eq!(ended, Some(ExecEvent::Exited(ExitStatus::Code(0))));
}

#[tokio::test]
async fn limits_of_a_process_are_those_that_are_smaller() {
    let root = tempfile::tempdir().unwrap();
    let process = ResourceLimits::default().with_open_files(64).with_file_size(4 << 10);
    let bounded = Bounded::new(Bounds { process, ..Bounds::default() }, root.path());
    let process = bounded.process(Arc::new(LocalProcess::new(root.path()).unwrap()), None, None);
    let told = sh(&process, "ulimit -n; ulimit -f").await;
    assert_eq!(told.stdout_text(), "64\n4\n");
    let request = ExecRequest::shell("ulimit -n; ulimit -f");
    let own = ResourceLimits::default().with_open_files(32).with_file_size(8 << 10);
    let told = process.exec(request.with_limits(own)).await.unwrap();
    assert_eq!(told.stdout_text(), "32\n4\n");
}

fn settings(text: &str) -> Settings {
    toml::from_str(text).unwrap()
}

#[test]
fn nothing_is_bounded_that_nobody_asked_for_unless_owners_share() {
    let alone = Bounds::find(&Settings::default(), false).unwrap();
    assert!(alone.tree.is_none() && alone.disk.is_none() && alone.process.is_none());
    assert!(alone.lacking.is_empty() && !alone.needs_helper());
    let shared = Bounds::find(&Settings::default(), true).unwrap();
    assert_eq!((shared.disk, shared.process.open_files), (Some(DISK), Some(OPEN_FILES)));
    // Each is there, or it is said why not.
    let kept = [shared.tree.memory.is_some(), shared.tree.processes.is_some(), shared.tree.cpu.is_some()];
    assert_eq!(kept.iter().filter(|kept| !**kept).count(), shared.lacking.len(), "{shared:?}");
    let told = shared.told();
    assert!(told.contains("disk 10g") && told.contains("open-files 4096"), "{told}");
}

#[test]
fn what_is_said_stands_in_place_of_the_default() {
    let settings = settings(
        "memory = \"none\"\nprocesses = \"none\"\ncpu = \"none\"\ndisk = \"1m\"\nopen-files = \"none\"\ncpu-time = 9",
    );
    let bounds = Bounds::find(&settings, true).unwrap();
    assert!(bounds.tree.is_none() && bounds.lacking.is_empty());
    assert_eq!((bounds.disk, bounds.process.open_files), (Some(1 << 20), None));
    assert_eq!(bounds.process.cpu_time, Some(Duration::from_secs(9)));
}

#[test]
fn what_nothing_can_keep_is_an_error() {
    let told = Bounds::find(&settings("cpu = 0.001"), false).unwrap_err().to_string();
    assert!(told.contains("--cpu") && told.contains("ten thousandths"), "{told}");
    for (flag, text) in [("--memory 2:", "memory = 2"), ("--disk 1023k:", "disk = \"1023k\"")] {
        let told = Bounds::find(&settings(text), false).unwrap_err().to_string();
        assert!(told.contains(flag) && told.contains("at least 1m"), "{told}");
    }
}

#[tokio::test]
async fn an_owner_has_one_group_for_all_containers_as_long_as_one_is_open() {
    let tree = TreeLimits::default().with_processes(9);
    let bounded = Bounded::new(Bounds { tree, ..Bounds::default() }, Path::new("/nowhere"));
    let group = async |container: &str| bounded.group(&ContainerId::new(container).unwrap()).await;
    // Both at once.
    let (one, same) = tokio::join!(group("ann:work"), group("ann:else"));
    let one = match one {
        Ok(group) => group.unwrap(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return println!("LEFT OUT: {error}");
        }
    };
    assert!(Arc::ptr_eq(&one, &same.unwrap().unwrap()));
    let other = group("anna:work").await.unwrap().unwrap();
    assert!(*one != *other);
    assert_eq!(one.limits(), tree);
    let last = Arc::downgrade(&one);
    drop(one);
    assert!(last.upgrade().is_none());
    assert!(group("ann:work").await.unwrap().is_some());
}
