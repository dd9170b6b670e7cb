//! Most of an answer is one event over and over, a piece of text in the same few bytes of JSON. It is read here by what
//! stands around the text. Whatever looks different in any way is left to the JSON parser, which gives the same.

use memchr::memchr2;

const FRAME: &[u8] = b"event: content_block_delta\ndata: ";
const HEAD: &[u8] = br#"{"type":"content_block_delta","index":"#;
const DELTA: &[u8] = br#","delta":{"type":""#;

/// A piece of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub index: u32,
    pub kind: PieceKind,
    /// Never empty.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Text,
    Thinking,
    InputJson,
}

/// The piece in the event that is whole at the beginning of the stream, and what follows the event.
#[inline]
pub(super) fn event(stream: &[u8]) -> Option<(Piece, &[u8])> {
    let (piece, rest) = piece(stream.strip_prefix(FRAME)?)?;
    Some((piece, rest.strip_prefix(b"\n\n")?))
}

/// The piece in the data of an event.
#[inline]
pub(super) fn data(json: &[u8]) -> Option<Piece> {
    let (piece, rest) = piece(json)?;
    rest.is_empty().then_some(piece)
}

fn piece(json: &[u8]) -> Option<(Piece, &[u8])> {
    let (index, rest) = number(json.strip_prefix(HEAD)?)?;
    let rest = rest.strip_prefix(DELTA)?;
    let (kind, rest) = if let Some(rest) = rest.strip_prefix(br#"text_delta","text":""#) {
        (PieceKind::Text, rest)
    } else if let Some(rest) = rest.strip_prefix(br#"thinking_delta","thinking":""#) {
        (PieceKind::Thinking, rest)
    } else {
        (PieceKind::InputJson, rest.strip_prefix(br#"input_json_delta","partial_json":""#)?)
    };
    let (text, rest) = string(rest)?;
    // The API fills events up with blanks, so that their length does not tell that of the text.
    let rest = rest.strip_prefix(b"}")?;
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let rest = rest.get(blanks..)?.strip_prefix(b"}")?;
    Some((Piece { index, kind, text }, rest))
}

/// A number of up to nine digits.
#[inline]
fn number(json: &[u8]) -> Option<(u32, &[u8])> {
    let digits = json.iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = json.split_at_checked(digits)?;
    if digits == 0 || digits > 9 || (digits > 1 && number.first() == Some(&b'0')) {
        return None;
    }
    Some((number.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')), rest))
}

/// The rest of a JSON string behind its opening quote, and what follows the closing one.
#[inline]
fn string(json: &[u8]) -> Option<(String, &[u8])> {
    let (head, tail) = json.split_at_checked(memchr2(b'"', b'\\', json)?)?;
    if let Some(rest) = tail.strip_prefix(b"\"") {
        return (!head.is_empty()).then_some((plain(head)?.to_owned(), rest));
    }
    let mut text = String::with_capacity(head.len() + 32);
    text.push_str(plain(head)?);
    let mut rest = tail;
    loop {
        match rest {
            [b'"', rest @ ..] => return Some((text, rest)),
            [b'\\', escaped, after @ ..] => {
                text.push(match escaped {
                    b'"' | b'\\' | b'/' => char::from(*escaped),
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{C}',
                    _ => return None,
                });
                rest = after;
            }
            [b'\\'] => return None,
            _ => {
                let (head, tail) = rest.split_at_checked(memchr2(b'"', b'\\', rest)?)?;
                text.push_str(plain(head)?);
                rest = tail;
            }
        }
    }
}

/// Text without control characters, which no JSON string has and which end a line of the stream.
#[inline]
fn plain(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().any(|byte| *byte < b' ') {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}
