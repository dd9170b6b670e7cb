//! Counts a directory without any of the tools that the agent uses, and reads a report.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) bytes: u64,
    pub(crate) links: u64,
    /// Files, lines and bytes by extension; what has none, or an odd one, under the empty text.
    pub(crate) by_extension: BTreeMap<String, [u64; 3]>,
    /// Sizes of files, largest first.
    pub(crate) largest: Vec<u64>,
}

impl Census {
    pub(crate) fn take(directory: &Path) -> Self {
        let mut census = Self::default();
        census.count(directory);
        census.largest.sort_unstable_by(|a, b| b.cmp(a));
        census
    }

    fn count(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                self.directories += 1;
                self.count(&entry.path());
            } else if kind.is_symlink() {
                self.links += 1;
            } else {
                let content = fs::read(entry.path()).unwrap();
                let lines = content.split(|byte| *byte == b'\n').count() as u64 - 1;
                let bytes = content.len() as u64;
                self.files += 1;
                self.bytes += bytes;
                self.largest.push(bytes);
                let counted = self.by_extension.entry(extension(entry.file_name().as_bytes())).or_default();
                *counted = [counted[0] + 1, counted[1] + lines, counted[2] + bytes];
            }
        }
    }
}

fn extension(name: &[u8]) -> String {
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let extension = dot.map(|dot| &name[dot + 1..]).unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_+-".contains(byte);
    if (1..=16).contains(&extension.len()) && extension.iter().all(plain) {
        String::from_utf8(extension.to_vec()).unwrap()
    } else {
        String::new()
    }
}

/// A report that the agent wrote.
pub(crate) struct Report {
    pub(crate) text: String,
}

impl Report {
    fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        let rows = self.text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        rows.map(|row| row.split(" | ").collect())
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        let row =
            self.rows().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name}: {}", self.text));
        row[1].parse().unwrap_or_else(|_| panic!("{name}: {}", self.text))
    }

    fn counted(&self) -> impl Iterator<Item = (&str, [u64; 3])> {
        let counted = self.rows().filter(|row| row.len() == 4);
        counted.filter_map(|row| {
            Some((row[0], [row[1].parse().ok()?, row[2].parse().ok()?, row[3].parse().ok()?]))
        })
    }

    pub(crate) fn extensions(&self) -> HashMap<String, [u64; 3]> {
        self.counted()
            .filter_map(|(name, counted)| Some((name.strip_prefix('.')?.to_owned(), counted)))
            .collect()
    }

    pub(crate) fn others(&self) -> Option<[u64; 3]> {
        self.counted().find(|(name, _)| *name == "all others").map(|(_, counted)| counted)
    }

    pub(crate) fn largest(&self) -> Vec<u64> {
        let table = self.text.split("## The largest files").nth(1).unwrap_or_default();
        let table = table.split("\n## ").next().unwrap_or_default();
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect()
    }
}
