//! Reading a cassette back, in its order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    task::{Context, Poll, Waker},
    time::Duration,
};

use serde_json::Value;

use super::{
    divergence::{self, Difference, Divergence},
    entry::{Answer, Entry, HEADER_LINES},
    lock,
    options::CassetteOptions,
    redact::Redactor,
};
use crate::{Error, ErrorKind, Result};

pub(super) struct Player {
    /// What errors call the recording.
    shown: String,
    entries: Vec<Entry>,
    /// Whether the recording has its end.
    whole: bool,
    relaxed: bool,
    redactor: Redactor,
    /// Each entry: whether it was given, or somebody waits for it.
    given: Vec<bool>,
    claimed: Vec<bool>,
    /// The first entry that was not given.
    head: usize,
    /// Where the answers to a call stand, in reverse.
    answers: HashMap<u64, Vec<usize>>,
    sleeps: HashMap<(u64, u64), usize>,
    slept: HashMap<u64, u64>,
    constants: HashMap<(String, String), Vec<usize>>,
    /// Who waits for which entry.
    wakers: BTreeMap<usize, Waker>,
    /// Who waits for an answer that was never recorded.
    unanswered: HashMap<u64, Waker>,
    problem: Option<Error>,
}

impl Player {
    pub(super) fn new(shown: String, entries: Vec<Entry>, whole: bool, options: &CassetteOptions) -> Self {
        let mut player = Self {
            shown,
            given: vec![false; entries.len()],
            claimed: vec![false; entries.len()],
            whole,
            relaxed: options.relaxed,
            redactor: Redactor::new(&options.secrets),
            head: 0,
            answers: HashMap::new(),
            sleeps: HashMap::new(),
            slept: HashMap::new(),
            constants: HashMap::new(),
            wakers: BTreeMap::new(),
            unanswered: HashMap::new(),
            problem: None,
            entries: Vec::new(),
        };
        for (index, entry) in entries.iter().enumerate().rev() {
            match entry {
                Entry::Answer { call, .. } => player.answers.entry(*call).or_default().push(index),
                Entry::Sleep { nanos, nth } => {
                    player.sleeps.insert((*nanos, *nth), index);
                }
                Entry::Constant { operation, on, .. } => {
                    let key = (operation.clone(), on.clone());
                    player.constants.entry(key).or_default().push(index);
                    player.mark_given(index);
                }
                Entry::Value { .. } | Entry::Call { .. } | Entry::Mark { .. } => {}
            }
        }
        player.entries = entries;
        player.advance();
        player
    }

    pub(super) fn problem(&self) -> Option<Error> {
        self.problem.clone()
    }

    pub(super) fn head(&self) -> usize {
        self.head
    }

    /// The constant of a port, and where it stands. The last stays for those who ask again.
    pub(super) fn constant(&mut self, operation: &str, on: &str) -> Result<(usize, Value)> {
        let found = self.constants.get_mut(&(operation.to_owned(), on.to_owned()));
        let index = match found {
            Some(places) if places.len() > 1 => places.pop(),
            Some(places) => places.last().copied(),
            None => None,
        };
        match index.and_then(|index| Some((index, self.entries.get(index)?))) {
            Some((index, Entry::Constant { value, .. })) => Ok((index, value.clone())),
            _ => Err(self.diverge(self.head, format!("{operation} of {on:?}"), None, divergence::OTHER_PORT)),
        }
    }

    /// The value that is there at once.
    pub(super) fn value(&mut self, operation: &str) -> Result<(usize, Value)> {
        self.check()?;
        let is_next = |entry: &Entry| matches!(entry, Entry::Value { operation: op, .. } if op == operation);
        let index = if self.relaxed {
            self.ahead().find(|(_, entry)| is_next(entry)).map(|(index, _)| index)
        } else {
            self.entries.get(self.head).filter(|entry| is_next(entry)).map(|_| self.head)
        };
        match index.and_then(|index| Some((index, self.entries.get(index)?))) {
            Some((index, Entry::Value { value, .. })) => {
                let value = value.clone();
                self.give(index);
                Ok((index, value))
            }
            _ => Err(self.diverge(self.head, operation.to_owned(), None, divergence::OTHER_STEP)),
        }
    }

