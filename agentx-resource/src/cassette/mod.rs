//! Record and replay: what crosses the border of an agent is written down once, and answered from there ever after.
//!
//! Whatever an agent is not by itself, it gets through ports: models, files, commands, settings, the time, ids. A
//! [`Cassette`] stands between. While it **records**, each question and each answer goes through, and becomes a line of
//! text. When it **replays**, nothing goes through: each question is compared with the recorded one, and answered with
//! the recorded answer.
//!
//! # Order
//! All lines stand in one order: that in which the program saw them. A replay gives them back in this order and in no
//! other. A question, or a look at the time, must be the next line, else the replay has diverged. An answer waits until
//! all lines before it were given; so two calls that run at the same time end in the order in which they ended when they
//! were recorded, and a program that is one task (a turn with all its parallel tools is one) does the same again, to the
//! byte. Answers belong to their call by its number, so that streams may interleave as they like.
//!
//! A program of several tasks may ask in another order each time. [`CassetteOptions::with_relaxed_order`] lets a question
//! wait until it is the next, and answers each look at the time with the next recorded one. What a program does from
//! outside while a turn runs (an interrupt, an answer to an approval) is put in its place by [`Cassette::mark`].
//!
//! # The file
//! JSON lines: a header, one line for each entry with its number, and an end. Bytes that are no text are in base64. Lines
//! are appended as the program goes on; where it is killed, a readable beginning stays, which says by its missing end
//! that it is one. Known secrets are replaced before a line is written, also where one comes in pieces.

mod codec;
mod divergence;
mod entry;
mod options;
mod pieces;
mod player;
mod recorder;
mod redact;

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{
    FutureExt,
    future::{self, Either},
};
use serde_json::Value;

pub use self::{
    codec::Recordable,
    divergence::{Difference, Divergence},
    options::{CassetteMode, CassetteOptions},
};
use self::{
    entry::{Answer, Entry},
    player::Player,
    recorder::Recorder,
};
use crate::{BoxFuture, Clock, Error, ErrorKind, FileSystem, ResourcePath, Result};

/// What a program asked of the world, and what it was answered. Cheap to clone; all clones are the same cassette.
///
/// The wrappers of [`layer::Recorded`](crate::layer::Recorded) use it for resources; whoever has a port of their own
/// wraps it with [`Cassette::call`].
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, ResourcePath, memory::MemoryFileSystem};
/// use agentx_resource::{cassette::{Cassette, CassetteMode, CassetteOptions}, layer::Recorded};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let store: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
/// let place = ResourcePath::new("/notes.jsonl")?;
/// let note = ResourcePath::new("/note.md")?;
///
/// let record = Cassette::open(store.clone(), place.clone(), CassetteOptions::new(CassetteMode::Record)).await?;
/// let files: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
/// files.write_file(&note, "buy milk").await?;
/// let recorded = Recorded::new(&record, "notes").file_system(|| Ok(files))?;
/// assert_eq!(recorded.read_to_string(&note).await?, "buy milk");
/// record.finish().await?;
///
/// // There are no files any more, and nobody notices.
/// let replay = Cassette::open(store, place, CassetteOptions::new(CassetteMode::Replay)).await?;
/// let replayed = Recorded::new(&replay, "notes").file_system(|| unreachable!())?;
/// assert_eq!(replayed.read_to_string(&note).await?, "buy milk");
/// replay.finish().await?;
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Cassette(Arc<Inner>);

struct Inner {
    path: ResourcePath,
    /// What errors call it.
    shown: String,
    watch: Option<(Arc<dyn Clock>, Duration)>,
    side: Side,
}

enum Side {
    Record(Recorder),
    Replay(Mutex<Player>),
}

impl Cassette {
    /// Opens the cassette at `path` of `store`: to record anew, or to replay what is there.
    ///
    /// # Errors
    /// To record: `AlreadyExists` where somebody else began meanwhile, whatever the file system reports. To replay:
    /// `NotFound`; `Corrupt` for a line that is none of a cassette, with its number; `Unsupported` for one of a newer
    /// version; `LimitExceeded` for one that is longer than the options allow.
    pub async fn open(
        store: Arc<dyn FileSystem>,
        path: ResourcePath,
        options: CassetteOptions,
    ) -> Result<Self> {
        let found = match options.mode {
            CassetteMode::Record => None,
            CassetteMode::Replay => Some(options.read(&*store, &path).await?),
            CassetteMode::RecordOnce => match options.read(&*store, &path).await {
                Ok(text) => Some(text),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            },
        };
        let (watch, shown) = (options.watch.clone(), options.shown(&path));
        let side = match found {
            None => Side::Record(Recorder::begin(store, path.clone(), &options).await?),
            Some(text) => {
                let (entries, whole) = entry::parse(&text).map_err(|error| error.with_path(&shown))?;
                Side::Replay(Mutex::new(Player::new(shown.clone(), entries, whole, &options)))
            }
        };
        Ok(Self(Arc::new(Inner { path, shown, watch, side })))
    }

