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
///     seen.push((event.name.to_vec(), event.data.to_vec()));
///     Ok(())
/// })?;
/// assert_eq!(seen, [(b"greeting".to_vec(), b"a\nb".to_vec())]);
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SseParser {
    limit: usize,
    mode: Mode,
    /// What has come of an event that is not whole; line by line, of a line. Cleared when the next begins.
    buffer: Vec<u8>,
    /// The line ends of the event that is not whole, so that none of it is looked at twice.
    lines: Lines,
    /// The event so far, line by line, or the last one.
    name: Vec<u8>,
    data: Vec<u8>,
    state: State,
    /// The last chunk ended with CR: an LF at the start of the next belongs to it.
    after_cr: bool,
    /// How much of the byte order mark has come; the whole length once it no longer matters.
    bom: usize,
}

/// How events are read that are not whole within a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are put together, and then read at once: as long as all lines end with LF.
    Whole,
    /// They are read line by line, since a line ended with CR.
    Lines,
}

/// What `name` and `data` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of an event was read.
    Between,
    /// An event without data, which is none yet.
    Named,
    /// An event with data.
    Data,
    /// An event that was handed out.
    Told,
}

/// The first line ends of an event, counted from its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    ends: [usize; 2],
    count: usize,
    /// Where the line begins that is under way.
    start: usize,
}

/// Where the event ends to which a chunk belongs.
enum End {
    /// Behind so many bytes of the chunk.
    At(usize),
    /// Behind the chunk.
    Beyond,
    /// Somewhere, and there is a CR before it.
    Unclear,
}

