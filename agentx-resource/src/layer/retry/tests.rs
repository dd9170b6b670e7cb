use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, executor::block_on, stream};

use super::{
    super::around::{self, Around, Operation, Verb},
    *,
};
use crate::{
    ErrorKind, FileRead, FileSystemExt, ListOptions, MkdirOptions, ReadOptions, ReadRange, RemoveOptions,
    ResourcePath, StatOptions, WriteMode, WriteOptions,
    memory::{MemoryEnv, MemoryFileSystem},
};

/// What happens to a step of the resource below.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing.
    None,
    /// It does not reach the resource.
    Refused,
    /// It does not reach the resource, which names a time.
    Busy(Duration),
    /// It takes effect, and its answer is lost.
    Unanswered,
    /// It fails for good.
    Final,
}

/// Meets the steps of all operations with these faults, in order, then with none.
#[derive(Clone, Debug, Default)]
struct Plan {
    faults: Arc<Mutex<VecDeque<Fault>>>,
    steps: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Debug)]
struct Planned(Plan, Verb);

impl Around for Plan {
    type Operation = Planned;

    async fn begin(&self, verb: Verb, _subject: &str) -> Planned {
        Planned(self.clone(), verb)
    }
}

impl Operation for Planned {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        self.0.steps.lock().unwrap().push(self.1.as_str());
        let fault = self.0.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let error = |retry| Err(Error::new(ErrorKind::Unavailable, self.1.as_str()).with_retry(retry));
        match fault {
            Fault::None => step.await,
            Fault::Refused => error(Retryability::After(None)),
            Fault::Busy(time) => error(Retryability::After(Some(time))),
            Fault::Unanswered => {
                step.await?;
                error(Retryability::After(None))
            }
            Fault::Final => error(Retryability::Never),
        }
    }
}

/// A clock whose sleeps take no time, and are written down.
#[derive(Clone, Debug, Default)]
struct Sleeps(Arc<Mutex<Vec<u64>>>);

impl Clock for Sleeps {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(u64::try_from(duration.as_millis()).unwrap());
        Box::pin(std::future::ready(()))
    }
}

struct Bench {
    fs: Arc<dyn FileSystem>,
    below: MemoryFileSystem,
    plan: Plan,
    sleeps: Sleeps,
}

impl Bench {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        let (below, plan, sleeps) = (MemoryFileSystem::new(), Plan::default(), Sleeps::default());
        plan.faults.lock().unwrap().extend(faults);
        let flaky = around::file_system(Arc::new(below.clone()), plan.clone());
        let fs = Retry::new(Arc::new(sleeps.clone())).with_attempts(4).layer(flaky);
        Self { fs, below, plan, sleeps }
    }

    fn slept(&self) -> Vec<u64> {
        self.sleeps.0.lock().unwrap().clone()
    }

    fn steps(&self) -> usize {
        self.plan.steps.lock().unwrap().len()
    }
}

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

#[test]
fn waits_double_and_honour_the_time_that_is_named() {
    let bench = Bench::new([Fault::Refused, Fault::Busy(Duration::from_secs(7)), Fault::Refused]);
    assert!(!block_on(bench.fs.exists(&path("/a"))).unwrap());
    assert_eq!(bench.slept(), [100, 7000, 400]);
}

#[test]
fn a_time_beyond_the_longest_wait_is_left_to_the_caller() {
    let bench = Bench::new([Fault::Busy(Duration::from_secs(31))]);
    let error = block_on(bench.fs.metadata(&path("/a"))).unwrap_err();
    assert_eq!(error.retry(), Retryability::After(Some(Duration::from_secs(31))));
    assert_eq!(bench.slept(), [0; 0]);
}

#[test]
fn the_last_failure_says_that_tries_are_exhausted() {
    let bench = Bench::new([Fault::Refused; 9]);
    let error = block_on(bench.fs.metadata(&path("/a"))).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retryability::Exhausted));
    assert_eq!(bench.steps(), 4);
}