    /// Finds the entry of a call, for its caller alone.
    pub(super) fn claim(&mut self, operation: &str, on: &str, request: &Value) -> Result<usize> {
        self.check()?;
        let mut came = request.clone();
        self.redactor.redact(&mut came);
        // As it would be read back.
        let came = serde_json::from_str(&came.to_string()).unwrap_or(came);
        let same = |entry: &Entry| {
            matches!(entry, Entry::Call { operation: op, on: port, request, .. }
                if op == operation && port == on && *request == came)
        };
        let found = if self.relaxed {
            self.ahead().find(|(_, entry)| same(entry)).map(|(index, _)| index)
        } else {
            self.entries.get(self.head).filter(|entry| same(entry)).map(|_| self.head)
        };
        if let Some(index) = found {
            if let Some(claimed) = self.claimed.get_mut(index) {
                *claimed = true;
            }
            return Ok(index);
        }
        // The call that was probably meant: the next, or in relaxed order the next of this kind.
        let alike = |entry: &Entry| matches!(entry, Entry::Call { operation: op, on: port, .. } if op == operation && port == on);
        let near = if self.relaxed { self.ahead().find(|(_, entry)| alike(entry)) } else { None };
        let near = near.map_or(self.head, |(index, _)| index);
        let shown = divergence::shown_call(operation, on, &came);
        let (difference, hint) = match self.entries.get(near) {
            Some(Entry::Call { operation: op, on: port, request, .. }) if op == operation && port == on => {
                let difference = Difference::between(request, &came);
                let hint = divergence::hint(operation, request, difference.as_ref());
                (difference, hint)
            }
            _ => (None, divergence::OTHER_STEP),
        };
        Err(self.diverge(near, shown, difference, hint))
    }

    /// The entry that a wait of this length ends with, if it ends at all.
    pub(super) fn sleep(&mut self, nanos: u64) -> Option<usize> {
        let nth = self.slept.entry(nanos).or_default();
        *nth += 1;
        self.sleeps.get(&(nanos, *nth)).copied()
    }

    /// The next mark of this name.
    pub(super) fn mark(&mut self, name: &str) -> Result<usize> {
        self.check()?;
        let found =
            self.ahead().find(|(_, entry)| matches!(entry, Entry::Mark { name: mark } if mark == name));
        match found.map(|(index, _)| index) {
            Some(index) => {
                if let Some(claimed) = self.claimed.get_mut(index) {
                    *claimed = true;
                }
                Ok(index)
            }
            None => Err(self.diverge(self.head, format!("the mark {name:?}"), None, divergence::OTHER_STEP)),
        }
    }

    /// Waits until an entry is the next, and takes it.
    pub(super) fn poll_entry(&mut self, index: usize, context: &Context<'_>) -> Poll<Result<()>> {
        self.check()?;
        if index == self.head {
            self.give(index);
            return Poll::Ready(Ok(()));
        }
        self.wakers.insert(index, context.waker().clone());
        Poll::Pending
    }

