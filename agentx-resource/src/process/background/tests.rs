use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use futures::{FutureExt, executor::block_on};

use super::*;
use crate::{
    BoxFuture, OutputStream, Stdin,
    memory::{ManualClock, MemoryProcess},
};

/// Keeps the tasks, and runs them when it is told to.
#[derive(Clone, Debug, Default)]
struct Tasks(Arc<Mutex<TaskList>>);

#[derive(Default)]
struct TaskList(Vec<BoxFuture<'static, ()>>);

impl fmt::Debug for TaskList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskList")
    }
}

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        lock(&self.0).0.push(task);
    }
}

impl Tasks {
    /// Lets each run as far as it gets.
    fn run(&self) {
        let mut tasks = std::mem::take(&mut lock(&self.0).0);
        for _ in 0..3 {
            tasks.retain_mut(|task| task.now_or_never().is_none());
        }
        lock(&self.0).0.extend(tasks);
    }

    fn count(&self) -> usize {
        lock(&self.0).0.len()
    }
}

struct World {
    background: BackgroundProcesses,
    tasks: Tasks,
    clock: ManualClock,
    alive: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn world(limits: BackgroundLimits) -> World {
    let (clock, alive, tasks) = (ManualClock::default(), Arc::new(AtomicUsize::new(0)), Tasks::default());
    let count = Arc::clone(&alive);
    let process = MemoryProcess::new(Arc::new(clock.clone()))
        .program("cat", move |mut context| {
            count.fetch_add(1, Ordering::SeqCst);
            let alive = Alive(Arc::clone(&count));
            async move {
                let _alive = alive;
                while let Some(piece) = context.stdin.read().await {
                    context.stdout.write(piece).await;
                }
                context.stderr.write("end").await;
                0
            }
        })
        .program("fail", |_| async { 3 })
        .program("yes", |context| async move {
            loop {
                context.stdout.write(vec![b'y'; 32 << 10]).await;
            }
        });
    let background =
        BackgroundProcesses::new(Arc::new(process), Arc::new(clock.clone()), Arc::new(tasks.clone()))
            .with_limits(limits);
    World { background, tasks, clock, alive }
}

fn cat() -> ExecRequest {
    ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped)
}

fn fails() -> ExecRequest {
    ExecRequest::program("fail", ["with", "arguments"])
}