#[test]
fn what_is_final_is_not_tried_again() {
    let bench = Bench::new([Fault::Final]);
    let error = block_on(bench.fs.read_file(&path("/a"))).unwrap_err();
    assert_eq!((error.retry(), bench.steps()), (Retryability::Never, 1));
}

#[test]
fn what_may_do_harm_twice_is_tried_once() {
    for mode in [WriteMode::Overwrite, WriteMode::Append] {
        let bench = Bench::new([Fault::Unanswered]);
        block_on(bench.fs.write(&path("/a"), "x".into(), mode.into())).unwrap_err();
        assert_eq!(bench.steps(), 1);
        assert_eq!(block_on(bench.below.read_to_string(&path("/a"))).unwrap(), "x");
    }
    block_on(async {
        let bench = Bench::new([Fault::Refused; 9]);
        bench.fs.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap_err();
        bench.fs.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap_err();
        bench.fs.rename(&path("/a"), &path("/b"), crate::TransferOptions::default()).await.unwrap_err();
        bench.fs.copy(&path("/a"), &path("/b"), crate::TransferOptions::default()).await.unwrap_err();
        assert_eq!(bench.steps(), 4);
    });
}

#[test]
fn what_does_no_harm_twice_is_tried_again() {
    block_on(async {
        let bench = Bench::new([Fault::Unanswered, Fault::None, Fault::Unanswered]);
        bench.fs.mkdir(&path("/d"), MkdirOptions::recursive()).await.unwrap();
        bench.fs.rm(&path("/d"), RemoveOptions::default().with_force()).await.unwrap();
        assert!(!bench.below.exists(&path("/d")).await.unwrap());
        let bench = Bench::new([Fault::Refused]);
        bench.fs.writer(&path("/a"), WriteOptions::default()).await.unwrap().close().await.unwrap();
        assert_eq!(bench.slept(), [100]);
    });
}

#[test]
fn a_conditional_write_without_effect_is_tried_again() {
    block_on(async {
        let bench = Bench::new([Fault::Refused]);
        let version = bench.fs.create_new(&path("/a"), "one").await.unwrap().version.unwrap();
        bench.plan.faults.lock().unwrap().push_back(Fault::Refused);
        bench.fs.write(&path("/a"), "two".into(), WriteMode::IfMatch(version).into()).await.unwrap();
        assert_eq!(bench.below.read_to_string(&path("/a")).await.unwrap(), "two");
    });
}

#[test]
fn a_conditional_write_that_may_have_had_effect_is_lost() {
    block_on(async {
        let bench = Bench::new([Fault::Unanswered]);
        let error = bench.fs.create_new(&path("/a"), "one").await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Lost, Some("/a")));
        let version = bench.fs.metadata(&path("/a")).await.unwrap().version.unwrap();
        bench.plan.faults.lock().unwrap().push_back(Fault::Unanswered);
        let mode = WriteMode::IfMatch(version);
        let error = bench.fs.write(&path("/a"), "two".into(), mode.into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost);
    });
}

