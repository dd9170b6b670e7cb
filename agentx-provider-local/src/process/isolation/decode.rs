//! Reading a plan. A plan that does not end where it should is none.

use std::ffi::CString;

use super::plan::{Landlock, Mount, Namespaces, Network, Plan, Scratch};

/// The plan that these bytes hold.
pub(crate) fn decode(bytes: &[u8]) -> Option<Plan> {
    let mut reader = Reader(bytes);
    let plan = reader.plan()?;
    reader.0.is_empty().then_some(plan)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn plan(&mut self) -> Option<Plan> {
        let namespaces = if self.flag()? { Some(self.namespaces()?) } else { None };
        let landlock = if self.flag()? { Some(self.landlock()?) } else { None };
        let (filter, key) = (self.list(Self::word)?, self.word()?);
        Some(Plan { namespaces, landlock, filter, key })
    }

    fn namespaces(&mut self) -> Option<Namespaces> {
        let per_command = self.flag()?;
        let network = match self.word()? {
            0 => Network::Host,
            1 => Network::Loopback,
            port => Network::Listener(u16::try_from(port).ok()?),
        };
        let mounts = self.list(Self::mount)?;
        let scratch = if self.flag()? { Some(self.scratch()?) } else { None };
        Some(Namespaces { per_command, network, mounts, scratch })
    }

    fn scratch(&mut self) -> Option<Scratch> {
        let (path, size) = (self.text()?, self.word()?);
        let places = self.list(|reader| Some((reader.text()?, reader.list(Self::text)?)))?;
        Some(Scratch { path, size, places })
    }

    fn mount(&mut self) -> Option<Mount> {
        Some(match self.byte()? {
            b'd' => Mount::Directory(self.text()?),
            b'l' => Mount::Link { path: self.text()?, target: self.text()? },
            b'f' => Mount::File { path: self.text()?, content: self.bytes()?.to_vec() },
            b'b' => Mount::Bind {
                source: self.text()?,
                path: self.text()?,
                attributes: self.word()?,
                identity: (self.word()?, self.word()?),
            },
            b'p' => Mount::Pin { path: self.text()?, attributes: self.word()? },
            b't' => Mount::Terminals(self.text()?),
            _ => return None,
        })
    }

    fn landlock(&mut self) -> Option<Landlock> {
        Some(Landlock {
            files: self.word()?,
            scopes: self.word()?,
            least: u32::try_from(self.word()?).ok()?,
            rules: self.list(|reader| Some((reader.text()?, reader.word()?)))?,
        })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.word()?;
        (0..count).map(|_| item(self)).collect()
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().map(|byte| byte != 0)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u64> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn text(&mut self) -> Option<CString> {
        CString::new(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&[u8]> {
        let length = usize::try_from(self.word()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}
