/// How much of a file's beginning says what it is.
pub(super) const SNIFF_BYTES: usize = 8 << 10;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text,
    /// An image that a model can look at, by its media type.
    Image(&'static str),
    /// Something else, in words.
    Binary(&'static str),
}

const MAGIC: &[(&[u8], Content)] = &[
    (b"\x89PNG\r\n\x1a\n", Content::Image("image/png")),
    (b"\xff\xd8\xff", Content::Image("image/jpeg")),
    (b"GIF87a", Content::Image("image/gif")),
    (b"GIF89a", Content::Image("image/gif")),
    (b"%PDF-", Content::Binary("a PDF document")),
    (b"PK\x03\x04", Content::Binary("a ZIP archive or office document")),
    (b"\x1f\x8b", Content::Binary("gzip data")),
    (b"BZh", Content::Binary("bzip2 data")),
    (b"\xfd7zXZ\x00", Content::Binary("xz data")),
    (b"\x28\xb5\x2f\xfd", Content::Binary("zstd data")),
    (b"\x7fELF", Content::Binary("an ELF program or library")),
    (b"\0asm", Content::Binary("a WebAssembly module")),
    (b"SQLite format 3\0", Content::Binary("an SQLite database")),
    (b"\xff\xfe", Content::Binary("UTF-16 text (convert it with iconv)")),
    (b"\xfe\xff", Content::Binary("UTF-16 text (convert it with iconv)")),
];

/// What a file is that begins with `start`, its first [`SNIFF_BYTES`] or all of it.
pub(crate) fn sniff(start: &[u8]) -> Content {
    if let Some((_, content)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        return *content;
    }
    if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        return Content::Image("image/webp");
    }
    // No text holds NUL, and nearly everything else does.
    let start = start.get(..SNIFF_BYTES).unwrap_or(start);
    if start.contains(&0) { Content::Binary("binary data") } else { Content::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(sniff(b""), Content::Text);
        assert_eq!(sniff("grüße\n".as_bytes()), Content::Text);
        assert_eq!(sniff(b"latin-1: \xfc"), Content::Text);
        assert_eq!(sniff(b"RIFF\x10\0\0\0WEBPVP8 "), Content::Image("image/webp"));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Content::Image("image/jpeg"));
        assert_eq!(sniff(b"abc\0def"), Content::Binary("binary data"));
        assert!(matches!(sniff(b"%PDF-1.7"), Content::Binary("a PDF document")));
    }
}
