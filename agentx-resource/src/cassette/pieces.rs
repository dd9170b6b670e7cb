//! Secrets that come in pieces: one in the end of a stream's item, the next in the beginning of the item behind it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    entry::{Answer, Entry},
    redact::{REDACTED, Redactor, each_text},
};

/// The streams whose last items end in what may become a secret. Their lines are not written before that is known.
#[derive(Default)]
pub(super) struct Pieces {
    /// By call, and by which text of the item it is.
    open: BTreeMap<(u64, usize), Vec<Piece>>,
}

/// The bytes at the end of a text in an item.
struct Piece {
    entry: u64,
    bytes: Vec<u8>,
}

impl Pieces {
    /// The first entry that can't be written yet.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.open.values().filter_map(|pieces| pieces.first()).map(|piece| piece.entry).min()
    }

    /// Looks at the last of the waiting entries, whose number is `number`.
    pub(super) fn note(&mut self, number: u64, first: u64, waiting: &mut [Entry], redactor: &Redactor) {
        if redactor.is_empty() {
            return;
        }
        let Some(Entry::Answer { call, answer }) = waiting.last() else { return };
        let call = *call;
        let Answer::Value(value) = answer else {
            self.open.retain(|(of, _), _| *of != call);
            return;
        };
        let mut texts = Vec::new();
        each_text(&mut value.clone(), &mut |bytes| {
            texts.push(bytes.to_vec());
            None
        });
        for (place, text) in texts.into_iter().enumerate() {
            let mut pieces = self.open.remove(&(call, place)).unwrap_or_default();
            pieces.push(Piece { entry: number, bytes: text });
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            // One at most goes through the border: what is whole in this item was replaced before.
            if let Some((from, to)) = redactor.first_in(&all) {
                cut(&mut pieces, from, to, place, first, waiting);
            }
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
            let mut done = all.len() - redactor.open_end(&all);
            pieces.retain_mut(|piece| {
                let part = done.min(piece.bytes.len());
                piece.bytes.drain(..part);
                done -= part;
                !piece.bytes.is_empty()
            });
            if !pieces.is_empty() {
                self.open.insert((call, place), pieces);
            }
        }
    }

    /// No more can come: what is still open is taken for the secret that it may be.
    pub(super) fn give_up(&mut self, first: u64, waiting: &mut [Entry], redactor: &Redactor) {
        for ((_, place), mut pieces) in std::mem::take(&mut self.open) {
            let length: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
            // A few bytes of a secret say nothing, and end many a text.
            if length >= SUSPICIOUS && !redactor.is_empty() {
                cut(&mut pieces, 0, length, place, first, waiting);
            }
        }
    }
}

/// So many bytes of a secret's beginning are not written, also where no more of it comes.
const SUSPICIOUS: usize = 8;

/// Takes the bytes from `from` to `to` of the joined pieces out of their entries.
fn cut(pieces: &mut [Piece], from: usize, to: usize, place: usize, first: u64, waiting: &mut [Entry]) {
    let mut at = 0;
    let mut told = false;
    for piece in pieces {
        let (begin, end) = (at, at + piece.bytes.len());
        at = end;
        let (from, to) = (from.clamp(begin, end) - begin, to.clamp(begin, end) - begin);
        if from == to {
            continue;
        }
        let kept = piece.bytes.len();
        let instead = if std::mem::replace(&mut told, true) { &[][..] } else { REDACTED };
        piece.bytes.splice(from..to, instead.iter().copied());
        let index = usize::try_from(piece.entry.saturating_sub(first)).unwrap_or(usize::MAX);
        let Some(Entry::Answer { answer: Answer::Value(value), .. }) = waiting.get_mut(index) else {
            continue;
        };
        replace_end(value, place, kept, &piece.bytes);
    }
}

/// Puts `bytes` in place of the last `length` bytes of the `place`-th text.
fn replace_end(value: &mut Value, place: usize, length: usize, bytes: &[u8]) {
    let mut text = 0;
    each_text(value, &mut |old| {
        let here = text == place;
        text += 1;
        here.then(|| [old.get(..old.len().saturating_sub(length)).unwrap_or_default(), bytes].concat())
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Secret;

    /// The texts as they are written, after all pieces came.
    fn written(pieces: &[&[u8]]) -> Vec<u8> {
        let redactor = Redactor::new(&[Secret::new("sk-0123456789")]);
        let (mut waiting, mut open) = (Vec::new(), Pieces::default());
        for (index, piece) in pieces.iter().enumerate() {
            let mut value = json!({"stdout": super::super::codec::bytes_to_record(piece)});
            redactor.redact(&mut value);
            waiting.push(Entry::Answer { call: 1, answer: Answer::Value(value) });
            open.note(index as u64 + 1, 1, &mut waiting, &redactor);
        }
        open.give_up(1, &mut waiting, &redactor);
        let mut all = Vec::new();
        for entry in &mut waiting {
            let Entry::Answer { answer: Answer::Value(value), .. } = entry else { unreachable!() };
            each_text(value, &mut |bytes| {
                all.extend_from_slice(bytes);
                None
            });
        }
        all
    }

    #[test]
    fn a_secret_is_found_wherever_it_is_cut() {
        let text = b"the key is sk-0123456789, sk-012, \xffsk-0123456789 and s";
        let expected = b"the key is [redacted], sk-012, \xff[redacted] and s";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(written(&pieces), expected, "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(written(&bytes), expected);
    }

    #[test]
    fn what_ends_in_the_middle_of_a_secret_is_left_out_when_it_is_much() {
        assert_eq!(written(&[b"it is sk-01", b"2345"]), b"it is [redacted]");
        assert_eq!(written(&[b"it is sk-"]), b"it is sk-");
    }
}