    /// Whether everything is answered from the cassette, and nothing goes through.
    pub fn is_replay(&self) -> bool {
        matches!(self.0.side, Side::Replay(_))
    }

    /// Where it lies in its store.
    pub fn path(&self) -> &ResourcePath {
        &self.0.path
    }

    /// Where the replay left the recording, if it has; or what kept a recording from being written.
    pub fn problem(&self) -> Option<Error> {
        match &self.0.side {
            Side::Record(recorder) => recorder.problem(),
            Side::Replay(player) => lock(player).problem(),
        }
    }

    /// Ends it. A recording is written to its end; of a replay, this is the proof that it was the whole recording.
    ///
    /// # Errors
    /// Of a recording: whatever kept it from being written, `LimitExceeded` where it became too long. Of a replay:
    /// `Diverged` where it left the recording, or where the recording goes on; `Truncated` where that has no end.
    pub async fn finish(&self) -> Result<()> {
        match &self.0.side {
            Side::Record(recorder) => recorder.finish().await,
            Side::Replay(player) => lock(player).finish(),
        }
    }

    /// What is constant over a port's life, such as what it can do. It stands outside of the order.
    ///
    /// # Errors
    /// Those of `live`; in a replay `Diverged` where there is no such port in the recording.
    pub fn constant<T: Recordable>(
        &self,
        operation: &'static str,
        on: &str,
        live: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        match &self.0.side {
            Side::Record(recorder) => {
                let value = live()?;
                recorder.push(Entry::Constant {
                    operation: operation.to_owned(),
                    on: on.to_owned(),
                    value: value.to_record(),
                });
                Ok(value)
            }
            Side::Replay(player) => {
                let (index, value) = lock(player).constant(operation, on)?;
                T::from_record(value).map_err(|error| self.unreadable(index, &error))
            }
        }
    }

    /// What is there at once, such as the time or a new id.
    ///
    /// # Errors
    /// In a replay: `Diverged` where this is not what comes next, `Truncated` behind the end of a cut-off recording.
    pub fn value<T: Recordable>(&self, operation: &'static str, live: impl FnOnce() -> T) -> Result<T> {
        match &self.0.side {
            Side::Record(recorder) => {
                let value = live();
                recorder.push(Entry::Value { operation: operation.to_owned(), value: value.to_record() });
                Ok(value)
            }
            Side::Replay(player) => {
                let (index, value) = lock(player).value(operation)?;
                T::from_record(value).map_err(|error| self.unreadable(index, &error))
            }
        }
    }

    /// Asks the world something. The answer, or the answers, are those of the [`Call`].
    ///
    /// # Errors
    /// In a replay: `Diverged` where this is not what comes next, with the first field that is another; `Truncated` behind
    /// the end of a cut-off recording.
    pub async fn call(&self, operation: &'static str, on: &str, request: Value) -> Result<Call> {
        let number = match &self.0.side {
            Side::Record(recorder) => recorder.call(operation, on, request),
            Side::Replay(player) => {
                let index = lock(player).claim(operation, on, &request)?;
                let claim = player::Claim::new(player, index);
                self.watched(poll_fn(|context| lock(player).poll_entry(index, context))).await?;
                claim.keep()
            }
        };
        Ok(Call { cassette: self.clone(), number })
    }

