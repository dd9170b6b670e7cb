use bytes::Bytes;

use super::{frame::Mark, scan::Scanner};
use crate::OutputStream;

/// How long the shell's answer may be: a directory's name and some more. What is longer is no answer.
const LONGEST: usize = 16 << 10;

/// The shell's answer to one command, on its way through both outputs.
#[derive(Debug)]
pub(super) struct Reply {
    stdout: Scanner,
    stderr: Scanner,
    answer: Vec<u8>,
    stdout_at: Place,
    stderr_at: Place,
}

/// Where in a stream the next piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Output,
    Answer,
    Behind,
}

/// What the shell says of itself after a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: i32,
    /// Its directory, if that is an absolute path in UTF-8.
    pub(super) directory: Option<String>,
}

impl Reply {
    pub(super) fn new(mark: &Mark) -> Self {
        Self {
            stdout: Scanner::new(mark.bytes()),
            stderr: Scanner::new(mark.bytes()),
            answer: Vec::new(),
            stdout_at: Place::Output,
            stderr_at: Place::Output,
        }
    }

    /// Takes a piece of output, and hands on what was written by commands.
    pub(super) fn push(&mut self, stream: OutputStream, piece: Bytes, tell: &mut dyn FnMut(&[u8])) {
        let (scanner, place) = match stream {
            OutputStream::Stdout => (&mut self.stdout, &mut self.stdout_at),
            OutputStream::Stderr => (&mut self.stderr, &mut self.stderr_at),
        };
        let mut rest = Some(piece);
        while let Some(piece) = rest.take() {
            if *place == Place::Behind {
                // Of a job in the background.
                tell(&piece);
                break;
            }
            let found = scanner.push(piece);
            if *place == Place::Output {
                tell(&found.before);
            } else {
                let room = LONGEST.saturating_sub(self.answer.len()).min(found.before.len());
                self.answer.extend(found.before.iter().take(room));
            }
            if found.after.is_some() {
                *place = match (stream, *place) {
                    (OutputStream::Stdout, Place::Output) => Place::Answer,
                    _ => Place::Behind,
                };
            }
            rest = found.after;
        }
    }

    /// Whether the command has ended, and all that it wrote was handed on.
    pub(super) fn is_complete(&self) -> bool {
        self.stdout_at == Place::Behind && self.stderr_at == Place::Behind
    }

    /// What the shell said, as far as that is known.
    pub(super) fn answer(&self) -> Option<Answer> {
        if self.stdout_at != Place::Behind {
            return None;
        }
        let space = self.answer.iter().position(|byte| *byte == b' ')?;
        let (status, directory) = self.answer.split_at_checked(space)?;
        let status = str::from_utf8(status).ok()?.parse().ok()?;
        let directory = str::from_utf8(directory.get(1..)?).ok().filter(|path| path.starts_with('/'));
        Some(Answer { status, directory: directory.map(str::to_owned) })
    }

    /// Hands on what was held back in the hope for a mark that did not come.
    pub(super) fn finish(&mut self, stream: OutputStream) -> Bytes {
        match stream {
            OutputStream::Stdout if self.stdout_at == Place::Output => self.stdout.finish(),
            OutputStream::Stderr => self.stderr.finish(),
            OutputStream::Stdout => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::session::frame::Marks;

    fn push(reply: &mut Reply, stream: OutputStream, text: &str) -> String {
        let mut told = String::new();
        let mut tell = |bytes: &[u8]| told += str::from_utf8(bytes).unwrap();
        reply.push(stream, Bytes::copy_from_slice(text.as_bytes()), &mut tell);
        told
    }

    #[test]
    fn the_answer_is_told_from_the_output_before_and_behind_it() {
        let mark = Marks::default().next();
        let text = String::from_utf8(mark.bytes()).unwrap();
        let mut reply = Reply::new(&mark);
        let stdout = format!("out{text}3 /a b\n{text}behind");
        assert_eq!(push(&mut reply, OutputStream::Stdout, &stdout), "outbehind");
        assert!(!reply.is_complete());
        assert_eq!(reply.answer(), Some(Answer { status: 3, directory: Some("/a b\n".into()) }));
        assert_eq!(push(&mut reply, OutputStream::Stderr, &format!("err{text}")), "err");
        assert!(reply.is_complete());
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let mark = Marks::default().next();
        let text = String::from_utf8(mark.bytes()).unwrap();
        for (answer, expected) in [
            ("x /a", None),
            ("", None),
            ("0", None),
            ("0 ", Some(None)),
            ("0 relative", Some(None)),
            ("1 /", Some(Some("/"))),
        ] {
            let mut reply = Reply::new(&mark);
            assert_eq!(push(&mut reply, OutputStream::Stdout, &format!("{text}{answer}{text}")), "");
            let found = reply.answer().map(|answer| answer.directory);
            assert_eq!(found, expected.map(|path: Option<&str>| path.map(str::to_owned)), "{answer}");
        }
        let mut reply = Reply::new(&mark);
        push(&mut reply, OutputStream::Stdout, &format!("{text}0 /"));
        for _ in 0..100 {
            push(&mut reply, OutputStream::Stdout, &"x".repeat(1000));
        }
        assert_eq!((reply.answer(), reply.answer.len()), (None, LONGEST));
    }
}
