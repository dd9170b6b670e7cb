use bytes::Bytes;

use super::{
    shown,
    tree::{Node, Tree, fail},
};
use crate::{
    ErrorKind, Metadata, MkdirOptions, RemoveOptions, ResourcePath, Result, TransferOptions, WriteMode,
    WriteOptions,
};

/// How many links one path may go through, as on Linux.
const MAX_LINKS: usize = 40;

/// Whether a link at a path's end stands for what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Followed,
    Itself,
}

/// A name that is still to be gone to.
struct Step {
    name: String,
    /// Whether a link led here that is not the last of its path: what it leads to has to exist.
    must_exist: bool,
}

impl Tree {
    /// `path` without links: what the other operations of the tree work on. What does not exist is kept as it is.
    ///
    /// # Errors
    /// `Escapes` for a link that leads out, `InvalidPath` for too many of them, `NotFound` for one on the way that
    /// leads nowhere, `PermissionDenied` for a directory on the way that may not be searched.
    pub(super) fn real(
        &self,
        path: &ResourcePath,
        last: Last,
        operation: &'static str,
    ) -> Result<ResourcePath> {
        let Some(seen_at) = self.links_from.as_deref() else {
            return if self.modes {
                self.searched(path, operation).map(|()| path.clone())
            } else {
                Ok(path.clone())
            };
        };
        // The next step is the last element.
        let mut rest = steps(path.relative(), false);
        let mut real: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(Step { name, must_exist }) = rest.pop() {
            if name == ".." {
                if real.pop().is_none() {
                    return Err(fail(ErrorKind::Escapes, operation, path)
                        .with_message("a symbolic link leads above the root"));
                }
                continue;
            }
            let here = joined(&real)?;
            let found = match self.find(&here) {
                Some(Node::Directory(directory)) if self.modes && directory.mode & 0o100 == 0 => {
                    return Err(fail(ErrorKind::PermissionDenied, operation, path));
                }
                Some(Node::Directory(directory)) => directory.entries.get(&*name),
                _ => None,
            };
            match found {
                Some(Node::Link(target)) if !rest.is_empty() || last == Last::Followed => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(fail(ErrorKind::InvalidPath, operation, path)
                            .with_message("too many symbolic links"));
                    }
                    let must_exist = must_exist || !rest.is_empty();
                    if target.starts_with('/') {
                        real.clear();
                        let below = target.strip_prefix(seen_at.trim_end_matches('/'));
                        let below = below.filter(|below| below.is_empty() || below.starts_with('/'));
                        let below = below.ok_or_else(|| {
                            fail(ErrorKind::Escapes, operation, path)
                                .with_message("a symbolic link leads out of the root")
                        })?;
                        rest.extend(steps(below, must_exist));
                    } else {
                        rest.extend(steps(target, must_exist));
                    }
                }
                None if must_exist || rest.iter().any(|step| step.name == ".." || step.must_exist) => {
                    return Err(fail(ErrorKind::NotFound, operation, path));
                }
                _ => real.push(name),
            }
        }
        joined(&real)
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &ResourcePath) -> Result<(Metadata, Bytes)> {
        let real = self.real(path, Last::Followed, "read")?;
        let kind = match self.find(&real) {
            Some(node @ Node::File(file)) => {
                self.allowed(&real, 0o400, "read").map_err(|error| shown(error, &real, path))?;
                return Ok((self.describe(node), file.content.clone()));
            }
            None => ErrorKind::NotFound,
            Some(Node::Directory(_)) => ErrorKind::IsADirectory,
            Some(Node::Link(_) | Node::Other) => ErrorKind::InvalidInput,
        };
        Err(fail(kind, "read", path))
    }

    /// Where a write goes, links followed.
    pub(super) fn writable(&self, path: &ResourcePath, options: &WriteOptions) -> Result<ResourcePath> {
        let real = self.real(path, Last::Followed, "write")?;
        if options.mode == WriteMode::CreateNew && self.is_link(path)? {
            return Err(fail(ErrorKind::AlreadyExists, "write", path));
        }
        self.allowed(&real, 0o200, "write").map_err(|error| shown(error, &real, path))?;
        self.may_change(&real, "write").map_err(|error| shown(error, &real, path))?;
        Ok(real)
    }

    fn is_link(&self, path: &ResourcePath) -> Result<bool> {
        if self.links_from.is_none() {
            return Ok(false);
        }
        Ok(matches!(self.find(&self.real(path, Last::Itself, "stat")?), Some(Node::Link(_))))
    }

    pub(super) fn mkdir_real(&mut self, path: &ResourcePath, options: &MkdirOptions) -> Result<()> {
        let mut real = self.real(path, Last::Itself, "mkdir")?;
        if options.recursive && self.is_link(path)? {
            let target = self.real(path, Last::Followed, "mkdir")?;
            // Nothing is made where a link leads nowhere.
            if self.find(&target).is_some() {
                real = target;
            }
        }
        if self.find(&real).is_none() {
            self.may_change(&real, "mkdir").map_err(|error| shown(error, &real, path))?;
        }
        self.mkdir(&real, options).map_err(|error| shown(error, &real, path))
    }

    pub(super) fn rm_real(&mut self, path: &ResourcePath, options: &RemoveOptions) -> Result<()> {
        let real = match self.real(path, Last::Itself, "rm") {
            Err(error) if options.force && error.kind() == ErrorKind::NotFound => return Ok(()),
            real => real?,
        };
        if self.find(&real).is_some() {
            self.may_change(&real, "rm").map_err(|error| shown(error, &real, path))?;
        }
        self.rm(&real, options).map_err(|error| shown(error, &real, path))
    }

    pub(super) fn rename_real(
        &mut self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        let source = self.real(from, Last::Itself, "rename")?;
        let target = self.real(to, Last::Itself, "rename")?;
        let told = |error| shown(shown(error, &source, from), &target, to);
        if self.find(&source).is_some() {
            self.may_change(&source, "rename").map_err(told)?;
            self.may_change(&target, "rename").map_err(told)?;
        }
        self.rename(&source, &target, options).map_err(told)
    }

    pub(super) fn copy_real(
        &mut self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        let source = self.real(from, Last::Followed, "copy")?;
        match self.find(&source) {
            Some(Node::File(_)) => {
                self.allowed(&source, 0o400, "copy").map_err(|error| shown(error, &source, from))?;
            }
            Some(Node::Other | Node::Link(_)) if !to.is_root() => {
                return Err(fail(ErrorKind::InvalidInput, "copy", from));
            }
            _ => {}
        }
        // A directory is copied to where nothing is, and a link is something.
        let whole = matches!(self.find(&source), Some(Node::Directory(_)));
        let link = self.find(&source).is_some() && self.is_link(to)?;
        if link && (whole || options.create_new) && !to.starts_with(from) {
            return Err(fail(ErrorKind::AlreadyExists, "copy", to));
        }
        let target = self.real(to, Last::Followed, "copy")?;
        let told = |error| shown(shown(error, &source, from), &target, to);
        if matches!(self.find(&source), Some(Node::File(_))) && source != target {
            self.allowed(&target, 0o200, "copy").map_err(told)?;
            if matches!(self.find(&target), Some(Node::Other)) {
                return Err(fail(ErrorKind::InvalidInput, "copy", to));
            }
        }
        self.may_change(&target, "copy").map_err(told)?;
        self.copy(&source, &target, options).map_err(told)
    }

    /// Refuses a way through a directory that may not be searched.
    fn searched(&self, path: &ResourcePath, operation: &'static str) -> Result<()> {
        let above = std::iter::successors(path.parent(), ResourcePath::parent);
        for directory in above {
            if let Some(Node::Directory(directory)) = self.find(&directory)
                && directory.mode & 0o100 == 0
            {
                return Err(fail(ErrorKind::PermissionDenied, operation, path));
            }
        }
        Ok(())
    }

    /// Refuses what the permission bits of the node at `path` do not allow; content with nothing being there.
    pub(super) fn allowed(&self, path: &ResourcePath, bits: u32, operation: &'static str) -> Result<()> {
        let mode = match self.find(path) {
            Some(Node::File(file)) => file.mode,
            Some(Node::Directory(directory)) => directory.mode,
            _ => return Ok(()),
        };
        if self.modes && mode & bits != bits {
            return Err(fail(ErrorKind::PermissionDenied, operation, path));
        }
        Ok(())
    }

    /// Refuses a change of what is in the directory that holds `path`.
    pub(super) fn may_change(&self, path: &ResourcePath, operation: &'static str) -> Result<()> {
        match path.parent() {
            Some(parent) if matches!(self.find(&parent), Some(Node::Directory(_))) => {
                self.allowed(&parent, 0o300, operation).map_err(|error| error.with_path(path))
            }
            _ => Ok(()),
        }
    }
}

fn steps(path: &str, must_exist: bool) -> Vec<Step> {
    path.split('/')
        .filter(|name| !name.is_empty() && *name != ".")
        .rev()
        .map(|name| Step { name: name.to_owned(), must_exist })
        .collect()
}

fn joined(names: &[String]) -> Result<ResourcePath> {
    ResourcePath::new(format!("/{}", names.join("/")))
}
