use std::{
    fmt, fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentx::{
    async_trait,
    resource::{
        Error, ErrorKind, ExecRequest, FileSystemExt, ListOptions, ProcessExt, ResourcePath, Result, Retry,
        WriteOptions, memory::MemoryFileSystem,
    },
};
use agentx_container::Limits;
use agentx_provider_cloudflare::{
    ContainerAddress, ContainerEngine, ContainerEvent, ContainerOptions, LazyContainer, LazyOptions,
};
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::support::{ANY, Served};

/// Starts a server of an empty directory each time, as a container begins with an empty disk.
struct Engine {
    root: PathBuf,
    served: Mutex<Option<Served>>,
    _dir: TempDir,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

#[async_trait]
impl ContainerEngine for Engine {
    async fn start(&self) -> Result<ContainerAddress> {
        assert!(!self.runs(), "two containers at once");
        if self.root.exists() {
            fs::remove_dir_all(&self.root).unwrap();
        }
        fs::create_dir(&self.root).unwrap();
        let served = Served::serve(self.root.clone(), Limits::default(), ANY).await;
        let address = served.at();
        *self.served.lock().unwrap() = Some(served);
        Ok(address)
    }

    async fn stop(&self) -> Result<()> {
        self.kill();
        Ok(())
    }
}

impl Engine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("root");
        Self { root, served: Mutex::default(), _dir: dir }
    }

    fn kill(&self) {
        if let Some(served) = self.served.lock().unwrap().take() {
            drop(served.kill());
        }
    }

    fn runs(&self) -> bool {
        self.served.lock().unwrap().is_some()
    }
}

/// Has no room the first few times.
#[derive(Debug)]
struct Full(Arc<Engine>, AtomicUsize);

#[async_trait]
impl ContainerEngine for Full {
    async fn start(&self) -> Result<ContainerAddress> {
        if self.1.fetch_sub(1, Ordering::SeqCst) == 0 {
            return self.0.start().await;
        }
        let full = Error::new(ErrorKind::Unavailable, "start").with_message("there is no room");
        Err(full.with_retry(Retry::After(None)))
    }

    async fn stop(&self) -> Result<()> {
        self.0.stop().await
    }
}

struct World {
    store: MemoryFileSystem,
    engine: Arc<Engine>,
    events: Arc<Mutex<Vec<&'static str>>>,
    lazy: LazyContainer,
}

impl World {
    fn new() -> Self {
        let (store, engine) = (MemoryFileSystem::new(), Arc::new(Engine::new()));
        let events = Arc::<Mutex<Vec<_>>>::default();
        let told = Arc::clone(&events);
        let client = ContainerOptions::default()
            .with_silence(Duration::from_secs(1))
            .with_reattach(Duration::from_secs(1));
        let options = LazyOptions::new(engine.root.to_str().unwrap())
            .with_container(client)
            .with_loss(Duration::from_millis(500))
            .with_patience(Duration::from_millis(500))
            .with_observer(move |event| told.lock().unwrap().push(name(event)));
        let started = Arc::<Engine>::clone(&engine);
        let lazy = LazyContainer::new(Arc::new(store.clone()), started, options);
        Self { store, engine, events, lazy }
    }

    async fn run(&self, script: &str) -> String {
        let output = self.lazy.process().exec(ExecRequest::shell(script)).await.unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
        output.stdout_text().into_owned()
    }

    async fn write(&self, at: &str, content: &'static str) {
        self.lazy.files().write_file(&path(at), content).await.unwrap();
    }

    async fn read(&self, at: &str) -> String {
        self.lazy.files().read_to_string(&path(at)).await.unwrap()
    }

    async fn stored(&self, at: &str) -> Option<String> {
        self.store.read_to_string(&path(at)).await.ok()
    }