    /// Waits for `duration`, as `live` does.
    pub fn sleep(
        &self,
        duration: Duration,
        live: impl FnOnce() -> BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()> {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let cassette = self.clone();
        match &self.0.side {
            Side::Record(recorder) => {
                let nth = recorder.nth_sleep(nanos);
                let live = live();
                async move {
                    live.await;
                    if let Side::Record(recorder) = &cassette.0.side {
                        recorder.push(Entry::Sleep { nanos, nth });
                    }
                }
                .boxed()
            }
            Side::Replay(player) => match lock(player).sleep(nanos) {
                Some(index) => async move {
                    let Side::Replay(player) = &cassette.0.side else { return };
                    let slept = poll_fn(|context| lock(player).poll_entry(index, context)).await;
                    if slept.is_err() {
                        // Whoever waited is told by what is asked next.
                        future::pending::<()>().await;
                    }
                }
                .boxed(),
                // It was given up when it was recorded.
                None => future::pending().boxed(),
            },
        }
    }

    /// A place in the order, by name: for what the program does from outside while a turn runs. A recording notes it; a
    /// replay waits until all that came before it has come.
    ///
    /// # Errors
    /// In a replay: `Diverged` where no such mark comes any more.
    pub async fn mark(&self, name: &str) -> Result<()> {
        match &self.0.side {
            Side::Record(recorder) => {
                recorder.flush().await;
                recorder.push(Entry::Mark { name: name.to_owned() });
                Ok(())
            }
            Side::Replay(player) => {
                let index = lock(player).mark(name)?;
                let claim = player::Claim::new(player, index);
                self.watched(poll_fn(|context| lock(player).poll_entry(index, context))).await?;
                claim.keep();
                Ok(())
            }
        }
    }

    /// Bounds a wait for what the program itself must do first.
    async fn watched<T>(&self, wait: impl Future<Output = Result<T>>) -> Result<T> {
        let (Some((clock, patience)), Side::Replay(player)) = (&self.0.watch, &self.0.side) else {
            return wait.await;
        };
        let mut wait = std::pin::pin!(wait);
        loop {
            let before = lock(player).head();
            match future::select(&mut wait, clock.sleep(*patience)).await {
                Either::Left((done, _)) => return done,
                Either::Right(_) => {
                    let mut player = lock(player);
                    if player.head() == before {
                        player.stuck(*patience);
                    }
                }
            }
        }
    }

    fn unreadable(&self, index: usize, error: &Error) -> Error {
        entry::corrupt(index + entry::HEADER_LINES + 1, error.message()).with_path(&self.0.shown)
    }
}

/// The wrapped time.
impl Cassette {
    /// The present moment, to the nanosecond.
    ///
    /// # Errors
    /// Those of [`Cassette::value`].
    pub fn now(&self, live: impl FnOnce() -> SystemTime) -> Result<SystemTime> {
        self.value("clock.now", live)
    }
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassette")
            .field("path", &self.0.path)
            .field("replay", &self.is_replay())
            .finish_non_exhaustive()
    }
}

/// Something that was asked.
#[derive(Debug)]
pub struct Call {
    cassette: Cassette,
    number: u64,
}

impl Call {
    /// The answer: that of `live`, which is not polled in a replay.
    ///
    /// # Errors
    /// The answer's own; in a replay also those of [`Cassette::call`], and `Corrupt` for an answer that is none.
    pub async fn answer<T: Recordable>(&self, live: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next(async { live.await.map(Some) }).await? {
            Some(answer) => Ok(answer),
            None => Err(Error::new(ErrorKind::Corrupt, "replay")
                .with_path(&self.cassette.0.shown)
                .with_message(format!("call {} has no answer, and one is needed", self.number))),
        }
    }

    /// The next of several answers; `None` behind the last.
    ///
    /// # Errors
    /// Those of [`Call::answer`].
    pub async fn next<T: Recordable>(
        &self,
        live: impl Future<Output = Result<Option<T>>>,
    ) -> Result<Option<T>> {
        match &self.cassette.0.side {
            Side::Record(recorder) => {
                // What came before is written first: nothing may stand between an answer and its line.
                recorder.flush().await;
                let next = live.await;
                let answer = match &next {
                    Ok(Some(value)) => Answer::Value(value.to_record()),
                    Ok(None) => Answer::Over,
                    Err(error) => Answer::Error(error.to_record()),
                };
                recorder.push(Entry::Answer { call: self.number, answer });
                next
            }
            Side::Replay(player) => {
                let wait = poll_fn(|context| lock(player).poll_answer(self.number, context));
                let (index, answer) = self.cassette.watched(wait).await?;
                let read = |error: Error| self.cassette.unreadable(index, &error);
                match answer {
                    Answer::Value(value) => T::from_record(value).map(Some).map_err(read),
                    Answer::Over => Ok(None),
                    Answer::Error(value) => Err(Error::from_record(value).map_err(read)?),
                }
            }
        }
    }

    /// Its number within the cassette.
    pub fn number(&self) -> u64 {
        self.number
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
