use std::fmt::Write as _;

use memchr::memchr;

/// The longest line that is shown, in characters.
pub(super) const MAX_LINE_CHARS: usize = 2000;
/// What is held of a line: enough for that many characters of up to four bytes.
const MAX_LINE_BYTES: usize = 4 * MAX_LINE_CHARS;
/// The longest page, in bytes. A line that began before is finished.
pub(super) const MAX_PAGE_BYTES: usize = 128 << 10;

/// Some lines of a text that comes in pieces, numbered as `cat -n` does.
pub(super) struct Page {
    first: u64,
    wanted: u64,
    /// The number of the line that is under way.
    number: u64,
    line: Vec<u8>,
    line_len: u64,
    shown: u64,
    more: bool,
    text: String,
}

impl Page {
    /// `wanted` lines from the line `first` on; the first line of a text is 1.
    pub(super) fn new(first: u64, wanted: u64) -> Self {
        let (line, text) = (Vec::new(), String::new());
        Self { first, wanted, number: 1, line, line_len: 0, shown: 0, more: false, text }
    }

    /// Takes the next piece; false when the page is full and nothing more is needed.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            if self.shown == self.wanted || self.text.len() >= MAX_PAGE_BYTES {
                self.more = true;
                return false;
            }
            let Some(end) = memchr(b'\n', piece) else {
                self.add(piece);
                break;
            };
            let (rest_of_line, rest) = piece.split_at(end);
            self.add(rest_of_line);
            self.end_line();
            piece = rest.get(1..).unwrap_or_default();
        }
        true
    }

    fn add(&mut self, part: &[u8]) {
        self.line_len += part.len() as u64;
        if self.number >= self.first {
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    fn end_line(&mut self) {
        if self.number >= self.first {
            let text = String::from_utf8_lossy(&self.line);
            let text = text.strip_suffix('\r').unwrap_or(&text);
            let (shown, cut) = match text.char_indices().nth(MAX_LINE_CHARS) {
                Some((end, _)) => (text.get(..end).unwrap_or(text), true),
                None => (text, false),
            };
            let _ = write!(self.text, "{:>6}\t{shown}", self.number);
            if cut {
                let _ = write!(self.text, " [cut: the line has {} bytes]", self.line_len);
            }
            self.text.push('\n');
            self.shown += 1;
        }
        self.line.clear();
        self.line_len = 0;
        self.number += 1;
    }

    /// The lines, and what a reader must know besides.
    pub(super) fn finish(mut self) -> String {
        if self.line_len > 0 && !self.more {
            self.end_line();
        }
        let lines = self.number - 1;
        if self.more {
            let last = self.number - 1;
            let _ = write!(
                self.text,
                "\n[the file goes on behind line {last}: read on with offset {}]",
                self.number
            );
        } else if lines == 0 {
            "(the file is empty)".clone_into(&mut self.text);
        } else if self.shown == 0 {
            self.text = format!("(the file has {lines} lines; the offset {} is behind its end)", self.first);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(first: u64, wanted: u64, text: &str) -> String {
        let whole = in_pieces(first, wanted, text, text.len().max(1));
        assert_eq!(in_pieces(first, wanted, text, 1), whole);
        whole
    }

    fn in_pieces(first: u64, wanted: u64, text: &str, size: usize) -> String {
        let mut page = Page::new(first, wanted);
        let _ = text.as_bytes().chunks(size).all(|piece| page.push(piece));
        page.finish()
    }

    #[test]
    fn lines_are_numbered_as_cat_does() {
        assert_eq!(page(1, 10, "a\n\nb"), "     1\ta\n     2\t\n     3\tb\n");
        assert_eq!(page(1, 10, "a\r\nb\r\n"), "     1\ta\n     2\tb\n");
        assert_eq!(page(2, 1, "a\nb\n"), "     2\tb\n");
    }

    #[test]
    fn what_is_not_shown_is_told() {
        assert_eq!(
            page(2, 1, "a\nb\nc"),
            "     2\tb\n\n[the file goes on behind line 2: read on with offset 3]"
        );
        assert_eq!(page(1, 1, ""), "(the file is empty)");
        assert_eq!(page(9, 1, "a\nb\n"), "(the file has 2 lines; the offset 9 is behind its end)");
    }

    #[test]
    fn long_lines_and_pages_are_cut() {
        let long = "ü".repeat(MAX_LINE_CHARS + 1);
        let expected = format!(
            "     1\t{} [cut: the line has {} bytes]\n",
            "ü".repeat(MAX_LINE_CHARS),
            2 * MAX_LINE_CHARS + 2
        );
        assert_eq!(page(1, 9, &long), expected);
        let text = format!("{}\n", "x".repeat(1000)).repeat(1000);
        let full = page(1, 1000, &text);
        assert!(full.len() < MAX_PAGE_BYTES + 2000, "{}", full.len());
        assert!(full.ends_with("read on with offset 132]"), "{}", &full[full.len() - 100..]);
    }
}