#[test]
fn a_command_goes_on_by_itself_and_is_read_by_cursor() {
    let World { background, tasks, clock, .. } = world(BackgroundLimits::default());
    block_on(async {
        let id = background.start(cat()).await.unwrap();
        background.write_stdin(&id, "one".into()).await.unwrap();
        tasks.run();
        let first = background.read(&id, LogCursor::START, 100).unwrap();
        assert_eq!((first.of(OutputStream::Stdout), first.status), (b"one".to_vec(), None));
        background.write_stdin(&id, "two".into()).await.unwrap();
        background.close_stdin(&id).await.unwrap();
        clock.advance(Duration::from_secs(7));
        assert!(background.wait(&id).now_or_never().is_none());
        tasks.run();
        let second = background.read(&id, first.next, 100).unwrap();
        assert_eq!(second.of(OutputStream::Stdout), b"two");
        assert_eq!(second.of(OutputStream::Stderr), b"end");
        assert_eq!(second.status, Some(ExitStatus::Code(0)));
        assert_eq!(background.wait(&id).await.unwrap(), ExitStatus::Code(0));
        assert_eq!(tasks.count(), 0);
        let error = background.write_stdin(&id, "x".into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        for ended in [background.kill(&id).await, background.close_stdin(&id).await] {
            ended.unwrap();
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let status = background.status(&id).unwrap();
        assert_eq!(status.started, SystemTime::UNIX_EPOCH);
        assert_eq!(status.state, BackgroundState::Ended { status: ExitStatus::Code(0), at });
    });
}

#[test]
fn followers_come_and_go_and_each_sees_everything() {
    let World { background, tasks, .. } = world(BackgroundLimits::default());
    block_on(async {
        let id = background.start(cat()).await.unwrap();
        let mut early = background.follow(&id, LogCursor::START).unwrap();
        assert!(early.next().now_or_never().is_none());
        background.write_stdin(&id, "one".into()).await.unwrap();
        tasks.run();
        assert_eq!(early.next().await.unwrap().of(OutputStream::Stdout), b"one");
        let mut late = background.follow(&id, LogCursor::START).unwrap();
        assert_eq!(late.next().await.unwrap().of(OutputStream::Stdout), b"one");
        assert!(late.next().now_or_never().is_none());
        drop(late);
        background.close_stdin(&id).await.unwrap();
        tasks.run();
        let last = early.next().await.unwrap();
        assert_eq!(
            (last.of(OutputStream::Stderr), last.status),
            (b"end".to_vec(), Some(ExitStatus::Code(0)))
        );
        assert!(early.next().await.is_none());
    });
}

#[test]
fn a_log_that_runs_over_says_how_much_is_lost() {
    let World { background, tasks, .. } = world(BackgroundLimits::default().with_log_bytes(10));
    block_on(async {
        let id = background.start(ExecRequest::program("yes", [""; 0])).await.unwrap();
        tasks.run();
        let page = background.read(&id, LogCursor::START, 100).unwrap();
        let status = background.status(&id).unwrap();
        assert_eq!(page.of(OutputStream::Stdout), b"yyyyyyyyyy");
        assert_eq!(page.lost, status.log_start.offset());
        assert_eq!(page.next, status.log_end);
        assert!(page.lost > 0);
        background.kill(&id).await.unwrap();
        tasks.run();
        assert_eq!(background.wait(&id).await.unwrap(), ExitStatus::Killed);
    });
}

#[test]
fn so_many_run_and_so_many_are_kept() {
    let World { background, tasks, .. } = world(BackgroundLimits::default().with_running(2).with_ended(2));
    block_on(async {
        let first = background.start(cat()).await.unwrap();
        let second = background.start(cat()).await.unwrap();
        assert_ne!(first, second);
        let refused = background.start(cat()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        assert_eq!(background.remove(&second).unwrap_err().kind(), ErrorKind::Busy);
        background.kill(&second).await.unwrap();
        tasks.run();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(background.start(fails()).await.unwrap());
            tasks.run();
        }
        let list = background.list();
        let listed: Vec<_> = list.iter().map(|status| status.id.clone()).collect();
        assert_eq!(listed, [first.clone(), ids[2].clone(), ids[3].clone()]);
        assert_eq!(list[0].state, BackgroundState::Running);
        assert_eq!(list[1].state.status(), Some(ExitStatus::Code(3)));
        assert_eq!(list[1].command, "fail with arguments");
        assert_eq!(background.status(&second).unwrap_err().kind(), ErrorKind::NotFound);
        background.remove(&ids[3]).unwrap();
        assert_eq!(background.read(&ids[3], LogCursor::START, 1).unwrap_err().kind(), ErrorKind::NotFound);
        // A start that fails gives its place back.
        let nul = ExecRequest::program("a\0", [""; 0]);
        assert_eq!(background.start(nul).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        background.start(cat()).await.unwrap();
    });
}

#[test]
fn dropping_it_ends_all_and_tells_those_who_follow() {
    let World { background, tasks, alive, .. } = world(BackgroundLimits::default());
    block_on(async {
        let id = background.start(cat()).await.unwrap();
        background.start(cat()).await.unwrap();
        background.write_stdin(&id, "one".into()).await.unwrap();
        tasks.run();
        let follower = background.follow(&id, LogCursor::START).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 2);
        drop(background);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        let pages: Vec<LogPage> = follower.collect().await;
        let last = pages.last().unwrap();
        assert_eq!((last.of(OutputStream::Stdout), last.status), (b"one".to_vec(), Some(ExitStatus::Killed)));
        tasks.run();
        assert_eq!(tasks.count(), 0);
    });
}

#[test]
fn a_host_that_ends_its_tasks_ends_the_commands() {
    let World { background, tasks, alive, .. } = world(BackgroundLimits::default());
    let id = block_on(background.start(cat())).unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    lock(&tasks.0).0.clear();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(block_on(background.wait(&id)).unwrap(), ExitStatus::Killed);
}

#[test]
fn waiters_that_are_dropped_are_forgotten() {
    let World { background, .. } = world(BackgroundLimits::default());
    let id = block_on(background.start(cat())).unwrap();
    let entry = background.entry("test", &id).unwrap();
    for _ in 0..10 {
        assert!(background.wait(&id).now_or_never().is_none());
    }
    assert_eq!(entry.waiters(), 0);
}

/// With room for four of its pieces, two of which fill it by half.
fn patient() -> BackgroundLimits {
    BackgroundLimits::default().with_log_bytes(128 << 10).with_patience(Duration::from_secs(9))
}

#[test]
fn a_command_waits_for_those_who_follow_it_and_they_miss_nothing() {
    let World { background, tasks, .. } = world(patient());
    block_on(async {
        let id = background.start(ExecRequest::program("yes", [""; 0])).await.unwrap();
        let end = || {
            tasks.run();
            background.status(&id).unwrap().log_end.offset()
        };
        assert_eq!(end(), 64 << 10, "it waits for the first to follow");
        let mut pages = background.follow(&id, LogCursor::START).unwrap();
        let mut read = 0;
        while read < 1 << 20 {
            let Some(page) = pages.next().now_or_never() else {
                assert!(end() > read, "it goes on once all was read");
                continue;
            };
            let page = page.unwrap();
            assert_eq!(page.lost, 0);
            read = page.next.offset();
            assert!(end() <= read + (64 << 10), "it is not further ahead than it may be");
        }
        drop(pages);
        assert!(end() > read + (128 << 10), "nobody follows it any more");
    });
}

#[test]
fn a_command_waits_no_longer_than_its_patience() {
    let World { background, tasks, clock, .. } = world(patient());
    block_on(async {
        let id = background.start(ExecRequest::program("yes", [""; 0])).await.unwrap();
        let end = || {
            tasks.run();
            background.status(&id).unwrap().log_end.offset()
        };
        assert_eq!(end(), 64 << 10);
        clock.advance(Duration::from_secs(9));
        assert!(end() > 128 << 10, "nobody came");
        let mut pages = background.follow(&id, LogCursor::START).unwrap();
        assert!(pages.next().await.unwrap().lost > 0, "who comes too late is told so");
        let waits = end();
        assert_eq!(end(), waits);
        clock.advance(Duration::from_secs(9));
        assert!(end() > waits, "who stands still is not waited for");
        background.kill(&id).await.unwrap();
        tasks.run();
        assert_eq!(background.wait(&id).await.unwrap(), ExitStatus::Killed);
    });
}
