//! What both trees were after the last sync, and how that is written down.

use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::Side;
use crate::{Error, ErrorKind, Metadata, ResourcePath, Result, Version};

/// The first line of a state, before the number of its format.
const MAGIC: &str = "agentx-mirror ";
const FORMAT: u32 = 1;

/// What tells one content of a path from the next. At least one of them is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    version: Option<Version>,
    modified: Option<SystemTime>,
}

/// A file as it was listed, read or written.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) len: u64,
    pub(super) stamp: Stamp,
}

/// What was at a path in both trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Directory,
    File { len: u64, local: Stamp, remote: Stamp },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) records: BTreeMap<ResourcePath, Record>,
    /// The markers of both trees, where they could be made.
    pub(super) local_marker: Option<Stamp>,
    pub(super) remote_marker: Option<Stamp>,
}

impl Stamp {
    pub(super) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Whether this is the same content of the same path: by version, or by time where there is none.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.version, &other.version) {
            (Some(version), Some(other)) => version == other,
            _ => self.modified.is_some() && self.modified == other.modified,
        }
    }
}

impl File {
    /// Whether this is the same content of the same path.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.len == other.len && self.stamp.is(&other.stamp)
    }

    /// Whether this is the same content after a rename, which may change the version but not the time.
    pub(super) fn is_renamed(&self, other: &Self) -> bool {
        let (Stamp { version, modified }, then) = (&self.stamp, &other.stamp);
        self.len == other.len
            && (version.is_some() && *version == then.version
                || modified.is_some() && *modified == then.modified)
    }

    /// # Errors
    /// `Unsupported` where nothing tells one content from the next.
    pub(super) fn of(metadata: &Metadata, side: Side) -> Result<Self> {
        if metadata.version.is_none() && metadata.modified.is_none() {
            return Err(Error::new(ErrorKind::Unsupported, "sync")
                .with_message(format!("the {side} tree tells neither versions nor times of change")));
        }
        let stamp = Stamp { version: metadata.version.clone(), modified: metadata.modified };
        Ok(Self { len: metadata.len, stamp })
    }
}

impl Record {
    /// The record of a file that is the same in both trees.
    pub(super) fn file(one: Side, here: File, there: File) -> Self {
        let len = here.len;
        match one {
            Side::Local => Self::File { len, local: here.stamp, remote: there.stamp },
            Side::Remote => Self::File { len, local: there.stamp, remote: here.stamp },
        }
    }

    /// The file that was on this side.
    pub(super) fn on(&self, side: Side) -> Option<File> {
        match (self, side) {
            (Self::Directory, _) => None,
            (Self::File { len, local, .. }, Side::Local) => Some(File { len: *len, stamp: local.clone() }),
            (Self::File { len, remote, .. }, Side::Remote) => Some(File { len: *len, stamp: remote.clone() }),
        }
    }
}

impl Base {
    /// A line for each record, and a checksum, so that a state that was cut or changed is known for one.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{MAGIC}{FORMAT}\n");
        for (kind, marker) in [("l ", &self.local_marker), ("r ", &self.remote_marker)] {
            if let Some(stamp) = marker {
                text.push_str(kind);
                encode_stamp(&mut text, stamp);
                text.push('\n');
            }
        }
        for (path, record) in &self.records {
            match record {
                Record::Directory => text.push_str("d "),
                Record::File { len, local, remote } => {
                    // Writing to a string can't fail.
                    let _ = write!(text, "f {len} ");
                    encode_stamp(&mut text, local);
                    encode_stamp(&mut text, remote);
                }
            }
            escape(&mut text, path.as_str());
            text.push('\n');
        }
        let checksum = checksum(&text);
        let _ = writeln!(text, "end {checksum:016x}");
        text
    }

    /// What [`Base::encode`] has written.
    ///
    /// # Errors
    /// `Corrupt` for anything else, `Unsupported` for a format that is newer than this program.
    pub(super) fn decode(text: &[u8]) -> Result<Self> {
        let text = str::from_utf8(text).map_err(|_| corrupt("not UTF-8"))?;
        let (first, _) = text.split_once('\n').ok_or_else(|| corrupt("no first line"))?;
        let format: u32 = (first.strip_prefix(MAGIC).and_then(|number| number.parse().ok()))
            .ok_or_else(|| corrupt("not a state of a mirror"))?;
        if format > FORMAT {
            return Err(Error::new(ErrorKind::Unsupported, "read state")
                .with_message(format!("written in format {format}, and this program knows {FORMAT}")));
        }
        let (rest, last) = (text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n')))
            .ok_or_else(|| corrupt("cut short"))?;
        let body = text.get(..=rest.len()).unwrap_or_default();
        if last != format!("end {:016x}", checksum(body)) {
            return Err(corrupt("the checksum does not match"));
        }
        let mut base = Self::default();
        for line in rest.lines().skip(1) {
            base.decode_line(line).ok_or_else(|| corrupt("a line can't be read"))?;
        }
        Ok(base)
    }

    fn decode_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let record = match kind {
            "l" => {
                self.local_marker = Some(decode_stamp(&mut words)?);
                return Some(());
            }
            "r" => {
                self.remote_marker = Some(decode_stamp(&mut words)?);
                return Some(());
            }
            "d" => Record::Directory,
            "f" => Record::File {
                len: words.next()?.parse().ok()?,
                local: decode_stamp(&mut words)?,
                remote: decode_stamp(&mut words)?,
            },
            _ => return None,
        };
        let path = ResourcePath::new(unescape(words.next()?)?).ok()?;
        self.records.insert(path, record);
        words.next().is_none().then_some(())
    }
}

