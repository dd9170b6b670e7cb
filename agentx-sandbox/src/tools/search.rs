use std::ops::Range;

use agentx_core::{Error, ErrorKind, Result};
use memchr::{memchr, memchr_iter};
use regex::bytes::{Regex, RegexBuilder};

/// How much memory a compiled pattern may take, and its cache.
const REGEX_BYTES: usize = 1 << 20;
/// How much is searched at a time, where matches stay within lines.
const PIECE: usize = 256 << 10;
/// How many matches are looked for at a time, where they may cross lines: each may take a pass over the rest of the file.
const MATCHES: usize = 16;
/// The longest line that is told, in characters.
const MAX_LINE_CHARS: usize = 500;

/// A pattern that is looked for in the lines of a file, or across them.
#[derive(Debug)]
pub(super) struct Search {
    regex: Regex,
    multiline: bool,
}

impl Search {
    pub(super) fn new(pattern: &str, ignore_case: bool, multiline: bool) -> Result<Self> {
        let regex = RegexBuilder::new(pattern)
            .case_insensitive(ignore_case)
            .multi_line(multiline)
            .dot_matches_new_line(multiline)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build()
            .map_err(|error| {
                let shown: String = pattern.chars().take(200).collect();
                Error::new(ErrorKind::InvalidInput, "grep").with_path(shown).with_message(format!(
                    "not a pattern of Rust's regex (no look-around, no back-references; write \\{{ and \\( for the \
                     characters themselves): {error}"
                ))
            })?;
        Ok(Self { regex, multiline })
    }

    /// The numbers of the lines that match, the first line being 0: in order, some for each bounded piece of work.
    pub(super) fn steps<'c>(&'c self, content: &'c [u8]) -> Box<dyn Iterator<Item = Vec<usize>> + Send + 'c> {
        if self.multiline { Box::new(self.across_lines(content)) } else { Box::new(self.in_lines(content)) }
    }

    fn in_lines<'c>(&'c self, content: &'c [u8]) -> impl Iterator<Item = Vec<usize>> + Send + 'c {
        let (mut rest, mut number) = (content, 0);
        std::iter::from_fn(move || {
            let line_end = rest.get(PIECE..).and_then(|rest| memchr(b'\n', rest));
            let (piece, left) = rest.split_at(line_end.map_or(rest.len(), |at| PIECE + at + 1));
            rest = left;
            let first = number;
            number += lines(piece).count();
            let matching = (first..).zip(lines(piece)).filter(|(_, line)| self.regex.is_match(line));
            (!piece.is_empty()).then(|| matching.map(|(number, _)| number).collect())
        })
    }

    fn across_lines<'c>(&'c self, content: &'c [u8]) -> impl Iterator<Item = Vec<usize>> + Send + 'c {
        // An empty match behind the last line end is on no line.
        let count = lines(content).count();
        let mut matches = self.regex.find_iter(content);
        let (mut counted, mut number, mut next) = (0, 0, 0);
        std::iter::from_fn(move || {
            let mut matching = None;
            for found in matches.by_ref().take(MATCHES) {
                number += line_ends(content, counted..found.start());
                counted = found.start();
                // A match that ends with a line end does not reach into the next line.
                let last = found.end().saturating_sub(1).max(found.start());
                let end = number + line_ends(content, found.start()..last);
                let numbers = number.max(next)..(end + 1).min(count);
                next = next.max(end + 1);
                matching.get_or_insert_with(Vec::new).extend(numbers);
            }
            matching
        })
    }
}

fn line_ends(content: &[u8], range: Range<usize>) -> usize {
    memchr_iter(b'\n', content.get(range).unwrap_or_default()).count()
}

/// The lines of a file, without their ends.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = content.strip_suffix(b"\n").unwrap_or(content);
    // A file without content has no line, and a split of nothing has one.
    let lines = (!content.is_empty()).then(|| whole.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten().map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The lines to tell: those that match with so many before and after each, in ranges that do not touch.
pub(super) fn around(matching: &[usize], before: usize, after: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for number in matching {
        let (start, end) = (number.saturating_sub(before), number.saturating_add(after).saturating_add(1));
        match ranges.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => ranges.push(start..end),
        }
    }
    ranges
}

/// A line as it is told, cut where it is long.
pub(super) fn shown(line: &[u8]) -> String {
    let start = line.get(..4 * MAX_LINE_CHARS).unwrap_or(line);
    let text = String::from_utf8_lossy(start);
    match text.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => {
            format!("{} [cut: the line has {} bytes]", text.get(..end).unwrap_or_default(), line.len())
        }
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, multiline: bool, content: &str) -> Vec<usize> {
        Search::new(pattern, false, multiline).unwrap().steps(content.as_bytes()).flatten().collect()
    }

    #[test]
    fn lines_that_match() {
        assert_eq!(found("^b$", false, "a\nb\r\nb\n"), [1, 2]);
        assert_eq!(found("x", false, ""), [0; 0]);
        assert_eq!(found("^$", false, "a\n\nb\n"), [1]);
        assert_eq!(found("a.b", false, "a\nb\n"), [0; 0]);
    }

    #[test]
    fn matches_across_lines() {
        assert_eq!(found("a.b", true, "x\na\nb\na\nb\n"), [1, 2, 3, 4]);
        assert_eq!(found("a\n", true, "a\nb\n"), [0]);
        assert_eq!(found("$", true, "a\nb\n"), [0, 1]);
        assert_eq!(found("b", true, "a b b\nb"), [0, 1]);
    }

    #[test]
    fn ranges_join() {
        assert_eq!(around(&[1, 2, 9], 0, 0), [1..3, 9..10]);
        assert_eq!(around(&[1, 5, 20], 2, 2), [0..8, 18..23]);
        assert_eq!(around(&[0, 9], 0, 1), [0..2, 9..11]);
    }

    #[test]
    fn a_pattern_that_costs_too_much_is_refused() {
        for pattern in ["(", "a{1000}{1000}{1000}", "(?=x)"] {
            assert_eq!(Search::new(pattern, false, false).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(
            shown("ü".repeat(501).as_bytes()),
            format!("{} [cut: the line has 1002 bytes]", "ü".repeat(500))
        );
        assert_eq!(shown(b"short"), "short");
    }
}
