use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::{Error, ErrorKind, Result};

/// A place within a resource: absolute, UTF-8, normalised, parsed once.
///
/// `/` separates components. `.` and empty components are dropped, so `/a//b/.` is `/a/b`. `..` as a component,
/// NUL, a path of more than [`ResourcePath::MAX_LEN`] bytes and a component of more than
/// [`ResourcePath::MAX_COMPONENT_LEN`] bytes are refused. Everything else is an ordinary name: `report..final.md`,
/// `[...slug].ts`, `C:\x`, a newline.
///
/// A `ResourcePath` is a name, not a boundary: what keeps a caller inside a root is the provider's own resolution.
///
/// ```
/// use agentx_resource::ResourcePath;
///
/// let path = ResourcePath::new("/src//./main.rs")?;
/// assert_eq!(path.as_str(), "/src/main.rs");
/// assert_eq!(path.parent().unwrap().as_str(), "/src");
/// assert!(ResourcePath::new("/src/../etc/passwd").is_err());
/// # Ok::<(), agentx_resource::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePath(Arc<str>);

impl ResourcePath {
    /// The longest path, in bytes.
    pub const MAX_LEN: usize = 4095;
    /// The longest component, in bytes.
    pub const MAX_COMPONENT_LEN: usize = 255;

    /// The root of a resource, `/`.
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Parses an absolute path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPath`] for a relative path and for what the type's description refuses.
    pub fn new(path: impl AsRef<str>) -> Result<Self> {
        let path = path.as_ref();
        if !path.starts_with('/') {
            return Err(invalid(path, "not absolute"));
        }
        Self::normalise("", path, path)
    }

    /// The place `relative` below this one. A leading `/` in `relative` has no meaning: `join` never leaves `self`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPath`], as for [`ResourcePath::new`].
    pub fn join(&self, relative: impl AsRef<str>) -> Result<Self> {
        let relative = relative.as_ref();
        Self::normalise(&self.0, relative, relative)
    }

    fn normalise(base: &str, rest: &str, shown: &str) -> Result<Self> {
        // Checked before anything is built, so that a hostile path costs no more than its own length.
        if base.len() + rest.len() > Self::MAX_LEN * 2 {
            return Err(too_long(shown));
        }
        let mut out = String::with_capacity(base.len() + rest.len() + 1);
        out.push_str(base.trim_end_matches('/'));
        for component in rest.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(invalid(shown, "`..` is not allowed")),
                _ if component.len() > Self::MAX_COMPONENT_LEN => {
                    return Err(invalid(shown, "a name is longer than 255 bytes"));
                }
                _ if component.contains('\0') => return Err(invalid(shown, "NUL is not allowed")),
                _ => {
                    out.push('/');
                    out.push_str(component);
                }
            }
        }
        if out.is_empty() {
            out.push('/');
        }
        if out.len() > Self::MAX_LEN {
            return Err(too_long(shown));
        }
        Ok(Self(out.into()))
    }

    /// The path as text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path without its leading `/`; empty for the root.
    pub fn relative(&self) -> &str {
        self.0.strip_prefix('/').unwrap_or(&self.0)
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The names from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// The last name; none for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components().next_back()
    }

    /// The part of the file name behind its last dot, where there is one and the dot is not the first character.
    pub fn extension(&self) -> Option<&str> {
        self.file_name()?
            .rsplit_once('.')
            .filter(|(stem, _)| !stem.is_empty())
            .map(|(_, extension)| extension)
    }

    /// The directory that holds this; none for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/')? {
            _ if self.is_root() => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.into())),
        }
    }

    /// Whether this is `base` or lies below it. Compares whole components: `/ab` does not start with `/a`.
    pub fn starts_with(&self, base: &Self) -> bool {
        self.strip_prefix(base).is_some()
    }

    /// What remains of this path below `base`, without a leading `/`; none when it does not lie there.
    pub fn strip_prefix(&self, base: &Self) -> Option<&str> {
        if base.is_root() {
            return Some(self.relative());
        }
        match self.0.strip_prefix(&*base.0)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

fn invalid(path: &str, message: &'static str) -> Error {
    // A hostile path may be megabytes long; an error shows its beginning.
    let shown: String = path.chars().take(200).collect();
    Error::new(ErrorKind::InvalidPath, "parse path").with_path(shown).with_message(message)
}

fn too_long(path: &str) -> Error {
    invalid(path, "longer than 4095 bytes")
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for ResourcePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ResourcePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourcePath {
    type Err = Error;

    fn from_str(path: &str) -> Result<Self> {
        Self::new(path)
    }
}

impl TryFrom<&str> for ResourcePath {
    type Error = Error;

    fn try_from(path: &str) -> Result<Self> {
        Self::new(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_kept() {
        for name in ["report..final.md", "[...slug].ts", "...", "a b", "a\nb", "C:\\x", "..a", "ünï", "-rf"]
        {
            let path = ResourcePath::new(format!("/{name}")).unwrap();
            assert_eq!(path.file_name(), Some(name));
        }
    }

    #[test]
    fn what_is_refused() {
        let long_name = format!("/{}", "x".repeat(256));
        let long_path = "/x".repeat(2048);
        let huge = "/".repeat(1 << 20);
        for path in ["", "a", "a/b", "/..", "/a/../b", "/a/..", "/a\0b", &long_name, &long_path, &huge] {
            let error = ResourcePath::new(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPath, "{path:.40}");
            assert!(error.to_string().len() < 1000);
        }
    }

    #[test]
    fn parts() {
        let path = ResourcePath::new("/a/b/c.tar.gz/").unwrap();
        assert_eq!(path.extension(), Some("gz"));
        assert_eq!(path.parent().unwrap().parent().unwrap().parent().unwrap(), ResourcePath::root());
        assert_eq!(ResourcePath::root().parent(), None);
        assert_eq!(ResourcePath::root().file_name(), None);
        assert_eq!(ResourcePath::new("/.hidden").unwrap().extension(), None);
        assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b", "c.tar.gz"]);
    }

    #[test]
    fn prefixes_are_whole_components() {
        let a = ResourcePath::new("/a").unwrap();
        assert!(!ResourcePath::new("/ab").unwrap().starts_with(&a));
        assert_eq!(ResourcePath::new("/a/b").unwrap().strip_prefix(&a), Some("b"));
        assert_eq!(a.strip_prefix(&a), Some(""));
        assert_eq!(a.strip_prefix(&ResourcePath::root()), Some("a"));
    }

    #[test]
    fn join_never_leaves() {
        let base = ResourcePath::new("/base").unwrap();
        assert_eq!(base.join("/etc/passwd").unwrap().as_str(), "/base/etc/passwd");
        assert_eq!(base.join("").unwrap(), base);
        assert!(base.join("../x").is_err());
    }
}