fn encode_stamp(text: &mut String, Stamp { version, modified }: &Stamp) {
    if let Some(version) = version {
        text.push('v');
        escape(text, version.as_str());
    }
    text.push(' ');
    if let Some(time) = modified {
        let (sign, distance) = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => ('+', after),
            Err(before) => ('-', before.duration()),
        };
        let _ = write!(text, "{sign}{}.{}", distance.as_secs(), distance.subsec_nanos());
    }
    text.push(' ');
}

fn decode_stamp<'t>(words: &mut impl Iterator<Item = &'t str>) -> Option<Stamp> {
    let version = match words.next()? {
        "" => None,
        word => Some(Version::new(unescape(word.strip_prefix('v')?)?)),
    };
    let modified = match words.next()? {
        "" => None,
        word => Some(decode_time(word)?),
    };
    Some(Stamp { version, modified })
}

fn decode_time(word: &str) -> Option<SystemTime> {
    let (sign, time) = word.split_at_checked(1)?;
    let (seconds, nanos) = time.split_once('.')?;
    let distance = Duration::from_secs(seconds.parse().ok()?)
        .checked_add(Duration::from_nanos(u64::from(nanos.parse::<u32>().ok()?)))?;
    match sign {
        "+" => UNIX_EPOCH.checked_add(distance),
        "-" => UNIX_EPOCH.checked_sub(distance),
        _ => None,
    }
}

/// Writes `word` without a space or a line's end.
fn escape(text: &mut String, word: &str) {
    for character in word.chars() {
        match character {
            ' ' => text.push_str("%20"),
            '%' => text.push_str("%25"),
            '\n' => text.push_str("%0A"),
            '\r' => text.push_str("%0D"),
            other => text.push(other),
        }
    }
}

fn unescape(word: &str) -> Option<String> {
    let mut parts = word.split('%');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        text.push(match code {
            "20" => ' ',
            "25" => '%',
            "0A" => '\n',
            "0D" => '\r',
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

/// FNV-1a: it tells damage, and guards against nobody.
fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn corrupt(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "read state").with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Base {
        let stamp = |version: Option<&str>, modified| Stamp { version: version.map(Version::new), modified };
        let early = UNIX_EPOCH - Duration::new(3, 7);
        let late = UNIX_EPOCH + Duration::new(1_700_000_000, 999_999_999);
        let file = |len, local, remote| Record::File { len, local, remote };
        let path = |path| ResourcePath::new(path).unwrap();
        Base {
            records: BTreeMap::from([
                (path("/d"), Record::Directory),
                (path("/d/a b\n%20ü\r"), file(0, stamp(Some(""), None), stamp(Some("\"x y%\""), Some(late)))),
                (path("/z"), file(u64::MAX, stamp(None, Some(early)), stamp(None, Some(late)))),
            ]),
            local_marker: Some(stamp(Some("-"), None)),
            remote_marker: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for base in [Base::default(), base()] {
            assert_eq!(Base::decode(base.encode().as_bytes()).unwrap(), base);
        }
    }

    #[test]
    fn a_state_that_is_cut_or_changed_anywhere_is_corrupt() {
        let text = base().encode().into_bytes();
        for end in 0..text.len() {
            assert_eq!(Base::decode(&text[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "{end}");
        }
        for place in 0..text.len() {
            let mut changed = text.clone();
            changed[place] ^= 1;
            // The number of the format is the only byte that may say that it comes from the future.
            let kind = Base::decode(&changed).unwrap_err().kind();
            assert!(kind == ErrorKind::Corrupt || place == MAGIC.len(), "{place}: {kind}");
        }
    }

    #[test]
    fn a_newer_format_is_told_as_such() {
        let error = Base::decode(b"agentx-mirror 2\nwhatever it says").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