#[test]
fn a_condition_that_fails_at_once_is_told_as_it_is() {
    block_on(async {
        let bench = Bench::new([]);
        bench.fs.create_new(&path("/a"), "one").await.unwrap();
        let error = bench.fs.create_new(&path("/a"), "two").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn a_list_is_begun_again_until_its_first_entry() {
    block_on(async {
        let bench = Bench::new([Fault::Refused, Fault::None, Fault::Refused]);
        bench.below.write_file(&path("/a"), "x").await.unwrap();
        bench.below.write_file(&path("/b"), "x").await.unwrap();
        let mut entries = bench.fs.list(&path("/"), ListOptions::default());
        assert_eq!(entries.next().await.unwrap().unwrap().name, "a");
        assert!(entries.next().await.unwrap().is_err());
        assert!(entries.next().await.is_none());
    });
}

#[test]
fn env_is_asked_again() {
    let plan = Plan::default();
    plan.faults.lock().unwrap().push_back(Fault::Refused);
    let env = around::env(Arc::new(MemoryEnv::new([("K", "v")]).unwrap()), plan);
    let env = Retry::new(Arc::new(Sleeps::default())).layer(env);
    assert_eq!(block_on(env.get("K")).unwrap().as_deref(), Some("v"));
}

/// Gives bodies in pieces of three bytes.
#[derive(Clone, Debug)]
struct Pieces;

impl Layer<dyn FileSystem> for Pieces {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(PiecesFileSystem(inner))
    }
}

#[derive(Debug)]
struct PiecesFileSystem(Arc<dyn FileSystem>);

#[async_trait::async_trait]
impl FileSystem for PiecesFileSystem {
    fn capabilities(&self) -> crate::FsCapabilities {
        self.0.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let read = self.0.read(path, options).await?;
        let body = read.body.map_ok(|piece| {
            let pieces: Vec<_> = piece.chunks(3).map(Bytes::copy_from_slice).map(Ok).collect();
            stream::iter(pieces)
        });
        Ok(FileRead::new(read.metadata, read.range, body.try_flatten().boxed()))
    }

    async fn write(
        &self,
        path: &ResourcePath,
        data: Bytes,
        options: WriteOptions,
    ) -> Result<crate::Metadata> {
        self.0.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn crate::FileWriter>> {
        self.0.writer(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<crate::Metadata> {
        self.0.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> crate::EntryStream {
        self.0.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.0.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.0.rm(path, options).await
    }

    async fn rename(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: crate::TransferOptions,
    ) -> Result<()> {
        self.0.rename(from, to, options).await
    }

    async fn copy(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: crate::TransferOptions,
    ) -> Result<()> {
        self.0.copy(from, to, options).await
    }
}

/// Reads the digits of `/a` from 2 to 12, in pieces, with these faults.
fn read_digits(faults: &[Fault], replaced_by: Option<&'static str>) -> (Result<String>, Plan, Vec<u64>) {
    let (below, plan, sleeps) = (MemoryFileSystem::new(), Plan::default(), Sleeps::default());
    let flaky = around::file_system(Pieces.layer(Arc::new(below.clone())), plan.clone());
    let fs = Retry::new(Arc::new(sleeps.clone())).with_attempts(3).layer(flaky);
    let result = block_on(async {
        below.write_file(&path("/a"), "0123456789abcdef").await.unwrap();
        plan.faults.lock().unwrap().extend(faults);
        let options = ReadOptions::default().with_range(ReadRange::Bounded(2..12));
        let mut read = fs.read(&path("/a"), options).await?;
        let mut all = read.body.next().await.unwrap()?.to_vec();
        if let Some(content) = replaced_by {
            below.write_file(&path("/a"), content).await.unwrap();
        }
        while let Some(piece) = read.body.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(String::from_utf8(all).unwrap())
    });
    let slept = sleeps.0.lock().unwrap().clone();
    (result, plan, slept)
}

#[test]
fn a_body_goes_on_where_it_broke_off() {
    // The open, a piece, then a break, an open that fails, one that succeeds, a piece, and a break again.
    let faults =
        [Fault::None, Fault::None, Fault::Refused, Fault::Refused, Fault::None, Fault::None, Fault::Refused];
    let (result, _, slept) = read_digits(&faults, None);
    assert_eq!(result.unwrap(), "23456789ab");
    assert_eq!(slept, [100, 200, 100]);
}

#[test]
fn a_body_without_progress_gives_up() {
    let faults =
        [Fault::None, Fault::None, Fault::Refused, Fault::None, Fault::Refused, Fault::None, Fault::Refused];
    let (result, ..) = read_digits(&faults, None);
    assert_eq!(result.unwrap_err().retry(), Retryability::Exhausted);
}

#[test]
fn a_body_does_not_go_on_in_another_version() {
    let faults = [Fault::None, Fault::None, Fault::Refused];
    let (result, ..) = read_digits(&faults, Some("################"));
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retryability::After(None)));
}