/// One server-sent event. Bytes, since what does not concern the reader need not be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The event's name; empty where the stream gave none.
    pub name: &'a [u8],
    /// The data lines, joined by LF.
    pub data: &'a [u8],
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
        Self {
            limit,
            mode: Mode::Whole,
            buffer: Vec::new(),
            lines: Lines::default(),
            name: Vec::new(),
            data: Vec::new(),
            state: State::Between,
            after_cr: false,
            bom: 0,
        }
    }

    /// Takes the next bytes and hands each event that they complete to `sink`.
    ///
    /// # Errors
    /// `LimitExceeded` for an event beyond the limit, and what `sink` reports. The rest of the bytes is lost then,
    /// and the parser is of no further use.
    pub fn feed(&mut self, chunk: &[u8], mut sink: impl FnMut(SseEvent<'_>) -> Result<()>) -> Result<()> {
        let mut rest = chunk;
        while let Some(event) = self.next(&mut rest)? {
            sink(event)?;
        }
        Ok(())
    }

    /// Takes of `chunk` what the next event needs, and returns the event, or `None` once all is taken.
    ///
    /// # Errors
    /// `LimitExceeded` for an event beyond the limit; the parser is of no further use then.
    #[inline]
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8]) -> Result<Option<SseEvent<'s>>> {
        if self.state == State::Told {
            self.begin();
        }
        if self.bom < BOM.len() {
            *chunk = self.skip_bom(chunk);
        }
        while self.mode == Mode::Whole {
            match self.lines.look(self.buffer.len(), chunk) {
                End::At(end) => {
                    let (head, tail) = chunk.split_at(end);
                    *chunk = tail;
                    self.check(self.buffer.len() + end)?;
                    let lines = std::mem::take(&mut self.lines);
                    if self.buffer.is_empty() {
                        if let Some(event) = lines.simple(head) {
                            self.state = State::Told;
                            return Ok(Some(event));
                        }
                        self.read(head)?;
                    } else {
                        self.buffer.extend_from_slice(head);
                        if lines.simple(&self.buffer).is_some() {
                            self.state = State::Told;
                            return Ok(lines.simple(&self.buffer));
                        }
                        self.read_buffer()?;
                    }
                    if self.state == State::Data {
                        self.state = State::Told;
                        return Ok(Some(SseEvent { name: &self.name, data: &self.data }));
                    }
                    self.begin();
                }
                End::Beyond => {
                    self.buffer.extend_from_slice(chunk);
                    *chunk = &[];
                    self.check(self.buffer.len())?;
                    return Ok(None);
                }
                End::Unclear => {
                    // No event is whole in the buffer, so nothing is told of it.
                    self.read_buffer()?;
                    let line = self.buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                    self.buffer.drain(..line);
                    self.mode = Mode::Lines;
                }
            }
        }
        self.next_by_lines(chunk)
    }

    /// Whether the next byte begins an event.
    #[inline]
    pub(super) fn is_between_events(&self) -> bool {
        let between = self.state == State::Told || (self.state == State::Between && self.buffer.is_empty());
        between && self.mode == Mode::Whole && self.bom == BOM.len()
    }

    /// Nothing has come of the next event.
    #[inline]
    fn begin(&mut self) {
        self.clear();
        self.buffer.clear();
    }

    /// Reads the whole lines in the buffer.
    fn read_buffer(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.read(&buffer)?;
        self.buffer = buffer;
        Ok(())
    }

    /// Reads the whole lines of a text.
    fn read(&mut self, mut rest: &[u8]) -> Result<()> {
        while let Some((line, after)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
            rest = after.get(1..).unwrap_or_default();
            self.take_line(line)?;
        }
        Ok(())
    }

    /// Line by line.
    fn next_by_lines<'s>(&'s mut self, chunk: &mut &[u8]) -> Result<Option<SseEvent<'s>>> {
        let mut rest = *chunk;
        if !rest.is_empty() && std::mem::take(&mut self.after_cr) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(end);
            rest = match tail {
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => tail,
            };
            self.after_cr = tail == b"\r";
            if self.buffer.is_empty() && head.is_empty() {
                if self.state == State::Data {
                    self.state = State::Told;
                    *chunk = rest;
                    return Ok(Some(SseEvent { name: &self.name, data: &self.data }));
                }
                self.clear();
            } else if self.buffer.is_empty() {
                self.take_line(head)?;
            } else {
                let mut line = std::mem::take(&mut self.buffer);
                line.extend_from_slice(head);
                self.take_line(&line)?;
                line.clear();
                self.buffer = line;
            }
        }
        self.buffer.extend_from_slice(rest);
        *chunk = &[];
        self.check(self.buffer.len() + self.name.len() + self.data.len())?;
        Ok(None)
    }

    /// Any line; one that is empty is of no effect.
    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if let Some(value) = value(line, b"data") {
            self.check(self.data.len() + value.len() + self.name.len())?;
            if self.state == State::Data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.state = State::Data;
        } else if let Some(value) = value(line, b"event") {
            self.check(self.data.len() + value.len())?;
            self.name.clear();
            self.name.extend_from_slice(value);
            if self.state == State::Between {
                self.state = State::Named;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.name.clear();
        self.data.clear();
        self.state = State::Between;
    }

    fn skip_bom<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let mut rest = chunk;
        while let (Some(expected), Some((byte, after))) = (BOM.get(self.bom), rest.split_first()) {
            if byte == expected {
                self.bom += 1;
                rest = after;
            } else {
                // No mark after all: what was held back is the beginning of the first line.
                self.buffer.extend_from_slice(BOM.get(..self.bom).unwrap_or_default());
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

impl Lines {
    /// Looks where the event ends of which so many bytes came before the chunk.
    #[inline]
    fn look(&mut self, before: usize, chunk: &[u8]) -> End {
        let mut at = 0;
        if before == self.start && chunk.first() == Some(&b'\n') {
            return End::At(1);
        }
        while let Some(found) = memchr2(b'\n', b'\r', chunk.get(at..).unwrap_or_default()) {
            at += found;
            if chunk.get(at) != Some(&b'\n') {
                return End::Unclear;
            }
            if let Some(end) = self.ends.get_mut(self.count) {
                *end = before + at;
            }
            self.count += 1;
            at += 1;
            self.start = before + at;
            if chunk.get(at) == Some(&b'\n') {
                return End::At(at + 1);
            }
        }
        End::Beyond
    }

    /// The event that has these lines, if it is one as servers write them: a name and one line of data.
    #[inline]
    fn simple(self, text: &[u8]) -> Option<SseEvent<'_>> {
        let (name, data) = match (self.count, self.ends) {
            (1, [end, _]) => (&[][..], text.get(..end)?),
            (2, [first, second]) => {
                (text.get(..first)?.strip_prefix(b"event: ")?, text.get(first + 1..second)?)
            }
            _ => return None,
        };
        Some(SseEvent { name, data: data.strip_prefix(b"data: ")? })
    }
}

/// The value of the line, where it is of this field.
fn value<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
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
                    events.push((text(event.name), text(event.data)));
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
        let stream = b"event: e\ndata: d\n\ndata: f\n\n";
        let mut parser = SseParser::new();
        // The first event begins where a byte order mark may stand.
        let mut rest = &stream[..];
        parser.next(&mut rest).unwrap().unwrap();
        let event = parser.next(&mut rest).unwrap().unwrap();
        assert!(stream.as_ptr_range().contains(&event.data.as_ptr()));
        assert_eq!(parser.next(&mut rest).unwrap(), None);
    }

    #[test]
    fn both_ways_of_reading_agree() {
        // The same events with a comment behind each, which the short way does not take.
        let streams =
            ["event: a\ndata: 1\n\n", "data: 1\n\n", "event: \ndata:  2\n\n", "event: a\rdata: 1\n\n"];
        for stream in streams {
            let first = parse(&[b":\n", stream.as_bytes()]);
            let commented = stream.replacen('\n', "\n: comment\n", 1);
            assert_eq!(first, parse(&[b":\n", commented.as_bytes()]), "{stream}");
            assert_eq!(first.len(), 1);
        }
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
