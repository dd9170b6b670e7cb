use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};

use super::super::PROVIDER;
use crate::{
    Error, ErrorKind, FileKind, Metadata, MkdirOptions, RemoveOptions, ResourcePath, Result, TransferOptions,
    Version, WriteMode, WriteOptions,
};

/// The files and directories, and what may be done to them. Every change is checked whole before it begins.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Node,
    last_version: u64,
    /// Where the root is seen by whoever makes links; none where there are no links.
    pub(super) links_from: Option<Arc<str>>,
    /// Whether entries have permission bits.
    pub(super) modes: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
    /// A symbolic link, and where it leads, as it was planted.
    Link(Arc<str>),
    /// Neither file nor directory nor link.
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) content: Bytes,
    version: u64,
    modified: Option<SystemTime>,
    pub(super) mode: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) entries: BTreeMap<Arc<str>, Node>,
    pub(super) mode: u32,
}

impl Default for Directory {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), mode: 0o755 }
    }
}

/// What a path leads to.
enum Place<'t> {
    /// Something is there.
    Node(&'t Node),
    /// Nothing is there, in a directory that is.
    Vacant,
    /// The directory is missing too.
    NoParent,
    /// On the way is something that is no directory.
    BelowFile,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node::Directory(Directory::default());
        Self { root, last_version: 0, links_from: None, modes: false }
    }

    /// What is at `path`. Below a file there is nothing.
    pub(super) fn find(&self, path: &ResourcePath) -> Option<&Node> {
        match self.place(path) {
            Place::Node(node) => Some(node),
            Place::Vacant | Place::NoParent | Place::BelowFile => None,
        }
    }

    /// As [`Tree::find`], to change it.
    pub(super) fn find_mut(&mut self, path: &ResourcePath) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for name in path.components() {
            let Node::Directory(directory) = node else { return None };
            node = directory.entries.get_mut(name)?;
        }
        Some(node)
    }

    /// The entry of the directory `path` that follows the name `after`.
    pub(super) fn next_entry(&self, path: &ResourcePath, after: &str) -> Option<(Arc<str>, Metadata)> {
        match self.find(path)? {
            Node::Directory(directory) => directory
                .entries
                .range::<str, _>((Excluded(after), Unbounded))
                .next()
                .map(|(name, node)| (Arc::clone(name), self.describe(node))),
            _ => None,
        }
    }

    /// What is known of a node.
    pub(super) fn describe(&self, node: &Node) -> Metadata {
        let (metadata, mode) = match node {
            Node::File(file) => (file.metadata(), file.mode),
            Node::Directory(directory) => (Metadata::directory(), directory.mode),
            Node::Link(target) => (Metadata::of(FileKind::Symlink).with_link_target(&**target), 0o777),
            Node::Other => (Metadata::of(FileKind::Other), 0o644),
        };
        if self.modes { metadata.with_mode(mode) } else { metadata }
    }

    fn place(&self, path: &ResourcePath) -> Place<'_> {
        let mut node = &self.root;
        let mut components = path.components().peekable();
        while let Some(name) = components.next() {
            let Node::Directory(directory) = node else { return Place::BelowFile };
            node = match directory.entries.get(name) {
                Some(child) => child,
                None if components.peek().is_some() => return Place::NoParent,
                None => return Place::Vacant,
            };
        }
        Place::Node(node)
    }

    /// Whether a write would succeed now. The order of the questions is the order of precedence: parents, what is at
    /// the path, condition.
    pub(super) fn check_write(&self, path: &ResourcePath, options: &WriteOptions) -> Result<()> {
        let kind = match (self.place(path), &options.mode) {
            (Place::BelowFile, _) => ErrorKind::NotADirectory,
            (Place::NoParent, _) if !options.create_parents => ErrorKind::NotFound,
            (Place::Node(_), WriteMode::CreateNew) => ErrorKind::AlreadyExists,
            (Place::Node(Node::Directory(_)), _) => ErrorKind::IsADirectory,
            (Place::Node(Node::Link(_) | Node::Other), _) => ErrorKind::InvalidInput,
            (Place::Node(Node::File(file)), WriteMode::IfMatch(version)) if file.version() != *version => {
                ErrorKind::ConditionFailed
            }
            (Place::Vacant | Place::NoParent, WriteMode::IfMatch(_)) => ErrorKind::ConditionFailed,
            (Place::Node(_) | Place::Vacant | Place::NoParent, _) => return Ok(()),
        };
        Err(fail(kind, "write", path))
    }

    pub(super) fn write(
        &mut self,
        path: &ResourcePath,
        data: Bytes,
        options: &WriteOptions,
        now: Option<SystemTime>,
    ) -> Result<Metadata> {
        self.check_write(path, options)?;
        self.last_version += 1;
        let version = self.last_version;
        let (parent, name) = self.parent(path, "write")?;
        let (content, mode) = match (&options.mode, parent.entries.remove(name)) {
            (WriteMode::Append, Some(Node::File(file))) => (joined(file.content, data), file.mode),
            (_, Some(Node::File(file))) => (data, file.mode),
            _ => (data, 0o644),
        };
        let node = Node::File(File { content, version, modified: now, mode });
        parent.entries.insert(name.into(), node.clone());
        Ok(self.describe(&node))
    }

    pub(super) fn mkdir(&mut self, path: &ResourcePath, options: &MkdirOptions) -> Result<()> {
        let kind = match self.place(path) {
            Place::Node(Node::Directory(_)) if options.recursive => return Ok(()),
            Place::Node(_) => ErrorKind::AlreadyExists,
            Place::BelowFile => ErrorKind::NotADirectory,
            Place::NoParent if !options.recursive => ErrorKind::NotFound,
            Place::Vacant | Place::NoParent => {
                let (parent, name) = self.parent(path, "mkdir")?;
                parent.entries.insert(name.into(), Node::Directory(Directory::default()));
                return Ok(());
            }
        };
        Err(fail(kind, "mkdir", path))
    }

    pub(super) fn rm(&mut self, path: &ResourcePath, options: &RemoveOptions) -> Result<()> {
        if path.is_root() {
            return Err(fail(ErrorKind::InvalidInput, "rm", path).with_message("the root can't be removed"));
        }
        match self.find(path) {
            None if options.force => return Ok(()),
            None => return Err(fail(ErrorKind::NotFound, "rm", path)),
            Some(Node::Directory(directory)) if !options.recursive && !directory.entries.is_empty() => {
                return Err(fail(ErrorKind::DirectoryNotEmpty, "rm", path));
            }
            Some(_) => {}
        }
        let (parent, name) = self.parent(path, "rm")?;
        parent.entries.remove(name);
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        if self.check_transfer(from, to, options, "rename")?.is_none() {
            return Ok(());
        }
        if let Some(Node::Directory(source)) = self.find(from) {
            match self.find(to) {
                Some(Node::Directory(target)) if !target.entries.is_empty() => {
                    return Err(fail(ErrorKind::DirectoryNotEmpty, "rename", to));
                }
                Some(Node::Directory(_)) | None => {}
                Some(_) => return Err(fail(ErrorKind::NotADirectory, "rename", to)),
            }
            check_lengths(source, to, "rename")?;
        }
        let (parent, name) = self.parent(from, "rename")?;
        let Some(node) = parent.entries.remove(name) else {
            return Err(fail(ErrorKind::NotFound, "rename", from));
        };
        let (parent, name) = self.parent(to, "rename")?;
        parent.entries.insert(name.into(), node);
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        let Some(node) = self.check_transfer(from, to, options, "copy")? else {
            return Ok(());
        };
        if let Node::Directory(source) = node {
            if self.find(to).is_some() {
                return Err(fail(ErrorKind::AlreadyExists, "copy", to));
            }
            check_lengths(source, to, "copy")?;
        }
        let mut node = node.clone();
        let (parent, name) = self.parent(to, "copy")?;
        // A file that is replaced keeps its bits, whatever replaces it.
        if let (Node::File(file), Some(Node::File(before))) = (&mut node, parent.entries.get(name)) {
            file.mode = before.mode;
        }
        parent.entries.insert(name.into(), node);
        Ok(())
    }

    /// What rename and copy ask alike: the node to transfer, or `None` where there is nothing to do.
    fn check_transfer(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
        operation: &'static str,
    ) -> Result<Option<&Node>> {
        if from.is_root() || to.is_root() {
            return Err(
                fail(ErrorKind::InvalidInput, operation, from).with_message("the root stays as it is")
            );
        }
        let Some(node) = self.find(from) else {
            return Err(fail(ErrorKind::NotFound, operation, from));
        };
        if from == to && !options.create_new {
            return Ok(None);
        }
        let directory = matches!(node, Node::Directory(_));
        if directory && from != to && to.starts_with(from) {
            return Err(
                fail(ErrorKind::InvalidInput, operation, to).with_message("a directory can't hold itself")
            );
        }
        let kind = match self.place(to) {
            Place::BelowFile => ErrorKind::NotADirectory,
            Place::NoParent => ErrorKind::NotFound,
            Place::Node(_) if options.create_new => ErrorKind::AlreadyExists,
            Place::Node(Node::Directory(_)) if !directory => ErrorKind::IsADirectory,
            Place::Node(_) | Place::Vacant => return Ok(Some(node)),
        };
        Err(fail(kind, operation, to))
    }

    /// The directory that holds `path`, created where it is missing, and the name of `path` in it.
    fn parent<'p>(
        &mut self,
        path: &'p ResourcePath,
        operation: &'static str,
    ) -> Result<(&mut Directory, &'p str)> {
        let mut components = path.components();
        let Some(name) = components.next_back() else {
            return Err(fail(ErrorKind::InvalidInput, operation, path));
        };
        let mut node = &mut self.root;
        for component in components {
            let Node::Directory(directory) = node else {
                return Err(fail(ErrorKind::NotADirectory, operation, path));
            };
            node = directory
                .entries
                .entry(component.into())
                .or_insert_with(|| Node::Directory(Directory::default()));
        }
        match node {
            Node::Directory(directory) => Ok((directory, name)),
            _ => Err(fail(ErrorKind::NotADirectory, operation, path)),
        }
    }
}

