use agentx_core::{Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::WriteOptions;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Action, schema};
use crate::NodeRuntime;

/// The largest content.
const MAX_BYTES: usize = 16 << 20;

/// Writes a whole file at once, with its parent directories.
#[derive(Debug)]
pub(super) struct Write(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    file_path: String,
    content: String,
}

#[async_trait]
impl Action for Write {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Writes a file below {}, replacing what is there; missing directories are created. To change a part of a \
             file use edit.",
            self.0.root()
        );
        let properties = json!({
            "file_path": {"type": "string", "description": "The file: absolute, or relative to the working directory"},
            "content": {"type": "string", "description": "The whole new content"},
        });
        ToolDefinition::new("write", description, schema(&properties, &["file_path", "content"]))
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let place = self.0.writable(&input.file_path, "write")?;
        let len = input.content.len();
        if len > MAX_BYTES {
            return Err(Error::new(ErrorKind::LimitExceeded, "write")
                .with_path(place.shown())
                .with_message(format!("the content has {len} bytes, and at most {MAX_BYTES} are written")));
        }
        let options = WriteOptions::default().with_create_parents();
        let written = place.fs.write(&place.path, input.content.into(), options).await;
        written.map_err(|error| place.explain(error))?;
        Ok(format!("Wrote {len} bytes to {}.", place.shown()).into())
    }
}
