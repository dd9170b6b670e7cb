use std::fmt::Write as _;

use agentx_resource::{Error, ErrorKind, ResourcePath, Result};
use object_store::path::Path;

use super::error::fail;

/// The object that makes its parent a directory.
pub(super) const MARKER: &str = ".agentx-dir";

/// The longest key of R2 and S3 (1024 bytes), less the marker of a directory.
pub(super) const MAX_KEY: usize = 1024 - 1 - MARKER.len();

/// The key of the file at `path`, which is the prefix of what is below `path`, too. Empty for the root.
pub(super) fn object(path: &ResourcePath, operation: &'static str) -> Result<Path> {
    let mut key = String::with_capacity(path.relative().len());
    for name in path.components() {
        if !key.is_empty() {
            key.push('/');
        }
        encode(name, &mut key);
    }
    if key.len() > MAX_KEY {
        return Err(too_long(path, operation));
    }
    Path::parse(key).map_err(|error| fail(ErrorKind::InvalidPath, operation, path).with_source(error))
}

/// The key of the marker of the directory `path`.
pub(super) fn marker(path: &ResourcePath, operation: &'static str) -> Result<Path> {
    Ok(object(path, operation)?.join(MARKER))
}

pub(super) fn too_long(path: &ResourcePath, operation: &'static str) -> Error {
    fail(ErrorKind::InvalidPath, operation, path)
        .with_message(format!("its key would be longer than {MAX_KEY} bytes"))
}

/// The name that a part of a key stands for; none where no name is encoded like this.
pub(super) fn decode(part: &str) -> Option<String> {
    let mut name = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                name.push(digit(*high)? << 4 | digit(*low)?);
                rest = tail;
            }
            _ => {
                name.push(byte);
                rest = tail;
            }
        }
    }
    let name = String::from_utf8(name).ok()?;
    // One name has one key: what another program encoded in its own way is no name of ours.
    let mut key = String::with_capacity(part.len());
    encode(&name, &mut key);
    (key == part).then_some(name)
}

/// Appends `name` as a part of a key. What stays as it is: everything that [`Path::parse`] takes, but `%`, and what would
/// not come through the XML of the S3 API, which has no place for some characters and trims white space.
fn encode(name: &str, key: &mut String) {
    let special = special(name);
    let trimmed = name.trim_matches(is_trimmed);
    for (index, char) in name.char_indices() {
        let edge =
            is_trimmed(char) && (trimmed.is_empty() || index == 0 || index + char.len_utf8() == name.len());
        if edge
            || char.is_control()
            || matches!(char, '%' | '\u{fffe}' | '\u{ffff}')
            || special == Some(index)
        {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string can't fail.
                let _ = write!(key, "%{byte:02X}");
            }
        } else {
            key.push(char);
        }
    }
}

fn is_trimmed(char: char) -> bool {
    char.is_whitespace() || char == '\u{feff}'
}

/// Which character to encode for the name not to be taken for something else: for our marker, or, by
/// `object_store`'s local store, for an upload under way (`x#1`) or for a drive (`c:`).
fn special(name: &str) -> Option<usize> {
    if name == MARKER {
        return Some(0);
    }
    if let [.., letter, b':' | b'|'] = name.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        return Some(name.len() - 1);
    }
    let (stem, suffix) = name.split_once('#')?;
    (!suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit())).then_some(stem.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(path: &str) -> String {
        object(&ResourcePath::new(path).unwrap(), "test").unwrap().to_string()
    }

    #[test]
    fn most_names_are_their_own_keys() {
        for name in
            ["a.txt", ".env", "...", "[...slug].ts", "a b", "ünï", "C# notes", "~x", "{}", "a\\b", "é"]
        {
            assert_eq!(key(&format!("/d/{name}")), format!("d/{name}"));
        }
    }

    #[test]
    fn what_is_encoded() {
        assert_eq!(key("/100%"), "100%25");
        assert_eq!(key("/ a / b\u{3000}"), "%20a%20/%20b%E3%80%80");
        assert_eq!(key("/a\nb\u{7f}"), "a%0Ab%7F");
        assert_eq!(key("/d/.agentx-dir"), "d/%2Eagentx-dir");
        assert_eq!(key("/d/.agentx-dir.txt"), "d/.agentx-dir.txt");
        assert_eq!(key("/a#1"), "a%231");
        assert_eq!(key("/c:/std::"), "c%3A/std::");
    }

    #[test]
    fn a_foreign_encoding_is_no_name() {
        for part in [" a", "a ", "%41", "%zz", "%", "%2", "a%2Eb", "%ff", ".agentx-dir", "%2e", "%0a"] {
            assert_eq!(decode(part), None, "{part}");
        }
    }

    #[test]
    fn a_key_has_a_bound() {
        let path = |len: usize| ResourcePath::new("/x".repeat(len / 2) + "y").unwrap();
        assert!(object(&path(MAX_KEY), "test").is_ok());
        let error = object(&path(MAX_KEY + 2), "test").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPath);
    }

    proptest! {
        #[test]
        fn names_round_trip(name in r"[%#./a \n\x7f.é1\u{85}\u{feff}\u{ffff}-]{1,9}|\PC{1,40}") {
            let Ok(path) = ResourcePath::new(format!("/{name}")) else { return Ok(()) };
            prop_assume!(!path.is_root());
            let key = object(&path, "test").unwrap();
            let names: Option<Vec<_>> = key.parts().map(|part| decode(part.as_ref())).collect();
            let names = names.unwrap();
            prop_assert_eq!(path.components().collect::<Vec<_>>(), names);
        }

        #[test]
        fn a_part_stands_for_one_name(part in r"[%2Ee5Dd.0aA]{1,6}|\PC{1,20}") {
            if let Some(name) = decode(&part) {
                let mut again = String::new();
                encode(&name, &mut again);
                prop_assert_eq!(part, again);
            }
        }
    }
}
