use agentx_core::{ContentPart, Error, ErrorKind, Result, ToolContext, ToolDefinition, ToolOutput};
use agentx_resource::{FileRead, ReadOptions};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::json;

use super::{
    Action,
    page::{MAX_LINE_CHARS, Page},
    schema,
    sniff::{Content, SNIFF_BYTES, sniff},
};
use crate::{NodeRuntime, runtime::Place};

const DEFAULT_LINES: u64 = 2000;
/// The largest image: 5 MiB in base64, which is what model APIs take. One that they refuse would stand in the session and
/// end every later turn.
const MAX_IMAGE_BYTES: u64 = (5 << 20) / 4 * 3;
/// How much of a file is gone through to find its line `offset`.
const MAX_SCAN_BYTES: u64 = 256 << 20;

/// Reads a text file in numbered lines, or an image. A page is bounded by the lines asked for and by 128 KiB, and
/// no more than a page is held in memory.
#[derive(Debug)]
pub(super) struct Read(pub(super) NodeRuntime);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    file_path: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

#[async_trait]
impl Action for Read {
    type Input = Input;

    fn definition(&self) -> ToolDefinition {
        let description = format!(
            "Reads a file below {}. Text comes in lines numbered as by cat -n, from the first line on and at most \
             {DEFAULT_LINES} of them unless offset and limit say otherwise; lines longer than {MAX_LINE_CHARS} \
             characters are cut. PNG, JPEG, GIF and WebP images of up to {MAX_IMAGE_BYTES} bytes are shown. For a directory use ls.",
            self.0.root()
        );
        let properties = json!({
            "file_path": {"type": "string", "description": "The file: absolute, or relative to the working directory"},
            "offset": {"type": "integer", "description": "The line to begin with; the first is 1", "minimum": 1},
            "limit": {"type": "integer", "description": "How many lines", "minimum": 1},
        });
        ToolDefinition::new("read", description, schema(&properties, &["file_path"]))
    }

    async fn run(&self, input: Input, _context: ToolContext) -> Result<ToolOutput> {
        let place = self.0.readable(&input.file_path)?;
        let page = match (input.offset.unwrap_or(1), input.limit.unwrap_or(DEFAULT_LINES)) {
            (_, 0) => {
                return Err(fail(&place, ErrorKind::InvalidInput, "limit must be at least 1".to_owned()));
            }
            (offset, limit) => Page::new(offset.max(1), limit),
        };
        let file = place.fs.read(&place.path, ReadOptions::default()).await;
        self.show(&place, file.map_err(|error| place.explain(error))?, page).await
    }
}

impl Read {
    async fn show(&self, place: &Place, mut file: FileRead, page: Page) -> Result<ToolOutput> {
        // It is asked once more after a short file has ended here.
        file.body = file.body.fuse().boxed();
        let mut start = Vec::new();
        while start.len() < SNIFF_BYTES {
            match file.body.try_next().await.map_err(|error| place.explain(error))? {
                Some(piece) => start.extend_from_slice(&piece),
                None => break,
            }
        }
        let len = file.metadata.len;
        match sniff(&start) {
            Content::Text => self.text(place, start, file, page).await,
            Content::Image(media_type) if len <= MAX_IMAGE_BYTES => {
                image(place, start, file, media_type).await
            }
            Content::Image(media_type) => {
                let message = format!(
                    "this {media_type} has {len} bytes, and at most {MAX_IMAGE_BYTES} are shown; make it smaller first"
                );
                Err(fail(place, ErrorKind::LimitExceeded, message))
            }
            Content::Binary(kind) => {
                let message =
                    format!("not text but {kind} of {len} bytes; use a command that understands it");
                Err(fail(place, ErrorKind::InvalidInput, message))
            }
        }
    }

    async fn text(
        &self,
        place: &Place,
        start: Vec<u8>,
        mut file: FileRead,
        mut page: Page,
    ) -> Result<ToolOutput> {
        let mut redact = self.0.redactor().stream();
        let mut scanned = start.len() as u64;
        let mut wanting = page.push(&redact.push(&start));
        while wanting {
            let Some(piece) = file.body.try_next().await.map_err(|error| place.explain(error))? else {
                page.push(&redact.finish());
                break;
            };
            scanned += piece.len() as u64;
            if scanned > MAX_SCAN_BYTES {
                let message =
                    format!("the lines asked for lie behind the first {MAX_SCAN_BYTES} bytes; use bash");
                return Err(fail(place, ErrorKind::LimitExceeded, message));
            }
            wanting = page.push(&redact.push(&piece));
        }
        Ok(ToolOutput::Text(page.finish()))
    }
}

async fn image(
    place: &Place,
    mut bytes: Vec<u8>,
    mut file: FileRead,
    media_type: &str,
) -> Result<ToolOutput> {
    while let Some(piece) = file.body.try_next().await.map_err(|error| place.explain(error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > file.metadata.len {
            return Err(fail(place, ErrorKind::Corrupt, "the file is longer than it says".to_owned()));
        }
    }
    let image = ContentPart::Image { data: STANDARD.encode(bytes), media_type: media_type.to_owned() };
    Ok(ToolOutput::Content(vec![image]))
}

fn fail(place: &Place, kind: ErrorKind, message: String) -> Error {
    Error::new(kind, "read").with_path(place.shown()).with_message(message)
}
