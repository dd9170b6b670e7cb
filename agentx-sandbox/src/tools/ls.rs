use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{DirEntry, FileKind, ListOptions};
use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::json;

use super::{
    Action,
    first::{First, fit},
    schema,
};
use crate::NodeRuntime;

/// How many entries are told.
const MAX_ENTRIES: usize = 1000;
/// How many entries are looked at.
const MAX_VISITED: usize = 200_000;

/// Lists a directory: directories first, then the rest, by name.
#[derive(Debug)]
pub(super) struct Ls(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    path: Option<String>,
}

#[async_trait]
impl Action for Ls {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Lists a directory below {}: directories first (name/), then files with their size in bytes and symlinks \
             (name@). At most {MAX_ENTRIES} entries are told.",
            self.0.root()
        );
        let properties = json!({
            "path": {"type": "string", "description": "The directory; the working directory by default"},
        });
        ToolDefinition::new("ls", description, schema(&properties, &[]))
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let place = self.0.readable(input.path.as_deref().unwrap_or("."))?;
        let mut first = First::new(MAX_ENTRIES);
        let mut listing = place.fs.list(&place.path, ListOptions::default());
        let mut visited = 0;
        let mut whole = true;
        while let Some(entry) = listing.try_next().await.map_err(|error| match error.kind() {
            ErrorKind::NotADirectory => Error::new(error.kind(), "ls")
                .with_path(place.shown())
                .with_message("this is a file; use read for what is in it"),
            _ => place.explain(error),
        })? {
            if visited == MAX_VISITED {
                whole = false;
                break;
            }
            visited += 1;
            let line = line(&entry);
            first.push((!entry.metadata.is_dir(), entry.name, line));
        }
        let (entries, mut more) = first.finish();
        let mut lines = vec![format!("{}:", place.shown())];
        lines.extend(entries.into_iter().map(|(.., line)| line));
        more += fit(&mut lines);
        match (visited, more, whole) {
            (0, ..) => lines.push("(empty)".to_owned()),
            (_, 0, _) => {}
            (_, more, true) => lines.push(format!("({more} more entries; use glob to find some of them)")),
            (_, more, false) => {
                lines.push(format!("(at least {more} more entries; use glob to find some of them)"));
            }
        }
        Ok(lines.join("\n").into())
    }
}

fn line(entry: &DirEntry) -> String {
    let name = printable(&entry.name);
    let told = match entry.metadata.kind {
        FileKind::Directory => format!("{name}/"),
        FileKind::File => format!("{name} ({} bytes)", entry.metadata.len),
        FileKind::Symlink => format!("{name}@"),
        _ => format!("{name} (neither file nor directory)"),
    };
    if entry.path.is_none() {
        format!("{told} (the name is not UTF-8: no tool can address it)")
    } else {
        told
    }
}

/// A line break in a name would look like another entry.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect()
}
