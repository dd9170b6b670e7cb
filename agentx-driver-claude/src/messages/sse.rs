use std::{borrow::Cow, mem};

use agentx_core::{Error, ErrorKind, Result};
use memchr::{memchr, memchr2};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Cuts a byte stream into server-sent events, as the HTML standard says: LF, CR and CRLF end a line wherever the
/// chunks are cut, a byte order mark may come first, comments and unknown fields are passed over, and what stands
/// unfinished at the end is no event. `id` and `retry` mean nothing for an answer to a POST and are passed over too.
///
/// An event that lies whole within a chunk is not copied. One that is longer than the limit is an error, so that a
/// server can't fill the memory.
///
/// ```
/// use agentx_driver_claude::messages::SseParser;
///
/// let mut seen = Vec::new();
/// SseParser::new().feed(b": hi\nevent: greeting\ndata: a\ndata: b\n\ndata: unfinished", |event| {
///     seen.push((event.name.into_owned(), event.data.into_owned()));
///     Ok(())
/// })?;
/// assert_eq!(seen, [(b"greeting".to_vec(), b"a\nb".to_vec())]);
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SseParser {
    limit: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last chunk ended with CR: an LF at the start of the next belongs to it.
    after_cr: bool,
    /// How much of the byte order mark has come; the whole length once it no longer matters.
    bom: usize,
}

/// One server-sent event. Bytes, since what does not concern the reader need not be text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The event's name; empty where the stream gave none.
    pub name: Cow<'a, [u8]>,
    /// The data lines, joined by LF.
    pub data: Cow<'a, [u8]>,
}

/// The event that is being put together, borrowed from the chunk as long as it can be.
#[derive(Default)]
struct Pending<'c> {
    name: Cow<'c, [u8]>,
    data: Option<Cow<'c, [u8]>>,
}

impl SseParser {
    /// The longest event by default: 16 MiB.
    pub const DEFAULT_LIMIT: usize = 16 << 20;

