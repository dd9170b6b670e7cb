//! What git leaves alone, by the rules of ripgrep.

use agentx_core::{ErrorKind, Result};
use agentx_resource::{ReadOptions, ResourcePath, StatOptions};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::runtime::Place;

/// The largest file of patterns that is honoured: a set of patterns is an automaton, which is built at once.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// How many bytes of patterns are honoured in one walk.
const MAX_BYTES: usize = 1 << 20;

/// The `.gitignore` files that are in force where a walk is: those between the root of the repository and there, and
/// the repository's `.git/info/exclude`.
///
/// As ripgrep has it: outside a repository (a directory that holds `.git`) a `.gitignore` means nothing, a repository
/// within another has rules of its own, and a file or directory that is named as the start of a walk is never left out.
#[derive(Debug, Default)]
pub(super) struct Ignores {
    /// From the root of the outermost directory that was looked at to the innermost.
    levels: Vec<Level>,
    /// How many bytes of patterns were read.
    bytes: usize,
    not_honoured: usize,
    left_out: usize,
}

#[derive(Debug)]
struct Level {
    /// It is the root of a repository.
    repository: bool,
    patterns: Option<Gitignore>,
    exclude: Option<Gitignore>,
}

/// What a directory holds that says what is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) git: bool,
    pub(super) gitignore: bool,
}

impl Ignores {
    /// Takes in the rules of the directories above a walk's start, up to the root of the repository.
    pub(super) async fn enter_above(&mut self, start: &Place) -> Result<()> {
        let mut above = Vec::new();
        let mut directory = start.path.parent();
        while let Some(path) = directory {
            let git = is_there(start, &path, ".git").await?;
            directory = path.parent();
            above.push((path, git));
            if git {
                for (path, git) in above.into_iter().rev() {
                    self.enter(&start.at(path), Marks { git, gitignore: true }).await?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in the rules of a directory that is entered.
    pub(super) async fn enter(&mut self, directory: &Place, marks: Marks) -> Result<()> {
        let repository = marks.git;
        let inside = repository || self.levels.iter().any(|level| level.repository);
        let patterns =
            if inside && marks.gitignore { self.read(directory, ".gitignore").await? } else { None };
        let exclude = if repository { self.read(directory, ".git/info/exclude").await? } else { None };
        self.levels.push(Level { repository, patterns, exclude });
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.levels.pop();
    }

    /// Whether an entry of the directory that was entered last is left out. The innermost pattern decides.
    pub(super) fn leaves_out(&mut self, path: &ResourcePath, is_dir: bool) -> bool {
        let repository = self.levels.iter().rposition(|level| level.repository);
        let inner = repository.and_then(|at| self.levels.get(at..)).unwrap_or_default();
        let patterns = inner.iter().rev().filter_map(|level| level.patterns.as_ref());
        let exclude = inner.iter().filter_map(|level| level.exclude.as_ref());
        let verdict = patterns.chain(exclude).map(|set| set.matched(path.as_str(), is_dir));
        let left_out = verdict.into_iter().find(|verdict| !verdict.is_none()).is_some_and(|v| v.is_ignore());
        self.left_out += usize::from(left_out);
        left_out
    }

    /// How many entries were left out so far; a directory is one.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many files of patterns were too large to be honoured.
    pub(super) fn not_honoured(&self) -> usize {
        self.not_honoured
    }

    async fn read(&mut self, directory: &Place, name: &str) -> Result<Option<Gitignore>> {
        let file = directory.at(directory.path.join(name)?);
        let read = async {
            let read = file.fs.read(&file.path, ReadOptions::default()).await?;
            read.bytes(MAX_FILE_BYTES).await
        };
        match read.await {
            Ok(content) if self.bytes + content.len() <= MAX_BYTES => {
                self.bytes += content.len();
                Ok(build(&directory.path, &content))
            }
            Ok(_) => {
                self.not_honoured += 1;
                Ok(None)
            }
            Err(error) => match error.kind() {
                ErrorKind::LimitExceeded => {
                    self.not_honoured += 1;
                    Ok(None)
                }
                ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidInput
                | ErrorKind::PermissionDenied
                | ErrorKind::Escapes
                | ErrorKind::Truncated => Ok(None),
                _ => Err(file.explain(error)),
            },
        }
    }
}

/// The patterns of a file. As git does, a line that is no pattern is passed over.
fn build(directory: &ResourcePath, content: &[u8]) -> Option<Gitignore> {
    let mut patterns = GitignoreBuilder::new(directory.as_str());
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for line in content.split(|byte| *byte == b'\n') {
        patterns.add_line(None, &String::from_utf8_lossy(line)).ok();
    }
    patterns.build().ok().filter(|patterns| !patterns.is_empty())
}

async fn is_there(start: &Place, directory: &ResourcePath, name: &str) -> Result<bool> {
    let place = start.at(directory.join(name)?);
    match place.fs.stat(&place.path, StatOptions::no_follow()).await {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::Escapes => Ok(false),
            _ => Err(place.explain(error)),
        },
    }
}
