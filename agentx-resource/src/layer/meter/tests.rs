use std::time::Duration;

use futures::{FutureExt, executor::block_on};

use super::*;
use crate::{
    ApiSupply, ExecRequest, FileSystemExt, ProcessExt, ReadOptions, ResourcePath, Stdin, WriteMode,
    WriteOptions,
    memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryLlmProvider, MemoryProcess},
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

fn meter() -> (Meter, ManualClock) {
    let clock = ManualClock::default();
    (Meter::new(Arc::new(clock.clone())), clock)
}

#[test]
fn bodies_and_writers_count_as_they_flow() {
    let (meter, _) = meter();
    let fs = meter.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
    block_on(async {
        let mut writer = fs.writer(&path("/a"), WriteOptions::default()).await.unwrap();
        writer.write("hel".into()).await.unwrap();
        assert_eq!(meter.snapshot().write.bytes_sent, 3);
        writer.write("lo".into()).await.unwrap();
        writer.close().await.unwrap();
        let read = fs.read(&path("/a"), ReadOptions::default().with_range(1..4)).await.unwrap();
        assert_eq!(meter.snapshot().read.bytes_received, 0);
        read.bytes(10).await.unwrap();
        fs.readdir(&path("/")).await.unwrap();
    });
    let counted = meter.snapshot();
    assert_eq!((counted.write.operations, counted.write.bytes_sent), (1, 5));
    assert_eq!((counted.read.operations, counted.read.bytes_received), (1, 3));
    assert_eq!((counted.total().operations, counted.total().errors), (3, 0));
}

#[test]
fn an_operation_that_fails_counts_one_error() {
    let (meter, _) = meter();
    let fs = meter.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
    block_on(async {
        fs.read_file(&path("/a")).await.unwrap_err();
        fs.readdir(&path("/a")).await.unwrap_err();
        let late = fs.writer(&path("/a"), WriteMode::CreateNew.into()).await.unwrap();
        fs.write_file(&path("/a"), "x").await.unwrap();
        late.close().await.unwrap_err();
    });
    let counted = meter.snapshot();
    assert_eq!((counted.read.errors, counted.list.errors, counted.write.errors), (1, 1, 1));
    assert_eq!((counted.write.operations, counted.write.bytes_sent), (2, 1));
}

#[test]
fn time_counts_while_the_resource_is_awaited_also_in_vain() {
    let (meter, clock) = meter();
    let inner = MemoryProcess::new(Arc::new(clock.clone())).program("hang", |_| std::future::pending());
    let process = meter.layer(Arc::new(inner) as Arc<dyn Process>);
    let mut run = Box::pin(process.exec(ExecRequest::program("hang", [""; 0])));
    assert!((&mut run).now_or_never().is_none());
    clock.advance(Duration::from_secs(3));
    drop(run);
    clock.advance(Duration::from_secs(5));
    assert_eq!(meter.snapshot().spawn.waited, Duration::from_secs(3));
}

#[test]
fn one_meter_counts_resources_of_all_kinds() {
    let (meter, clock) = meter();
    let inner = MemoryProcess::new(Arc::new(clock)).program("cat", |mut context| async move {
        while let Some(piece) = context.stdin.read().await {
            context.stdout.write(piece).await;
        }
        0
    });
    let process = meter.layer(Arc::new(inner) as Arc<dyn Process>);
    let env = meter.layer(Arc::new(MemoryEnv::new([("K", "v")]).unwrap()) as Arc<dyn Env>);
    let llm = MemoryLlmProvider::new("fixed", ApiSupply::new("key"));
    let llm = meter.layer(Arc::new(llm) as Arc<dyn LLMProvider<ApiSupply>>);
    block_on(async {
        let child =
            process.spawn(ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped)).await.unwrap();
        child.write_stdin("four".into()).await.unwrap();
        child.close_stdin().await.unwrap();
        while child.next_event().await.unwrap().is_some() {}
        env.get("K").await.unwrap();
        env.get_all().await.unwrap();
        llm.provide().await.unwrap();
    });
    let counted = meter.snapshot();
    assert_eq!((counted.spawn.bytes_sent, counted.spawn.bytes_received), (4, 4));
    assert_eq!((counted.spawn.operations, counted.env.operations, counted.provide.operations), (1, 2, 1));
}
