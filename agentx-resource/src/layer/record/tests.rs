use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    executor::block_on,
    future::{self, join},
};

use super::*;
use crate::{
    ApiSupply, Clock, Error, ErrorKind, ExecEvent, ExecRequest, FileSystemExt, ListOptions, MkdirOptions,
    ProcessExt, ReadOptions, RemoveOptions, ResourcePath, Secret, StatOptions, Stdin, TransferOptions,
    WriteOptions,
    cassette::{CassetteMode, CassetteOptions, Divergence},
    memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryLlmProvider, MemoryProcess},
};

const KEY: &str = "sk-planted-0123456789";

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

/// Where a cassette lies, and how it is opened.
#[derive(Clone)]
struct Store(Arc<dyn FileSystem>);

impl Store {
    fn new() -> Self {
        Self(Arc::new(MemoryFileSystem::new()))
    }

    async fn open(&self, options: CassetteOptions) -> Result<Cassette> {
        Cassette::open(self.0.clone(), path("/run.jsonl"), options).await
    }

    async fn record(&self) -> Cassette {
        let options = CassetteOptions::new(CassetteMode::Record).with_secrets([Secret::new(KEY)]);
        self.open(options).await.unwrap()
    }

    async fn replay(&self) -> Result<Cassette> {
        self.open(CassetteOptions::new(CassetteMode::Replay)).await
    }

    async fn text(&self) -> String {
        self.0.read_to_string(&path("/run.jsonl")).await.unwrap()
    }

    async fn put(&self, text: &str) {
        self.0.write_file(&path("/run.jsonl"), text.to_owned()).await.unwrap();
    }
}

/// All kinds of resources, live.
struct World {
    files: Arc<dyn FileSystem>,
    process: Arc<dyn Process>,
    env: Arc<dyn Env>,
    supply: Arc<dyn LLMProvider<ApiSupply>>,
}

impl World {
    async fn live() -> Self {
        let files = Arc::new(MemoryFileSystem::new());
        files.write_file(&path("/a.txt"), "one").await.unwrap();
        files.write_file(&path("/b.bin"), Bytes::from_static(b"\xff\x00")).await.unwrap();
        let process = MemoryProcess::new(Arc::new(ManualClock::default()))
            .with_file_system(files.clone())
            .shell(|context| async move {
                context.stdout.write("the key is sk-plan").await;
                context.stdout.write("ted-0123456789\n").await;
                context.stderr.write(Bytes::from_static(b"\xfe")).await;
                3
            })
            .program("cat", |mut context| async move {
                while let Some(piece) = context.stdin.read().await {
                    context.stdout.write(piece).await;
                }
                0
            });
        Self {
            files,
            process: Arc::new(process),
            env: Arc::new(MemoryEnv::new([("PLAIN", "yes"), ("SECRET", "hunter2-hunter2")]).unwrap()),
            supply: Arc::new(MemoryLlmProvider::new("fixed", ApiSupply::new(KEY))),
        }
    }

    /// The same resources on a cassette.
    async fn on(cassette: &Cassette) -> Self {
        let live = if cassette.is_replay() { None } else { Some(Self::live().await) };
        let live = live.as_ref();
        let recorded = Recorded::new(cassette, "world").with_variables(["PLAIN"]);
        Self {
            files: recorded.file_system(|| Ok(live.unwrap().files.clone())).unwrap(),
            process: recorded.process(|| Ok(live.unwrap().process.clone())).unwrap(),
            env: recorded.env(|| Ok(live.unwrap().env.clone())).unwrap(),
            supply: recorded
                .llm_provider(|| ApiSupply::new("none"), || Ok(live.unwrap().supply.clone()))
                .unwrap(),
        }
    }

