use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{ReadOptions, ResourcePath, WriteOptions};
use async_trait::async_trait;
use futures::TryStreamExt;
use serde::Deserialize;
use serde_json::json;

use super::Workspace;
use crate::{
    NodeRuntime,
    tools::{Action, schema},
};

/// The largest content that a model gives itself.
const MAX_CONTENT_BYTES: usize = 16 << 20;
/// The largest file that is published.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Publishes a result into the workspace's `output`.
#[derive(Debug)]
pub(super) struct WriteOutput {
    pub(super) workspace: Workspace,
    pub(super) runtime: NodeRuntime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    name: String,
    content: Option<String>,
    file_path: Option<String>,
}

#[async_trait]
impl Action for WriteOutput {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = "Publishes a result for the user, apart from the directory you work in: from content, or a \
                           copy of a file. Replaces a result of the same name, and says where it is.";
        let properties = json!({
            "name": {"type": "string", "description": "The result's name: report.md, charts/june.png"},
            "content": {"type": "string", "description": "The result, where it is text"},
            "file_path": {"type": "string", "description": "Instead of content: the file to copy"},
        });
        ToolDefinition::new("write_output", description, schema(&properties, &["name"]))
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let path = output_path(&input.name)?;
        let len = match (input.content, input.file_path) {
            (Some(content), None) => self.write(&path, content).await?,
            (None, Some(file)) => self.copy(&path, &file).await?,
            _ => {
                let message = "exactly one of content and file_path is needed";
                return Err(fail(ErrorKind::InvalidInput, &input.name, message));
            }
        };
        Ok(format!("Wrote {len} bytes to {}.", self.workspace.shown(&path)).into())
    }
}

impl WriteOutput {
    async fn write(&self, path: &ResourcePath, content: String) -> Result<u64> {
        let len = content.len();
        if len > MAX_CONTENT_BYTES {
            let message = format!("the content has {len} bytes, and at most {MAX_CONTENT_BYTES} are written");
            return Err(fail(ErrorKind::LimitExceeded, path.relative(), message));
        }
        let options = WriteOptions::default().with_create_parents();
        let written = self.workspace.output.write(path, content.into(), options).await;
        written.map_err(|error| self.explain(error, path))?;
        Ok(len as u64)
    }

    /// Copies piece by piece; nothing is published before the last one.
    async fn copy(&self, path: &ResourcePath, file: &str) -> Result<u64> {
        let source = self.runtime.readable(file)?;
        let read = source.fs.read(&source.path, ReadOptions::default()).await;
        let mut read = read.map_err(|error| source.explain(error))?;
        let len = read.metadata.len;
        if len > MAX_FILE_BYTES {
            let message =
                format!("{} has {len} bytes, and at most {MAX_FILE_BYTES} are published", source.shown());
            return Err(fail(ErrorKind::LimitExceeded, path.relative(), message));
        }
        let options = WriteOptions::default().with_create_parents();
        let opened = self.workspace.output.writer(path, options).await;
        let mut writer = opened.map_err(|error| self.explain(error, path))?;
        let mut copied = 0;
        while let Some(piece) = read.body.try_next().await.map_err(|error| source.explain(error))? {
            copied += piece.len() as u64;
            if copied > len {
                let message = format!("{} is longer than it says", source.shown());
                return Err(fail(ErrorKind::Corrupt, path.relative(), message));
            }
            writer.write(piece).await.map_err(|error| self.explain(error, path))?;
        }
        if copied < len {
            let message = format!("{} ended early", source.shown());
            return Err(fail(ErrorKind::Truncated, path.relative(), message));
        }
        writer.close().await.map_err(|error| self.explain(error, path))?;
        Ok(copied)
    }

    fn explain(&self, error: Error, path: &ResourcePath) -> Error {
        error.with_path(self.workspace.shown(path))
    }
}

/// A name is relative: an absolute path is a mistake about where results go.
fn output_path(name: &str) -> Result<ResourcePath> {
    let refused = |message| Err(fail(ErrorKind::InvalidInput, name, message));
    if name.starts_with('/') || name.ends_with('/') {
        return refused(
            "give a plain file name or a relative path; where results lie is not yours to choose",
        );
    }
    match ResourcePath::root().join(name) {
        Ok(path) if path.is_root() => refused("a name is needed"),
        Ok(path) => Ok(path),
        Err(error) => Err(error),
    }
}

fn fail(kind: ErrorKind, name: &str, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    let shown: String = name.chars().take(200).collect();
    Error::new(kind, "write output").with_path(shown).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, path) in [("report.md", "/report.md"), ("./a//b.txt", "/a/b.txt"), ("a..b", "/a..b")] {
            assert_eq!(output_path(name).unwrap().as_str(), path);
        }
        for name in ["", ".", "/etc/passwd", "../x", "a/../../x", "a/", "a\0"] {
            let kind = output_path(name).unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::InvalidInput | ErrorKind::InvalidPath), "{name:?}");
        }
    }
}