impl File {
    pub(super) fn metadata(&self) -> Metadata {
        let metadata = Metadata::file(self.content.len() as u64).with_version(self.version());
        match self.modified {
            Some(modified) => metadata.with_modified(modified),
            None => metadata,
        }
    }

    pub(super) fn version(&self) -> Version {
        Version::new(self.version.to_string())
    }
}

/// Grows in place while no reader holds the content, so that many appends cost what they add.
fn joined(content: Bytes, data: Bytes) -> Bytes {
    if content.is_empty() {
        return data;
    }
    let mut all = content.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    all.extend_from_slice(&data);
    all.freeze()
}

/// Refuses a transfer after which something would have no path. It bounds the depth of the tree, too.
fn check_lengths(directory: &Directory, to: &ResourcePath, operation: &'static str) -> Result<()> {
    let mut pending = vec![(directory, to.as_str().len())];
    while let Some((directory, length)) = pending.pop() {
        for (name, node) in &directory.entries {
            let length = length + 1 + name.len();
            if length > ResourcePath::MAX_LEN {
                return Err(fail(ErrorKind::InvalidPath, operation, to)
                    .with_message("a path below would be longer than 4095 bytes"));
            }
            if let Node::Directory(directory) = node {
                pending.push((directory, length));
            }
        }
    }
    Ok(())
}

