use std::sync::Arc;

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::ResourcePath;

/// Where commands see the root of the tree, and with that what a path means.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Absolute, without a trailing slash; empty for `/` itself.
    prefix: Arc<str>,
}

impl View {
    pub(crate) fn new(root: &str) -> Self {
        Self { prefix: root.trim_end_matches('/').into() }
    }

    pub(crate) fn root(&self) -> &str {
        if self.prefix.is_empty() { "/" } else { &self.prefix }
    }

    pub(crate) fn display(&self, path: &ResourcePath) -> String {
        if path.is_root() { self.root().to_owned() } else { format!("{}{path}", self.prefix) }
    }

    /// What `path` means for a command in `cwd`.
    pub(crate) fn resolve(&self, cwd: &ResourcePath, path: &str) -> Result<ResourcePath> {
        if path.is_empty() {
            return Err(error(ErrorKind::InvalidInput, path, "a path is needed"));
        }
        if path == "~" || path.starts_with("~/") {
            // The shell would mean a home directory, and a file tool would make a directory called `~`.
            return Err(error(ErrorKind::InvalidInput, path, "`~` is not expanded; give an absolute path"));
        }
        if path.len() > 2 * ResourcePath::MAX_LEN {
            return Err(error(ErrorKind::InvalidPath, path, "longer than 4095 bytes"));
        }
        let base = if path.starts_with('/') { String::new() } else { self.display(cwd) };
        let mut names: Vec<&str> = Vec::new();
        for name in base.split('/').chain(path.split('/')) {
            match name {
                ".." if names.pop().is_none() => return Err(self.escapes(path)),
                "" | "." | ".." => {}
                name => names.push(name),
            }
        }
        let mut below = names.into_iter();
        for expected in self.prefix.split('/').filter(|name| !name.is_empty()) {
            if below.next() != Some(expected) {
                return Err(self.escapes(path));
            }
        }
        let below: Vec<&str> = below.collect();
        ResourcePath::new(format!("/{}", below.join("/"))).map_err(|error| error.with_path(shorten(path)))
    }

    fn escapes(&self, path: &str) -> Error {
        let root = self.root();
        error(ErrorKind::Escapes, path, format!("only paths in {root} can be used"))
    }
}

fn error(kind: ErrorKind, path: &str, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(kind, "resolve path").with_path(shorten(path)).with_message(message)
}

/// A hostile path may be megabytes long; an error shows its beginning.
fn shorten(path: &str) -> String {
    path.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(root: &str, cwd: &str, path: &str) -> Result<String> {
        let cwd = ResourcePath::new(cwd).unwrap();
        View::new(root).resolve(&cwd, path).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn the_processes_view_is_accepted() {
        for (root, cwd, path, expected) in [
            ("/home/u/proj", "/", "/home/u/proj/a", "/a"),
            ("/home/u/proj", "/", "/home/u/proj", "/"),
            ("/home/u/proj", "/", "/home/u/proj/", "/"),
            ("/home/u/proj", "/src", "a", "/src/a"),
            ("/home/u/proj", "/src", "./a/./b//c", "/src/a/b/c"),
            ("/home/u/proj", "/src", "../a", "/a"),
            ("/home/u/proj", "/src", "..", "/"),
            ("/home/u/proj", "/", "../proj/a", "/a"),
            ("/home/u/proj", "/", "/home/./u/x/../proj/a", "/a"),
            ("/", "/src", "a", "/src/a"),
            ("/", "/src", "/a", "/a"),
            ("/workspace", "/", "report..final.md", "/report..final.md"),
            ("/workspace", "/", "app/[...slug].ts", "/app/[...slug].ts"),
            ("/workspace", "/", "./~", "/~"),
        ] {
            assert_eq!(resolve(root, cwd, path).unwrap(), expected, "{root} {cwd} {path}");
        }
    }

    #[test]
    fn a_path_outside_is_refused_and_the_root_is_named() {
        for path in ["/", "/etc/passwd", "/home/u/project2/a", "/home/u", "..", "../../x", "a/../../b"] {
            let error = resolve("/home/u/proj", "/", path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Escapes, "{path}");
            assert!(error.to_string().contains("/home/u/proj"), "{error}");
        }
        assert_eq!(resolve("/", "/", "../x").unwrap_err().kind(), ErrorKind::Escapes);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(resolve("/w", "/", "").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(resolve("/w", "/", "~/x").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(resolve("/w", "/", "a\0b").unwrap_err().kind(), ErrorKind::InvalidPath);
        let error = resolve("/w", "/", &"x/".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPath);
        assert!(error.to_string().len() < 500);
    }

    #[test]
    fn display_is_the_way_back() {
        for root in ["/", "/workspace", "/home/u/proj"] {
            for path in ["/", "/a", "/a/b c"] {
                let path = ResourcePath::new(path).unwrap();
                let view = View::new(root);
                assert_eq!(view.resolve(&ResourcePath::root(), &view.display(&path)).unwrap(), path);
            }
        }
    }
}
