use std::{cmp::Reverse, time::SystemTime};

use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{FileKind, FileSystemExt};
use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use serde_json::json;

use super::{
    Action,
    first::{First, fit},
    schema,
    walk::Walk,
};
use crate::{NodeRuntime, runtime::Place};

/// How many files are told.
const MAX_FILES: usize = 1000;
/// The longest pattern, in bytes: it bounds the automaton that is built of it.
const MAX_PATTERN: usize = 1000;

/// Finds files by name, the last modified first.
#[derive(Debug)]
pub(super) struct Glob(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pattern: String,
    path: Option<String>,
}

#[async_trait]
impl Action for Glob {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Finds files below {} by their names: src/**/*.ts, *.{{json,toml}}. `*` stays within a directory, `**` \
             crosses them. At most {MAX_FILES} files are told, the last modified first; .git and what \
             git ignores are left out.",
            self.0.root()
        );
        let properties = json!({
            "pattern": {"type": "string", "description": "The pattern, matched against the path below the directory"},
            "path": {"type": "string", "description": "The directory; the working directory by default"},
        });
        ToolDefinition::new("glob", description, schema(&properties, &["pattern"]))
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let (base, pattern) = split(&input.pattern);
        let matcher = matcher(pattern, "glob")?;
        let path = match (&input.path, base) {
            (None, "") => ".".to_owned(),
            (None, base) => base.to_owned(),
            (Some(path), "") => path.clone(),
            (Some(_), base) if base.starts_with('/') => base.to_owned(),
            (Some(path), base) => format!("{path}/{base}"),
        };
        if let Some(path) = &input.path {
            // A wrong directory is a mistake; a pattern that leads nowhere only matches nothing.
            let place = self.0.readable(path)?;
            let metadata = place.fs.metadata(&place.path).await.map_err(|error| place.explain(error))?;
            if !metadata.is_dir() {
                return Err(Error::new(ErrorKind::NotADirectory, "glob").with_path(place.shown()));
            }
        }
        find(self.0.readable(&path)?, &matcher).await
    }
}

async fn find(start: Place, matcher: &GlobMatcher) -> Result<ToolOutput> {
    let mut walk = Walk::new(start.clone());
    let mut files = First::new(MAX_FILES);
    loop {
        let entry = match walk.next().await {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => break,
            Err(error) => return Err(error),
        };
        let Some(path) = entry.path else { continue };
        let below = path.strip_prefix(&start.path).unwrap_or(path.relative());
        let is_file = matches!(entry.metadata.kind, FileKind::File | FileKind::Symlink);
        if is_file && matcher.is_match(below) {
            files.push(newest_first(entry.metadata.modified, start.at(path).shown()));
        }
    }
    let (files, mut more) = files.finish();
    let mut lines: Vec<String> = files.into_iter().map(|(_, path)| path).collect();
    more += fit(&mut lines);
    if lines.is_empty() {
        lines.push("No files found.".to_owned());
        lines.extend(walk.left_out());
    }
    if more > 0 {
        lines.push(format!("({more} more files; use a narrower pattern)"));
    }
    lines.extend(walk.remarks());
    Ok(lines.join("\n").into())
}

type NewestFirst = (Reverse<Option<SystemTime>>, String);

fn newest_first(modified: Option<SystemTime>, path: String) -> NewestFirst {
    (Reverse(modified), path)
}

/// The directory that a pattern begins with, as far as it has no wildcard, and the pattern below it. The last name
/// always belongs to the pattern.
fn split(pattern: &str) -> (&str, &str) {
    let wild = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    match pattern.get(..wild).and_then(|plain| plain.rfind('/')) {
        None => ("", pattern),
        Some(0) => ("/", pattern.get(1..).unwrap_or_default()),
        Some(slash) => {
            (pattern.get(..slash).unwrap_or_default(), pattern.get(slash + 1..).unwrap_or_default())
        }
    }
}

/// A pattern in which `*` stays within a name.
pub(super) fn matcher(pattern: &str, operation: &'static str) -> Result<GlobMatcher> {
    let invalid = |message: String| {
        let shown: String = pattern.chars().take(200).collect();
        Error::new(ErrorKind::InvalidInput, operation).with_path(shown).with_message(message)
    };
    if pattern.is_empty() {
        return Err(invalid("a pattern of file names is needed, such as **/*.rs".to_owned()));
    }
    if pattern.len() > MAX_PATTERN {
        return Err(invalid(format!("a pattern has at most {MAX_PATTERN} bytes")));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    Ok(glob.map_err(|error| invalid(error.to_string()))?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_beginning_of_a_pattern_is_a_directory() {
        for (pattern, base, rest) in [
            ("*.rs", "", "*.rs"),
            ("src/**/*.rs", "src", "**/*.rs"),
            ("/w/src/a.rs", "/w/src", "a.rs"),
            ("/*.rs", "/", "*.rs"),
            ("../x/{a,b}/c", "../x", "{a,b}/c"),
            ("src/\\*/a", "src", "\\*/a"),
            ("a", "", "a"),
        ] {
            assert_eq!(split(pattern), (base, rest));
        }
    }

    #[test]
    fn a_star_stays_within_a_name() {
        let matches = |pattern, path| matcher(pattern, "glob").unwrap().is_match(path);
        assert!(matches("*.rs", "a.rs") && !matches("*.rs", "src/a.rs"));
        assert!(matches("**/*.rs", "a.rs") && matches("**/*.rs", "src/x/a.rs"));
        assert!(matches("*.{ts,tsx}", "a.tsx"));
        assert_eq!(matcher("a[", "glob").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(matcher("", "glob").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(matcher(&"a".repeat(1001), "glob").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn the_newest_comes_first_and_files_without_a_time_last() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        let mut files = vec![
            newest_first(None, "c".into()),
            newest_first(at(1), "b".into()),
            newest_first(at(2), "d".into()),
            newest_first(at(1), "a".into()),
        ];
        files.sort_unstable();
        let names: String = files.into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, "dabc");
    }
}
