use agentx_resource::{ErrorKind, Metadata, ResourcePath, Result, WriteOptions};
use bytes::Bytes;
use reqwest::Method;

use super::path;
use crate::container::{
    http::{Effect, Http, Request, fail},
    wire::{self, Mode},
};

/// A write, but for its content.
pub(super) fn request(operation: &'static str, at: &ResourcePath, options: &WriteOptions) -> Result<Request> {
    let (mode, version) = Mode::to_text(&options.mode).ok_or_else(|| {
        fail(ErrorKind::Unsupported, operation).with_message("a mode that this version does not know")
    })?;
    let request = Request::new(operation, Effect::Change, Method::PUT, path("content"))
        .with("path", at.as_str())
        .with("mode", mode)
        .with("create_parents", options.create_parents.to_string());
    Ok(match version {
        Some(version) => request.with("version", version),
        None => request,
    })
}

pub(super) async fn write(
    http: &Http,
    at: &ResourcePath,
    data: Bytes,
    options: WriteOptions,
) -> Result<Metadata> {
    // The length is said beside the body, too: a proxy on the way may take a body that was cut off for a whole one.
    let request = request("write", at, &options)?.with("len", data.len().to_string()).bytes(data);
    let sent: wire::Metadata = http.ask(request).await?;
    Ok(sent.into())
}
