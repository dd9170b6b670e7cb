use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{Fields, Recordable, unreadable};
use crate::{ConditionStrength, DirEntry, FileKind, FsCapabilities, Metadata, ResourcePath, Result, Version};

/// An object of the fields that are there.
pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let there = fields.into_iter().filter(|(_, value)| !value.is_null() && *value != false);
    Value::Object(there.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

impl Recordable for FileKind {
    fn to_record(&self) -> Value {
        Value::from(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Other => "other",
        })
    }

    fn from_record(record: Value) -> Result<Self> {
        match record.as_str() {
            Some("file") => Ok(Self::File),
            Some("directory") => Ok(Self::Directory),
            Some("symlink") => Ok(Self::Symlink),
            Some("other") => Ok(Self::Other),
            _ => Err(unreadable("kind of file")),
        }
    }
}

impl Recordable for Metadata {
    fn to_record(&self) -> Value {
        let Self { kind, len, modified, version, mode, link_target } = self;
        object([
            ("kind", kind.to_record()),
            ("len", Value::from(*len)),
            ("modified", modified.to_record()),
            ("version", version.as_ref().map_or(Value::Null, |version| Value::from(version.as_str()))),
            ("mode", mode.map_or(Value::Null, Value::from)),
            ("link_target", link_target.to_record()),
        ])
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("metadata", record);
        let mode = fields.number_if("mode")?.map(u32::try_from).transpose();
        Ok(Self {
            kind: fields.read("kind")?,
            len: fields.number("len")?,
            modified: fields.read_if::<SystemTime>("modified")?,
            version: fields.text_if("version")?.map(Version::new),
            mode: mode.map_err(|_| unreadable("mode"))?,
            link_target: fields.text_if("link_target")?,
        })
    }
}

impl Recordable for DirEntry {
    fn to_record(&self) -> Value {
        let Self { name, path, metadata } = self;
        let path = path.as_ref().map_or(Value::Null, |path| Value::from(path.as_str()));
        object([("name", Value::from(name.as_str())), ("path", path), ("metadata", metadata.to_record())])
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("directory entry", record);
        let path = fields.text_if("path")?.map(ResourcePath::new).transpose();
        Ok(Self {
            name: fields.text("name")?,
            path: path.map_err(|_| unreadable("path"))?,
            metadata: fields.read("metadata")?,
        })
    }
}

impl Recordable for FsCapabilities {
    fn to_record(&self) -> Value {
        let Self { append, if_match, atomic_rename, atomic_dir_rename, mode_bits, symlinks } = *self;
        let strength = if_match.map(|strength| match strength {
            ConditionStrength::Atomic => "atomic",
            ConditionStrength::Cooperative => "cooperative",
        });
        json!({
            "append": append, "if_match": strength, "atomic_rename": atomic_rename,
            "atomic_dir_rename": atomic_dir_rename, "mode_bits": mode_bits, "symlinks": symlinks,
        })
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("description of a file system", record);
        Ok(Self {
            append: fields.is("append"),
            if_match: match fields.text_if("if_match")?.as_deref() {
                None => None,
                Some("atomic") => Some(ConditionStrength::Atomic),
                Some("cooperative") => Some(ConditionStrength::Cooperative),
                Some(_) => return Err(unreadable("strength of a condition")),
            },
            atomic_rename: fields.is("atomic_rename"),
            atomic_dir_rename: fields.is("atomic_dir_rename"),
            mode_bits: fields.is("mode_bits"),
            symlinks: fields.is("symlinks"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_is_known_of_a_file_comes_back_as_it_was() {
        let path = ResourcePath::new("/a").unwrap();
        for kind in [FileKind::File, FileKind::Directory, FileKind::Symlink, FileKind::Other] {
            let plain = Metadata::of(kind);
            let full = plain
                .clone()
                .with_modified(UNIX_EPOCH + Duration::from_nanos(5))
                .with_version(Version::new("v\"1"))
                .with_mode(0o644)
                .with_link_target("../b");
            for metadata in [plain, full] {
                for entry in [
                    DirEntry::new(path.clone(), metadata.clone()),
                    DirEntry::unaddressable("\u{fffd}", metadata.clone()),
                ] {
                    assert_eq!(DirEntry::from_record(entry.to_record()).unwrap(), entry);
                }
            }
        }
        let some = FsCapabilities::new().with_append().with_if_match(ConditionStrength::Cooperative);
        for capabilities in [FsCapabilities::new(), some, some.with_symlinks().with_mode_bits()] {
            assert_eq!(FsCapabilities::from_record(capabilities.to_record()).unwrap(), capabilities);
        }
    }
}
