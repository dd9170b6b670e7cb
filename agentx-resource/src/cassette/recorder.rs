//! Writing a cassette.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::{FutureExt, lock::Mutex as AsyncMutex};
use serde_json::Value;

use super::{
    entry::{self, Answer, Entry},
    lock,
    options::{CassetteMode, CassetteOptions},
    pieces::Pieces,
    redact::Redactor,
};
use crate::{BoxFuture, Error, FileSystem, ResourcePath, Result, WriteMode};

/// So many lines at most wait for the next piece of what may become a secret.
const MAX_HELD: usize = 4096;

pub(super) struct Recorder {
    store: Arc<dyn FileSystem>,
    path: ResourcePath,
    options: CassetteOptions,
    redactor: Redactor,
    state: Mutex<State>,
    /// What is being written. Whoever comes next goes on with what somebody gave up: whether a dropped append took effect
    /// can't be known.
    writing: AsyncMutex<Option<BoxFuture<'static, Result<()>>>>,
}

#[derive(Default)]
struct State {
    /// How many entries there are.
    count: u64,
    calls: u64,
    bytes: u64,
    sleeps: HashMap<u64, u64>,
    /// What is not written yet, with the number of the first.
    waiting: Vec<Entry>,
    first: u64,
    pieces: Pieces,
    /// Nothing is added any more.
    ended: bool,
    /// The end is being written, or is.
    sealed: bool,
    problem: Option<Error>,
}

impl Recorder {
    pub(super) async fn begin(
        store: Arc<dyn FileSystem>,
        path: ResourcePath,
        options: &CassetteOptions,
    ) -> Result<Self> {
        let mode = match options.mode {
            CassetteMode::RecordOnce => WriteMode::CreateNew,
            _ => WriteMode::Overwrite,
        };
        let header = entry::header();
        let bytes = header.len() as u64;
        let begun = store.write(&path, Bytes::from(header), mode.into()).await;
        begun.map_err(|error| error.with_path(options.shown(&path)))?;
        Ok(Self {
            redactor: Redactor::new(&options.secrets),
            state: Mutex::new(State { bytes, first: 1, ..State::default() }),
            writing: AsyncMutex::new(None),
            options: options.clone(),
            store,
            path,
        })
    }

    pub(super) fn problem(&self) -> Option<Error> {
        lock(&self.state).problem.clone()
    }

    /// The number of a new call.
    pub(super) fn call(&self, operation: &str, on: &str, request: Value) -> u64 {
        let call = {
            let mut state = lock(&self.state);
            state.calls += 1;
            state.calls
        };
        self.push(Entry::Call { call, operation: operation.to_owned(), on: on.to_owned(), request });
        call
    }

    pub(super) fn nth_sleep(&self, nanos: u64) -> u64 {
        let mut state = lock(&self.state);
        let nth = state.sleeps.entry(nanos).or_default();
        *nth += 1;
        *nth
    }

    /// Adds an entry. What comes behind the end, or behind a problem, is not part of the recording.
    pub(super) fn push(&self, mut entry: Entry) {
        match &mut entry {
            Entry::Constant { value, .. }
            | Entry::Value { value, .. }
            | Entry::Call { request: value, .. }
            | Entry::Answer { answer: Answer::Value(value) | Answer::Error(value), .. } => {
                self.redactor.redact(value);
            }
            Entry::Mark { name } => self.redactor.redact_text(name),
            Entry::Answer { answer: Answer::Over, .. } | Entry::Sleep { .. } => {}
        }
        let mut state = lock(&self.state);
        if state.ended || state.problem.is_some() {
            return;
        }
        state.count += 1;
        let State { count, waiting, pieces, first, .. } = &mut *state;
        waiting.push(entry);
        pieces.note(*count, *first, waiting, &self.redactor);
    }

    /// The lines that can be written.
    fn batch(&self) -> Option<Bytes> {
        let mut state = lock(&self.state);
        let State { waiting, first, pieces, bytes, problem, ended, .. } = &mut *state;
        if *ended || waiting.len() > MAX_HELD {
            pieces.give_up(*first, waiting, &self.redactor);
        }
        let free = match pieces.oldest() {
            Some(held) => usize::try_from(held.saturating_sub(*first)).unwrap_or(0),
            None => waiting.len(),
        };
        let mut lines = String::new();
        for entry in waiting.drain(..free.min(waiting.len())) {
            let line = entry.line(*first);
            *first += 1;
            if *bytes + (line.len() as u64) > self.options.max_bytes {
                *problem = Some(self.options.too_long(&self.path));
                break;
            }
            *bytes += line.len() as u64;
            lines.push_str(&line);
        }
        if problem.is_some() {
            waiting.clear();
        }
        (!lines.is_empty()).then(|| Bytes::from(lines))
    }

    /// Writes what is there. What goes wrong is told when the recording is finished: the program itself goes on.
    pub(super) async fn flush(&self) {
        let mut writing = self.writing.lock().await;
        loop {
            if let Some(under_way) = &mut *writing {
                let written = under_way.await;
                *writing = None;
                if let Err(error) = written {
                    lock(&self.state).problem.get_or_insert(error);
                }
            }
            let Some(lines) = self.batch() else { return };
            *writing = Some(self.append(lines));
        }
    }

    fn append(&self, lines: Bytes) -> BoxFuture<'static, Result<()>> {
        let (store, path) = (self.store.clone(), self.path.clone());
        let shown = self.options.shown(&path);
        async move {
            let written = store.write(&path, lines, WriteMode::Append.into()).await;
            written.map(drop).map_err(|error| error.with_path(shown))
        }
        .boxed()
    }

    pub(super) async fn finish(&self) -> Result<()> {
        lock(&self.state).ended = true;
        self.flush().await;
        let mut writing = self.writing.lock().await;
        let end = {
            let mut state = lock(&self.state);
            let whole = state.problem.is_none() && !state.sealed;
            state.sealed |= whole;
            whole.then(|| entry::end(state.count))
        };
        if let Some(end) = end {
            *writing = Some(self.append(Bytes::from(end)));
        }
        drop(writing);
        self.flush().await;
        self.problem().map_or(Ok(()), Err)
    }
}