pub(super) fn fail(kind: ErrorKind, operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(kind, operation).with_path(path).with_provider(PROVIDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_can_not_grow_deeper_than_its_paths() {
        let mut tree = Tree::new();
        let deep = |first: &str| ResourcePath::new(format!("/{first}{}", "/x".repeat(1500))).unwrap();
        tree.mkdir(&deep("a"), &MkdirOptions::recursive()).unwrap();
        tree.mkdir(&deep("b"), &MkdirOptions::recursive()).unwrap();
        let (a, into_b) = (ResourcePath::new("/a").unwrap(), deep("b").join("a").unwrap());
        for result in [
            tree.rename(&a, &into_b, &TransferOptions::default()),
            tree.copy(&a, &into_b, &TransferOptions::default()),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidPath);
        }
        assert!(tree.find(&deep("a")).is_some());
    }

    #[test]
    fn an_append_does_not_copy_what_is_there() {
        let mut content = Bytes::from(Vec::from([b'x'; 1000]));
        let mut moves = 0;
        for _ in 0..10_000 {
            let before = content.as_ptr();
            content = joined(content, Bytes::from_static(b"0123456789"));
            moves += usize::from(content.as_ptr() != before);
        }
        assert_eq!(content.len(), 101_000);
        assert!(moves < 20, "{moves} copies");
    }
}
