use agentx::resource::{Error, ErrorKind, ResourcePath, Result};

/// Where a path of this API leads below the root, as commands see the root. A relative one begins at the root. `..` is
/// resolved by name.
pub(super) fn below(root: &str, path: &str) -> Result<ResourcePath> {
    let absolute = if path.starts_with('/') { path.to_owned() } else { format!("{root}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in absolute.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            _ => names.push(name),
        }
    }
    let mut rest = names.into_iter();
    for wanted in root.split('/').filter(|name| !name.is_empty()) {
        if rest.next() != Some(wanted) {
            return Err(Error::new(ErrorKind::Escapes, "resolve")
                .with_path(path)
                .with_message(format!("files are served below {root} alone")));
        }
    }
    ResourcePath::new(format!("/{}", rest.collect::<Vec<_>>().join("/")))
}

/// The path as commands see it.
pub(super) fn seen(root: &str, path: &ResourcePath) -> String {
    if path.is_root() { root.to_owned() } else { format!("{}{path}", root.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_below_the_root_and_nowhere_else() {
        for (path, found) in [
            ("/workspace", "/"),
            ("/workspace/a//b/", "/a/b"),
            ("a/./b", "/a/b"),
            ("/workspace/a/../b", "/b"),
            ("/x/../workspace/a", "/a"),
        ] {
            assert_eq!(below("/workspace", path).unwrap().as_str(), found, "{path}");
        }
        for path in ["/", "/etc/passwd", "/workspace/../etc", "../a", "/workspaces/a"] {
            assert_eq!(below("/workspace", path).unwrap_err().kind(), ErrorKind::Escapes, "{path}");
        }
        assert_eq!(below("/", "/etc").unwrap().as_str(), "/etc");
        assert_eq!(seen("/", &below("/", "/etc").unwrap()), "/etc");
    }
}
