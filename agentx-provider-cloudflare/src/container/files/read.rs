use agentx_resource::{Error, ErrorKind, FileRead, ReadOptions, ResourcePath, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::header::HeaderMap;

use super::path;
use crate::container::{
    http::{Http, Request, fail},
    wire::{self, FileHead, Span},
};

pub(super) async fn read(http: &Http, at: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
    let mut request = Request::get("read", path("content")).with("path", at.as_str());
    if let Some(range) = &options.range {
        let text = Span::to_text(range).ok_or_else(|| {
            fail(ErrorKind::Unsupported, "read")
                .with_message("a kind of range that this version does not know")
        })?;
        request = request.with("range", text);
    }
    if let Some(version) = &options.if_match {
        request = request.with("if_match", version.as_str());
    }
    let response = http.send(request).await?;
    let head = head(response.headers())?;
    let range = head.start..head.end;
    let expected =
        head.end.checked_sub(head.start).ok_or_else(|| corrupt("the range ends before it starts"))?;
    let body = http.body("read", response);
    // The announced length is counted here: a proxy on the way may have changed how the end is told.
    let counted = stream::unfold(Some((body, expected)), |state| async move {
        let (mut body, left) = state?;
        match body.next().await {
            Some(Ok(piece)) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Some((Ok(piece), Some((body, left)))),
                None => Some((Err(corrupt("more bytes than were announced")), None)),
            },
            Some(Err(error)) => Some((Err(error), None)),
            None if left == 0 => None,
            None => Some((Err(truncated(left)), None)),
        }
    });
    Ok(FileRead::new(head.metadata.into(), range, counted.boxed()))
}

/// What the answer's head says of the file.
fn head(headers: &HeaderMap) -> Result<FileHead> {
    let text =
        headers.get(wire::FILE_HEAD).ok_or_else(|| corrupt("the answer does not say what file it has"))?;
    let json = STANDARD.decode(text).map(Bytes::from).map_err(|_| corrupt("the answer's head is damaged"))?;
    serde_json::from_slice(&json)
        .map_err(|source| corrupt("the answer's head is damaged").with_source(source))
}

fn corrupt(message: &'static str) -> Error {
    fail(ErrorKind::Corrupt, "read").with_message(message)
}

fn truncated(missing: u64) -> Error {
    fail(ErrorKind::Truncated, "read").with_message(format!("{missing} bytes are missing at the end"))
}
