/// Bytes that come in pieces as text: a character that is cut waits for its rest, and what is no UTF-8 is replaced.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The beginning of a character: three bytes at most.
    rest: Vec<u8>,
}

impl Text {
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() - unfinished(&self.rest);
        let tail = self.rest.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(&mut self.rest, tail)).into_owned()
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

/// How many bytes at the end begin a character that may still be finished.
fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let last = bytes.get(tail..).unwrap_or_default();
    (1..=last.len())
        .find(|count| {
            let piece = last.get(last.len() - count..).unwrap_or_default();
            let is_start = piece.first().is_some_and(|byte| *byte >= 0xc0);
            is_start && str::from_utf8(piece).is_err_and(|error| error.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_wherever_it_is_cut() {
        let text = "aé€😀z".as_bytes();
        for size in 1..=text.len() {
            let mut pieces = Text::default();
            let mut decoded: String = text.chunks(size).map(|piece| pieces.push(piece)).collect();
            decoded += &pieces.finish();
            assert_eq!(decoded.as_bytes(), text, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_and_does_not_wait() {
        let mut pieces = Text::default();
        assert_eq!(pieces.push(b"a\xff"), "a\u{fffd}");
        assert_eq!(pieces.push(b"\xc3"), "");
        assert_eq!(pieces.push(b"x"), "\u{fffd}x");
        assert_eq!(pieces.push(b"\xe2\x82"), "");
        assert_eq!(pieces.finish(), "\u{fffd}");
    }
}