    fn told(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

fn name(event: &ContainerEvent) -> &'static str {
    match event {
        ContainerEvent::Starting => "starting",
        ContainerEvent::Started { .. } => "started",
        ContainerEvent::HandedOver { .. } => "handed over",
        ContainerEvent::NotStarted { .. } => "not started",
        ContainerEvent::Synced { .. } => "synced",
        ContainerEvent::Released { stopped: None } => "released",
        ContainerEvent::Lost { .. } => "lost",
        _ => "other",
    }
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

#[tokio::test]
async fn the_tree_goes_to_the_container_and_back() {
    let world = World::new();
    world.write("/in.txt", "3\n1\n2\n").await;
    world.write("/gone.txt", "x").await;
    assert!(!world.engine.runs() && world.told().is_empty(), "files alone ask for no container");
    assert_eq!(world.stored("/in.txt").await.unwrap(), "3\n1\n2\n");

    assert_eq!(world.run("sort in.txt > out.txt; rm gone.txt; cat out.txt").await, "1\n2\n3\n");
    assert_eq!(world.told(), ["starting", "started", "handed over"]);
    assert_eq!(world.read("/out.txt").await, "1\n2\n3\n");
    world.write("/warm.txt", "from a verb").await;
    assert_eq!(world.run("cat warm.txt").await, "from a verb");
    assert_eq!(world.stored("/warm.txt").await, None);

    world.lazy.release().await.unwrap();
    assert_eq!(world.told(), ["synced", "released"]);
    assert!(!world.engine.runs() && !world.lazy.is_warm());
    assert_eq!(world.read("/out.txt").await, "1\n2\n3\n");
    assert_eq!(world.stored("/warm.txt").await.unwrap(), "from a verb");
    assert_eq!(world.stored("/gone.txt").await, None);
    let listed: Vec<_> =
        world.lazy.files().list(&ResourcePath::root(), ListOptions::recursive()).try_collect().await.unwrap();
    let mut names: Vec<_> = listed.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["in.txt", "out.txt", "warm.txt"]);
    assert_eq!(world.run("cat warm.txt").await, "from a verb");
    world.lazy.release().await.unwrap();
}

#[tokio::test]
async fn links_and_execute_bits_are_in_the_next_container_too() {
    let world = World::new();
    world
        .run(
            "mkdir -p d/deep; printf '#!/bin/sh\necho ran' > d/run.sh; chmod +x d/run.sh; echo plain > plain; \
             ln -s run.sh d/link; ln -s d dir; ln -s 'no such' \"it's $odd\"; ln -s gone gone; ln -s ../plain d/taken; \
             ln -s \"$(printf 'two\\nlines\\n')x\" d/deep/lines",
        )
        .await;
    world.lazy.release().await.unwrap();
    assert_eq!(world.told(), ["starting", "started", "handed over", "synced", "released"]);
    // What is written while nobody sees the link stays.
    world.write("/d/taken", "a file").await;
    let script = "./d/link; ./dir/run.sh; readlink \"it's $odd\"; cat d/taken; echo; readlink d/deep/lines; \
                  [ -L dir ] && [ ! -L d/taken ] && [ ! -x plain ] && rm gone && chmod -x d/run.sh";
    assert_eq!(world.run(script).await, "ran\nran\nno such\na file\ntwo\nlinesx\n");
    assert!(world.lazy.sync().await.unwrap().is_some());
    world.engine.kill();
    assert!(world.lazy.sync().await.is_err());
    assert_eq!(world.run("[ -x d/run.sh ] || [ -L gone ] || readlink d/link").await, "run.sh\n");
    assert!(!world.told().contains(&"other"), "nothing was lost");
    world.lazy.release().await.unwrap();
}

#[tokio::test]
async fn what_was_saved_outlives_the_container_and_the_rest_is_told_as_lost() {
    let world = World::new();
    world.write("/cold.txt", "cold").await;
    world.run("echo saved > saved.txt; echo one > both.txt").await;
    assert!(world.lazy.sync().await.unwrap().is_some());
    world.run("echo unsaved > unsaved.txt; echo two > both.txt").await;
    assert_eq!(world.told(), ["starting", "started", "handed over", "synced"]);
    let child = world.lazy.process().spawn(ExecRequest::shell("sleep 600")).await.unwrap();

    world.engine.kill();
    assert_eq!(child.next_event().await.unwrap_err().kind(), ErrorKind::Lost);
    drop(child);
    assert_eq!(world.told(), ["lost"]);
    for (at, content) in [("/cold.txt", "cold"), ("/saved.txt", "saved\n"), ("/both.txt", "one\n")] {
        assert_eq!(world.read(at).await, content, "{at}");
    }
    assert!(!world.lazy.files().exists(&path("/unsaved.txt")).await.unwrap());
    assert!(world.lazy.sync().await.unwrap().is_none());
    // Another one begins with what was saved, and an empty disk takes nothing away.
    assert_eq!(world.run("cat both.txt; ls").await, "one\nboth.txt\ncold.txt\nsaved.txt\n");
    assert_eq!(world.told(), ["starting", "started", "handed over"]);
    world.lazy.release().await.unwrap();
    assert_eq!(world.stored("/saved.txt").await.unwrap(), "saved\n");
}

#[tokio::test]
async fn a_loss_between_two_syncs_is_noticed_by_a_file_verb_and_by_a_sync() {
    let world = World::new();
    for by_sync in [false, true] {
        world.run("echo saved > saved.txt").await;
        world.lazy.sync().await.unwrap();
        world.run("echo unsaved > unsaved.txt").await;
        world.engine.kill();
        let error = if by_sync {
            world.lazy.sync().await.unwrap_err()
        } else {
            world.lazy.files().write_file(&path("/x.txt"), "x").await.unwrap_err()
        };
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        assert_eq!(world.told().last(), Some(&"lost"));
        assert_eq!(world.read("/saved.txt").await, "saved\n");
        assert!(!world.lazy.files().exists(&path("/unsaved.txt")).await.unwrap());
    }
}

#[tokio::test]
async fn a_container_is_not_released_under_a_command_or_an_open_file() {
    let world = World::new();
    let child = world.lazy.process().spawn(ExecRequest::shell("sleep 600")).await.unwrap();
    assert_eq!(world.lazy.release().await.unwrap_err().kind(), ErrorKind::Busy);
    drop(child);
    let mut writer = world.lazy.files().writer(&path("/a"), WriteOptions::default()).await.unwrap();
    assert_eq!(world.lazy.release().await.unwrap_err().kind(), ErrorKind::Busy);
    writer.write("whole".into()).await.unwrap();
    writer.close().await.unwrap();
    world.lazy.release().await.unwrap();
    assert_eq!(world.stored("/a").await.unwrap(), "whole");
}

#[tokio::test]
async fn a_file_that_is_open_in_the_store_keeps_the_tree_there() {
    let world = World::new();
    let mut writer = world.lazy.files().writer(&path("/a"), WriteOptions::default()).await.unwrap();
    let error = world.lazy.process().spawn(ExecRequest::shell("cat a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    writer.write("whole".into()).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(world.run("cat a").await, "whole");
    world.lazy.release().await.unwrap();
}

#[tokio::test]
async fn an_idle_container_is_released_and_one_that_is_used_is_not() {
    let world = World::new();
    let idle = tokio::spawn(world.lazy.release_when_idle(Duration::from_millis(100)));
    world.run("echo one > a; sleep 0.5; echo two > a").await;
    assert_eq!(world.told(), ["starting", "started", "handed over"]);
    while world.engine.runs() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.stored("/a").await.unwrap(), "two\n");
    idle.abort();
}

#[tokio::test]
async fn commands_at_once_start_one_container() {
    let world = World::new();
    let scripts: Vec<String> = (0..8).map(|number| format!("echo {number}")).collect();
    let outputs = futures::future::join_all(scripts.iter().map(|script| world.run(script))).await;
    assert_eq!(outputs.concat(), "0\n1\n2\n3\n4\n5\n6\n7\n");
    assert_eq!(world.told(), ["starting", "started", "handed over"]);
    world.lazy.release().await.unwrap();
}

#[tokio::test]
async fn a_platform_without_room_is_asked_again_and_its_reason_is_told() {
    let world = World::new();
    let lazy = |refusals, start| {
        let engine = Arc::new(Full(Arc::clone(&world.engine), AtomicUsize::new(refusals)));
        let options = LazyOptions::new(world.engine.root.to_str().unwrap()).with_start(start);
        LazyContainer::new(Arc::new(world.store.clone()), engine, options)
    };
    let patient = lazy(2, Duration::from_mins(1));
    let output = patient.process().exec(ExecRequest::shell("echo here")).await.unwrap();
    assert_eq!(output.stdout_text(), "here\n");
    patient.release().await.unwrap();

    let hasty = lazy(usize::MAX, Duration::from_millis(100));
    let error = hasty.process().spawn(ExecRequest::shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("there is no room"), "{error}");
    assert!(!hasty.is_warm() && !world.engine.runs());
}

#[tokio::test]
async fn a_container_that_does_not_start_leaves_everything_as_it_was() {
    let world = World::new();
    world.write("/a", "cold").await;
    let wrong = LazyOptions::new("/somewhere/else");
    let engine = Arc::<Engine>::clone(&world.engine);
    let lazy = LazyContainer::new(Arc::new(world.store.clone()), engine, wrong);
    let error = lazy.process().spawn(ExecRequest::shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!lazy.is_warm());
    assert_eq!(lazy.files().read_to_string(&path("/a")).await.unwrap(), "cold");
}
