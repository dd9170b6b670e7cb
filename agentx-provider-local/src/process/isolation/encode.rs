//! Writing a plan as the helper reads it.

use std::ffi::CStr;

use super::plan::{Landlock, Mount, Namespaces, Network, Plan, Scratch};

/// The bytes of a plan.
pub(super) fn encode(plan: &Plan) -> Vec<u8> {
    let mut writer = Writer(Vec::new());
    writer.option(plan.namespaces.as_ref(), Writer::namespaces);
    writer.option(plan.landlock.as_ref(), Writer::landlock);
    writer.list(&plan.filter, |writer, instruction| writer.word(*instruction));
    writer.word(plan.key);
    writer.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn namespaces(&mut self, namespaces: &Namespaces) {
        self.flag(namespaces.per_command);
        self.word(match namespaces.network {
            Network::Host => 0,
            Network::Loopback => 1,
            Network::Listener(port) => port.into(),
        });
        self.list(&namespaces.mounts, Self::mount);
        self.option(namespaces.scratch.as_ref(), Self::scratch);
    }

    fn scratch(&mut self, scratch: &Scratch) {
        self.text(&scratch.path);
        self.word(scratch.size);
        self.list(&scratch.places, |writer, (from, steps)| {
            writer.text(from);
            writer.list(steps, |writer, step| writer.text(step));
        });
    }

    fn mount(&mut self, mount: &Mount) {
        match mount {
            Mount::Directory(path) => self.tagged(b'd', path),
            Mount::Link { path, target } => {
                self.tagged(b'l', path);
                self.text(target);
            }
            Mount::File { path, content } => {
                self.tagged(b'f', path);
                self.bytes(content);
            }
            Mount::Bind { source, path, attributes, identity } => {
                self.tagged(b'b', source);
                self.text(path);
                self.word(*attributes);
                self.word(identity.0);
                self.word(identity.1);
            }
            Mount::Pin { path, attributes } => {
                self.tagged(b'p', path);
                self.word(*attributes);
            }
            Mount::Terminals(path) => self.tagged(b't', path),
        }
    }

    fn landlock(&mut self, landlock: &Landlock) {
        self.word(landlock.files);
        self.word(landlock.scopes);
        self.word(landlock.least.into());
        self.list(&landlock.rules, |writer, (path, access)| {
            writer.text(path);
            writer.word(*access);
        });
    }

    fn option<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.word(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    fn tagged(&mut self, tag: u8, path: &CStr) {
        self.0.push(tag);
        self.text(path);
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(flag.into());
    }

    fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_le_bytes());
    }

    fn text(&mut self, text: &CStr) {
        self.bytes(text.to_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::decode::decode, *};

    fn plan() -> Plan {
        let mounts = vec![
            Mount::Directory(c"/proc".into()),
            Mount::Link { path: c"/bin".into(), target: c"usr/bin".into() },
            Mount::File { path: c"/etc/hosts".into(), content: b"127.0.0.1 localhost\n".to_vec() },
            Mount::Bind {
                source: c"/home/me".into(),
                path: c"/workspace".into(),
                attributes: 6,
                identity: (1, 2),
            },
            Mount::Pin { path: c"/workspace/.git".into(), attributes: 1 },
            Mount::Terminals(c"/dev/pts".into()),
        ];
        let network = Network::Listener(3128);
        let places = vec![(c"/places/0".into(), vec![c"a".into(), c"a/b".into()])];
        let scratch = Some(Scratch { path: c"/private/tmp".into(), size: 1 << 20, places });
        Plan {
            namespaces: Some(Namespaces { per_command: true, network, mounts, scratch }),
            landlock: Some(Landlock { files: 7, scopes: 3, least: 3, rules: vec![(c"/usr".into(), 5)] }),
            filter: vec![1, u64::MAX],
            key: 7,
        }
    }

    #[test]
    fn a_plan_comes_back_as_it_was() {
        for plan in [plan(), Plan::default()] {
            assert_eq!(decode(&encode(&plan)).unwrap(), plan);
        }
    }

    #[test]
    fn a_cut_or_longer_plan_is_none() {
        let bytes = encode(&plan());
        assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_none()));
        assert!(decode(&[bytes, vec![0]].concat()).is_none());
    }
}