    /// Everything that a program can ask, and what it was answered, but for secrets.
    async fn ask_everything(&self) -> Vec<String> {
        let mut heard = vec![format!("{:?} {:?}", self.files.capabilities(), self.process.capabilities())];
        let mut hear = |what: String| heard.push(what);
        let fs = &self.files;
        let read = fs.read(&path("/b.bin"), ReadOptions::default().with_range(0..2)).await.unwrap();
        hear(format!("{read:?}"));
        hear(format!("{:?}", read.body.collect::<Vec<_>>().await));
        hear(format!("{:?}", fs.read(&path("/none"), ReadOptions::default()).await.unwrap_err()));
        hear(format!("{:?}", fs.write_file(&path("/c.txt"), "three").await));
        let mut writer = fs.writer(&path("/d.txt"), WriteOptions::default()).await.unwrap();
        writer.write(Bytes::from_static(b"fo")).await.unwrap();
        writer.write(Bytes::from_static(b"ur")).await.unwrap();
        hear(format!("{:?}", writer.close().await));
        let writer = fs.writer(&path("/e.txt"), WriteOptions::default()).await.unwrap();
        writer.abort().await.unwrap();
        hear(format!("{:?}", fs.list(&path("/"), ListOptions::recursive()).collect::<Vec<_>>().await));
        fs.rename(&path("/c.txt"), &path("/f.txt"), TransferOptions::default()).await.unwrap();
        fs.copy(&path("/f.txt"), &path("/g.txt"), TransferOptions::default()).await.unwrap();
        fs.mkdir(&path("/dir"), MkdirOptions::default()).await.unwrap();
        hear(format!("{:?}", fs.mkdir(&path("/dir"), MkdirOptions::default()).await));
        fs.rm(&path("/dir"), RemoveOptions::default()).await.unwrap();
        hear(format!("{:?}", fs.stat(&path("/g.txt"), StatOptions::default()).await));

        let child =
            self.process.spawn(ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Piped)).await.unwrap();
        hear(child.id().to_owned());
        child.write_stdin(Bytes::from_static(b"echo")).await.unwrap();
        hear(format!("{:?}", child.next_event().await));
        child.close_stdin().await.unwrap();
        while let Some(event) = child.next_event().await.unwrap() {
            hear(format!("{event:?}"));
        }
        hear(format!("{:?}", self.env.get("PLAIN").await));
        hear(format!("{:?}", self.env.get("NONE").await));
        hear(format!("{:?}", self.env.get_all().await.unwrap().into_keys().collect::<Vec<_>>()));
        self.supply.provide().await.unwrap();
        heard
    }
}

#[test]
fn everything_that_was_answered_is_answered_again() {
    block_on(async {
        let store = Store::new();
        let record = store.record().await;
        let heard = World::on(&record).await.ask_everything().await;
        assert_eq!(heard, World::live().await.ask_everything().await, "a layer changes nothing");
        record.finish().await.unwrap();
        let replay = store.replay().await.unwrap();
        assert_eq!(World::on(&replay).await.ask_everything().await, heard);
        replay.finish().await.unwrap();
    });
}