    /// A parser at the beginning of a stream.
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// A parser that takes events of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, line: Vec::new(), name: Vec::new(), data: None, after_cr: false, bom: 0 }
    }

    /// Takes the next bytes and hands each event that they complete to `sink`.
    ///
    /// # Errors
    /// `LimitExceeded` for an event beyond the limit, and what `sink` reports. The rest of the bytes is lost then,
    /// and the parser is of no further use.
    pub fn feed(&mut self, chunk: &[u8], mut sink: impl FnMut(SseEvent<'_>) -> Result<()>) -> Result<()> {
        let mut rest = self.skip_bom(chunk);
        if !rest.is_empty() && mem::take(&mut self.after_cr) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        let mut event =
            Pending { name: Cow::Owned(mem::take(&mut self.name)), data: self.data.take().map(Cow::Owned) };
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(end);
            rest = match tail {
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => tail,
            };
            self.after_cr = tail == b"\r";
            if self.line.is_empty() {
                self.line(Cow::Borrowed(head), &mut event, &mut sink)?;
            } else {
                let mut whole = mem::take(&mut self.line);
                whole.extend_from_slice(head);
                self.line(Cow::Owned(whole), &mut event, &mut sink)?;
            }
        }
        self.line.extend_from_slice(rest);
        self.name = event.name.into_owned();
        self.data = event.data.map(Cow::into_owned);
        self.check(self.line.len() + self.name.len() + self.data.as_ref().map_or(0, Vec::len))
    }

    fn line<'c>(
        &self,
        line: Cow<'c, [u8]>,
        event: &mut Pending<'c>,
        sink: &mut impl FnMut(SseEvent<'_>) -> Result<()>,
    ) -> Result<()> {
        if line.is_empty() {
            let Pending { name, data } = mem::take(event);
            return data.map_or(Ok(()), |data| sink(SseEvent { name, data }));
        }
        let colon = memchr(b':', &line);
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let start = match value {
            [b':', b' ', ..] => field.len() + 2,
            [b':', ..] => field.len() + 1,
            _ => field.len(),
        };
        match field {
            b"event" => event.name = from(line, start),
            b"data" => {
                let so_far = event.data.as_ref().map_or(0, |data| data.len());
                self.check(so_far + line.len() + event.name.len())?;
                match &mut event.data {
                    None => event.data = Some(from(line, start)),
                    Some(data) => {
                        let data = data.to_mut();
                        data.push(b'\n');
                        data.extend_from_slice(line.get(start..).unwrap_or_default());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn skip_bom<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let mut rest = chunk;
        while let (Some(expected), Some((byte, after))) = (BOM.get(self.bom), rest.split_first()) {
            if byte == expected {
                self.bom += 1;
                rest = after;
            } else {
                // No mark after all: what was held back is the beginning of the first line.
                self.line.extend_from_slice(BOM.get(..self.bom).unwrap_or_default());
                self.bom = BOM.len();
            }
        }
        rest
    }

    fn check(&self, size: usize) -> Result<()> {
        if size <= self.limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::LimitExceeded, "read event stream")
            .with_message(format!("an event has more than {} bytes", self.limit)))
    }
}

impl Default for SseParser {
    fn default() -> Self {
        Self::new()
    }
}

/// The rest of `line` from `start` on.
fn from(line: Cow<'_, [u8]>, start: usize) -> Cow<'_, [u8]> {
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(line.get(start..).unwrap_or_default()),
        Cow::Owned(mut line) => {
            line.drain(..start.min(line.len()));
            Cow::Owned(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (&'static [u8], &'static [(&'static str, &'static str)]);

    fn parse(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = SseParser::new();
        let mut events = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for chunk in chunks {
            parser
                .feed(chunk, |event| {
                    events.push((text(&event.name), text(&event.data)));
                    Ok(())
                })
                .unwrap();
        }
        events
    }

    /// The stream whole, byte by byte, and cut in two at every place.
    fn parse_in_all_ways(stream: &[u8]) -> Vec<(String, String)> {
        let whole = parse(&[stream]);
        assert_eq!(parse(&stream.chunks(1).collect::<Vec<_>>()), whole);
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(parse(&[head, b"", tail]), whole, "cut at {cut}");
        }
        whole
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    /// The cases of the web platform tests for event streams, as far as they concern framing.
    #[test]
    fn framing_is_that_of_the_standard() {
        let cases: [Case; 17] = [
            (b"data:a\n\ndata:b\r\rdata:c\r\n\r\n", &[("", "a"), ("", "b"), ("", "c")]),
            (b"data: a\r\ndata: b\r\n\r\n\r\n", &[("", "a\nb")]),
            (b"data: a\rdata: b\ndata: c\r\n\n", &[("", "a\nb\nc")]),
            (b"\xEF\xBB\xBFdata:bom\n\n", &[("", "bom")]),
            (b"\xEF\xBB\xBF\xEF\xBB\xBFdata:two\n\ndata:ok\n\n", &[("", "ok")]),
            (b"\xEF\xBBdata:half\n\ndata:ok\n\n", &[("", "ok")]),
            (b": comment\n:\ndata:1\n:2\ndata:3\n\n", &[("", "1\n3")]),
            (b"data:  two spaces\n\n", &[("", " two spaces")]),
            (b"data:\ttab\n\n", &[("", "\ttab")]),
            (b"data\n\ndata\ndata\n\ndata:", &[("", ""), ("", "\n")]),
            (b"data:a:b: c\n\n", &[("", "a:b: c")]),
            (b"event: x\ndata: 1\n\ndata: 2\n\n", &[("x", "1"), ("", "2")]),
            (b"event: lost\n\ndata: 1\n\n", &[("", "1")]),
            (b"event: a\nevent: b\ndata: 1\n\n", &[("b", "1")]),
            (b"id: 1\nretry: 5\nDATA: no\n data: no\ndatax: no\ndata: yes\n\n", &[("", "yes")]),
            (b"data: unfinished\n", &[]),
            ("data: ü\u{2028}x\u{0}\n\n".as_bytes(), &[("", "ü\u{2028}x\u{0}")]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(name, data)| event(name, data)).collect();
            assert_eq!(parse_in_all_ways(stream), expected, "{}", String::from_utf8_lossy(stream));
        }
    }

    #[test]
    fn what_lies_within_a_chunk_is_not_copied() {
        SseParser::new()
            .feed(b"event: e\ndata: d\n\n", |event| {
                assert!(matches!(event, SseEvent { name: Cow::Borrowed(b"e"), data: Cow::Borrowed(b"d") }));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn an_endless_line_and_an_endless_event_are_errors() {
        let endless_line = std::iter::repeat_n(b"data: xxxx".as_slice(), 100);
        let endless_event = std::iter::repeat_n(b"data: xxxx\n".as_slice(), 100);
        let endless_comment = std::iter::repeat_n(b": xxxxxxxx".as_slice(), 100);
        for (index, chunks) in [endless_line, endless_event, endless_comment].into_iter().enumerate() {
            let mut parser = SseParser::with_limit(256);
            let error = chunks.map(|chunk| parser.feed(chunk, |_| Ok(()))).find_map(Result::err);
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::LimitExceeded), "{index}");
        }
        let mut parser = SseParser::with_limit(256);
        parser.feed(&b"data: short\n\n".repeat(1000), |_| Ok(())).unwrap();
    }
}