    /// Waits for the next answer to a call.
    pub(super) fn poll_answer(&mut self, call: u64, context: &Context<'_>) -> Poll<Result<(usize, Answer)>> {
        self.check()?;
        let Some(index) = self.answers.get(&call).and_then(|places| places.last().copied()) else {
            if self.head == self.entries.len() && !self.whole {
                return Poll::Ready(Err(self.cut_off()));
            }
            self.unanswered.insert(call, context.waker().clone());
            return Poll::Pending;
        };
        match self.entries.get(index) {
            Some(Entry::Answer { answer, .. }) if index == self.head => {
                let answer = answer.clone();
                self.answers.entry(call).or_default().pop();
                self.give(index);
                Poll::Ready(Ok((index, answer)))
            }
            _ => {
                self.wakers.insert(index, context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.check()?;
        if self.head < self.entries.len() {
            return Err(self.diverge(self.head, "the end".to_owned(), None, divergence::SHORTER));
        }
        if self.whole { Ok(()) } else { Err(self.cut_off()) }
    }

    /// The replay has stood still for so long.
    pub(super) fn stuck(&mut self, time: Duration) {
        if self.problem.is_none() && self.head < self.entries.len() {
            let came =
                format!("nothing in {} s, while the program waits for what comes later", time.as_secs_f32());
            self.diverge(self.head, came, None, divergence::STANDS_STILL);
        }
    }

    /// The entries from the head on that nobody has and nobody waits for.
    fn ahead(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let taken = self.given.iter().zip(&self.claimed).map(|(given, claimed)| *given || *claimed);
        let free = self.entries.iter().zip(taken).enumerate().skip(self.head);
        free.filter(|(_, (_, taken))| !taken).map(|(index, (entry, _))| (index, entry))
    }

    fn check(&self) -> Result<()> {
        self.problem.clone().map_or(Ok(()), Err)
    }

    fn mark_given(&mut self, index: usize) {
        if let Some(given) = self.given.get_mut(index) {
            *given = true;
        }
    }

    fn give(&mut self, index: usize) {
        self.mark_given(index);
        self.advance();
    }

    /// Goes on to what was not given, and wakes whoever waits for it.
    fn advance(&mut self) {
        while self.given.get(self.head) == Some(&true) {
            self.head += 1;
        }
        if let Some(waker) = self.wakers.remove(&self.head) {
            waker.wake();
        }
        if self.head == self.entries.len() {
            self.unanswered.drain().for_each(|(_, waker)| waker.wake());
        }
    }

    fn unclaim(&mut self, index: usize) {
        self.wakers.remove(&index);
        if let Some(claimed) = self.claimed.get_mut(index) {
            *claimed = false;
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        let first = self.problem.get_or_insert(error).clone();
        std::mem::take(&mut self.wakers).into_values().for_each(Waker::wake);
        self.unanswered.drain().for_each(|(_, waker)| waker.wake());
        first
    }

    fn cut_off(&mut self) -> Error {
        let error = Error::new(ErrorKind::Truncated, "replay").with_path(&self.shown).with_message(format!(
            "the recording was cut off behind event {}: it was not finished, or its program was killed",
            self.entries.len()
        ));
        self.fail(error)
    }

    /// The replay leaves the recording, where entry `index` was expected.
    fn diverge(
        &mut self,
        index: usize,
        came: String,
        difference: Option<Difference>,
        hint: &'static str,
    ) -> Error {
        if index >= self.entries.len() && !self.whole {
            return self.cut_off();
        }
        let divergence = Divergence {
            event: (index + 1) as u64,
            line: (index + 1 + HEADER_LINES) as u64,
            expected: self.shown(index),
            came,
            difference,
            hint,
        };
        let error = Error::new(ErrorKind::Diverged, "replay")
            .with_path(&self.shown)
            .with_message(divergence.to_string())
            .with_source(divergence);
        self.fail(error)
    }

    /// An entry, for people.
    fn shown(&self, index: usize) -> String {
        let asked = |call: u64| {
            self.entries.iter().enumerate().find_map(|(index, entry)| match entry {
                Entry::Call { call: number, operation, on, .. } if *number == call => {
                    Some(format!("{operation} of {on:?}, event {}", index + 1))
                }
                _ => None,
            })
        };
        match self.entries.get(index) {
            None => "the end".to_owned(),
            Some(Entry::Call { operation, on, request, .. }) => {
                divergence::shown_call(operation, on, request)
            }
            Some(Entry::Value { operation, .. }) => operation.clone(),
            Some(Entry::Answer { call, .. }) => {
                format!("that the program takes an answer to {}", asked(*call).unwrap_or_default())
            }
            Some(Entry::Sleep { nanos, .. }) => {
                format!("the end of a wait of {:?}", Duration::from_nanos(*nanos))
            }
            Some(Entry::Mark { name }) => format!("the mark {name:?}"),
            Some(Entry::Constant { operation, on, .. }) => format!("{operation} of {on:?}"),
        }
    }
}

/// A call's entry, given back where its caller no longer waits for it.
pub(super) struct Claim<'p> {
    player: &'p Mutex<Player>,
    index: usize,
    kept: bool,
}

impl<'p> Claim<'p> {
    pub(super) fn new(player: &'p Mutex<Player>, index: usize) -> Self {
        Self { player, index, kept: false }
    }

    /// The entry was taken. The number of the call, where it is one.
    pub(super) fn keep(mut self) -> u64 {
        self.kept = true;
        match lock(self.player).entries.get(self.index) {
            Some(Entry::Call { call, .. }) => *call,
            _ => 0,
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.kept {
            lock(self.player).unclaim(self.index);
        }
    }
}