#[test]
fn no_secret_is_written_and_chunks_keep_their_borders() {
    block_on(async {
        let store = Store::new();
        let record = store.record().await;
        let world = World::on(&record).await;
        let request = || ExecRequest::shell(format!("echo {KEY}")).with_env("TOKEN", "another-secret");
        let events = |child: Box<dyn crate::Child>| async move {
            let mut events = Vec::new();
            while let Some(event) = child.next_event().await.unwrap() {
                events.push(event);
            }
            events
        };
        let live = events(world.process.spawn(request()).await.unwrap()).await;
        assert_eq!(world.env.get("SECRET").await.unwrap().unwrap(), "hunter2-hunter2");
        assert_eq!(world.supply.provide().await.unwrap().key.expose(), KEY);
        record.finish().await.unwrap();

        let text = store.text().await;
        for secret in [KEY, "sk-plan", "ted-0123456789", "hunter2", "another-secret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        let options = CassetteOptions::new(CassetteMode::Replay).with_secrets([Secret::new(KEY)]);
        let world = World::on(&store.open(options).await.unwrap()).await;
        let replayed = events(world.process.spawn(request()).await.unwrap()).await;
        assert_eq!(replayed.len(), live.len());
        assert_eq!(replayed[0], ExecEvent::Stdout(Bytes::from_static(b"the key is [redacted]")));
        assert_eq!(replayed[1], ExecEvent::Stdout(Bytes::from_static(b"\n")));
        assert_eq!(replayed[2..], live[2..]);
        assert_eq!(world.env.get("SECRET").await.unwrap().unwrap(), "[withheld]");
        assert_eq!(world.supply.provide().await.unwrap().key.expose(), "none");
    });
}

/// Reads `/a.txt`, runs a command and looks at the time; what is asked can be changed.
async fn steps(cassette: &Cassette, file: &str, command: &str, swapped: bool) -> Result<()> {
    let world = World::on(cassette).await;
    if !swapped {
        world.files.read_to_string(&path(file)).await?;
    }
    world.process.exec(ExecRequest::shell(command)).await?;
    if swapped {
        world.files.read_to_string(&path(file)).await?;
    }
    cassette.now(|| SystemTime::UNIX_EPOCH)?;
    cassette.finish().await
}

fn divergence(error: &Error) -> Divergence {
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    Divergence::of(error).unwrap().clone()
}

#[test]
fn a_divergence_says_where_and_what() {
    block_on(async {
        let store = Store::new();
        steps(&store.record().await, "/a.txt", "make", false).await.unwrap();
        let replay = || async { store.replay().await.unwrap() };
        steps(&replay().await, "/a.txt", "make", false).await.unwrap();

        let other = divergence(&steps(&replay().await, "/b.bin", "make", false).await.unwrap_err());
        let difference = other.difference.unwrap();
        assert_eq!((other.event, other.line), (3, 4));
        assert_eq!((&*difference.field, &*difference.expected), ("path", r#""/a.txt""#));
        assert_eq!((&*difference.came, other.hint), (r#""/b.bin""#, "another file is meant"));

        let other = divergence(&steps(&replay().await, "/a.txt", "make test", false).await.unwrap_err());
        assert_eq!(other.difference.unwrap().field, "script");
        assert_eq!(other.hint, "another command is run");

        let other = divergence(&steps(&replay().await, "/a.txt", "make", true).await.unwrap_err());
        assert_eq!((other.event, &other.difference), (3, &None));
        assert!(other.expected.starts_with("fs.read of \"world\""), "{other}");
        assert!(other.came.starts_with("process.spawn of \"world\""), "{other}");

        // What comes later is refused as well, with the first divergence.
        let cassette = replay().await;
        steps(&cassette, "/b.bin", "make", false).await.unwrap_err();
        let later = cassette.now(|| unreachable!()).unwrap_err();
        assert_eq!(divergence(&later).event, 3);
        assert_eq!(divergence(&cassette.problem().unwrap()).event, 3);

        // Too little, and too much.
        let cassette = replay().await;
        assert_eq!(divergence(&cassette.finish().await.unwrap_err()).event, 3);
        let cassette = replay().await;
        steps(&cassette, "/a.txt", "make", false).await.unwrap();
        let over = divergence(&cassette.now(|| unreachable!()).unwrap_err());
        assert_eq!((&*over.expected, &*over.came), ("the end", "clock.now"));
        assert!(Recorded::new(&replay().await, "other").file_system(|| unreachable!()).is_err());
    });
}

#[test]
fn a_cassette_that_was_cut_off_anywhere_is_told_as_such() {
    block_on(async {
        let store = Store::new();
        steps(&store.record().await, "/a.txt", "make", false).await.unwrap();
        let whole = store.text().await;
        for cut in 0..whole.len() {
            if !whole.is_char_boundary(cut) {
                continue;
            }
            store.put(&whole[..cut]).await;
            let cassette = store.replay().await.unwrap();
            let recorded = Recorded::new(&cassette, "world");
            let known =
                recorded.file_system(|| unreachable!()).and_then(|_| recorded.process(|| unreachable!()));
            let error = match known {
                Ok(_) => steps(&cassette, "/a.txt", "make", false).await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {cut}: {error}");
            let events =
                whole[..cut].lines().count().saturating_sub(2 - usize::from(whole[..cut].ends_with('\n')));
            assert!(error.message().contains(&format!("behind event {events}:")), "cut at {cut}: {error}");
        }
    });
}

#[test]
fn a_broken_line_is_told_by_its_number() {
    block_on(async {
        let store = Store::new();
        steps(&store.record().await, "/a.txt", "make", false).await.unwrap();
        let whole = store.text().await;
        let lines: Vec<&str> = whole.lines().collect();
        for broken in 0..lines.len() {
            for instead in ["", "{", "[]", "{\"n\":0}", "{\"n\":1,\"of\":9,\"over\":true}", "\u{0}"] {
                let mut lines = lines.clone();
                lines[broken] = instead;
                store.put(&(lines.join("\n") + "\n")).await;
                let error = store.replay().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.message().starts_with(&format!("line {}:", broken + 1)), "{error}");
            }
            if broken + 1 < lines.len() {
                let mut lines = lines.clone();
                lines.remove(broken);
                store.put(&(lines.join("\n") + "\n")).await;
                let error = store.replay().await.unwrap_err();
                assert!(error.message().starts_with(&format!("line {}:", broken + 1)), "{error}");
            }
        }
        store.put(&whole.replacen("{\"cassette\":1}", "{\"cassette\":2,\"more\":true}", 1)).await;
        assert_eq!(store.replay().await.unwrap_err().kind(), ErrorKind::Unsupported);
        store.0.write_file(&path("/run.jsonl"), Bytes::from_static(b"{\"cassette\":1}\n\xff")).await.unwrap();
        let error = store.replay().await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "line 2: it is not UTF-8"));
    });
}

/// An answer that is no such answer is told by its line too.
#[test]
fn an_answer_of_another_kind_is_told_by_its_line() {
    block_on(async {
        let store = Store::new();
        let record = store.record().await;
        World::on(&record).await.ask_everything().await;
        record.finish().await.unwrap();
        let whole = store.text().await;
        let line = whole.lines().position(|line| line.contains("\"metadata\"")).unwrap() + 1;
        store.put(&whole.replacen("\"kind\":\"file\"", "\"kind\":\"files\"", 1)).await;
        let files = World::on(&store.replay().await.unwrap()).await.files;
        let error = files.read(&path("/b.bin"), ReadOptions::default().with_range(0..2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().starts_with(&format!("line {line}:")), "{error}");
    });
}

/// A world in which the second of two questions is answered first.
#[test]
fn what_runs_at_the_same_time_ends_in_the_recorded_order() {
    block_on(async {
        let (store, clock) = (Store::new(), ManualClock::default());
        let program = |cassette: Cassette, clock: Option<ManualClock>| async move {
            let order = Arc::new(Mutex::new(Vec::new()));
            let wait = |name: &'static str, seconds: u64| {
                let (order, cassette, clock) = (order.clone(), cassette.clone(), clock.clone());
                async move {
                    let call = cassette.call("test.wait", name, seconds.into()).await.unwrap();
                    let live = async {
                        clock.unwrap().sleep(Duration::from_secs(seconds)).await;
                        Ok(())
                    };
                    call.answer(live).await.unwrap();
                    order.lock().unwrap().push(name);
                }
            };
            let both = join(wait("slow", 2), wait("fast", 1));
            let time = async {
                for _ in 0..2 {
                    let Some(clock) = &clock else { return };
                    while clock.sleepers() == 0 {
                        yields().await;
                    }
                    clock.advance(Duration::from_secs(1));
                    yields().await;
                }
            };
            join(both, time).await;
            cassette.finish().await.unwrap();
            order.lock().unwrap().clone()
        };
        assert_eq!(program(store.record().await, Some(clock)).await, ["fast", "slow"]);
        assert_eq!(program(store.replay().await.unwrap(), None).await, ["fast", "slow"]);
    });
}

/// Lets others go on.
async fn yields() {
    let mut first = true;
    future::poll_fn(|context| {
        if std::mem::take(&mut first) {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn relaxed_order_lets_a_question_wait_until_it_is_the_next() {
    block_on(async {
        let store = Store::new();
        let ask = |cassette: Cassette, name: &'static str| async move {
            let call = cassette.call("test.ask", name, Value::Null).await?;
            call.answer(async { Ok(name.to_owned()) }).await
        };
        let record = store.record().await;
        for name in ["first", "second"] {
            ask(record.clone(), name).await.unwrap();
        }
        record.finish().await.unwrap();

        let exact = store.replay().await.unwrap();
        divergence(&ask(exact, "second").await.unwrap_err());
        let options = CassetteOptions::new(CassetteMode::Replay).with_relaxed_order();
        let relaxed = store.open(options.clone()).await.unwrap();
        let (second, first) = join(ask(relaxed.clone(), "second"), ask(relaxed.clone(), "first")).await;
        assert_eq!((first.unwrap(), second.unwrap()), ("first".to_owned(), "second".to_owned()));
        relaxed.finish().await.unwrap();

        // A wait that was given up leaves its place to the next.
        let relaxed = store.open(options.clone()).await.unwrap();
        assert!(ask(relaxed.clone(), "second").now_or_never().is_none());
        assert_eq!(ask(relaxed.clone(), "first").await.unwrap(), "first");
        assert_eq!(ask(relaxed, "second").await.unwrap(), "second");

        // Nobody asks for the first: it is told, instead of waiting for ever.
        let clock = ManualClock::default();
        let options = options.with_patience(Arc::new(clock.clone()), Duration::from_secs(5));
        let relaxed = store.open(options).await.unwrap();
        let time = async {
            while clock.sleepers() == 0 {
                yields().await;
            }
            clock.advance(Duration::from_secs(5));
        };
        let (stuck, ()) = join(ask(relaxed, "second"), time).await;
        let stuck = divergence(&stuck.unwrap_err());
        assert!(stuck.event == 1 && stuck.hint.contains("waits for something else"), "{stuck}");
    });
}

#[test]
fn waits_end_and_marks_come_where_they_did() {
    block_on(async {
        let store = Store::new();
        let program = |cassette: Cassette| async move {
            let second = Duration::from_secs(1);
            let never = cassette.sleep(second, || future::pending().boxed());
            cassette.sleep(second, || future::ready(()).boxed()).await;
            assert!(never.now_or_never().is_none());
            cassette.mark("now").await.unwrap();
            cassette.finish().await.unwrap();
        };
        program(store.record().await).await;
        program(store.replay().await.unwrap()).await;
        let replay = store.replay().await.unwrap();
        assert!(replay.mark("now").now_or_never().is_none(), "the wait comes first");
        divergence(&replay.mark("never").await.unwrap_err());
    });
}

#[test]
fn a_recording_is_there_once_bounded_and_readable_when_it_was_not_finished() {
    block_on(async {
        let store = Store::new();
        let once = CassetteOptions::new(CassetteMode::RecordOnce);
        assert_eq!(store.replay().await.unwrap_err().kind(), ErrorKind::NotFound);
        let record = store.open(once.clone()).await.unwrap();
        assert!(!record.is_replay());
        World::on(&record).await.files.read_to_string(&path("/a.txt")).await.unwrap();
        drop(record);
        let replay = store.open(once).await.unwrap();
        let files = Recorded::new(&replay, "world").file_system(|| unreachable!()).unwrap();
        // The last lines were not written any more.
        let error = files.read_to_string(&path("/a.txt")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated);

        let options = CassetteOptions::new(CassetteMode::Record).with_max_bytes(1000);
        let record = store.open(options).await.unwrap();
        World::on(&record).await.ask_everything().await;
        assert_eq!(record.finish().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert!(store.text().await.len() <= 1000);
        assert_eq!(store.replay().await.unwrap().finish().await.unwrap_err().kind(), ErrorKind::Diverged);
        let options = CassetteOptions::new(CassetteMode::Replay).with_max_bytes(10);
        assert_eq!(store.open(options).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    });
}

#[test]
fn a_store_that_fails_is_told_at_the_end() {
    block_on(async {
        let store = Store(Arc::new(MemoryFileSystem::new()));
        let record = store.record().await;
        store.0.rm(&path("/run.jsonl"), RemoveOptions::default()).await.unwrap();
        store.0.mkdir(&path("/run.jsonl"), MkdirOptions::default()).await.unwrap();
        let heard: BTreeMap<_, _> = World::on(&record).await.env.get_all().await.unwrap();
        assert_eq!(heard.len(), 2, "the program goes on");
        World::on(&record).await.env.get_all().await.unwrap();
        assert_eq!(record.finish().await.unwrap_err().kind(), ErrorKind::IsADirectory);
    });
}
