//! The files of the root for callers elsewhere.

use std::{sync::Arc, time::Duration};

use agentx::resource::{
    Error, ErrorKind, FileSystem, FileWriter, ListOptions, MkdirOptions, ReadOptions, RemoveOptions,
    ResourcePath, Result, StatOptions, TransferOptions, Version, WriteMode, WriteOptions,
};
use agentx_provider_cloudflare::container_wire::{
    Change, FILE_HEAD, Fault, FileHead, ListLine, Listed, Metadata, Mode, Piece, Span,
};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use crate::reply::{Json, Refusal, parse};

/// The longest content that is taken into memory before it is written; a longer one is written as it comes.
const WHOLE_BYTES: usize = 1 << 20;

/// How much of a content that is refused is taken and thrown away, in bytes.
const DRAIN_BYTES: usize = 16 << 20;

/// How long each piece of a content may take to come.
const BODY_PATIENCE: Duration = Duration::from_mins(1);

/// How many bytes of a list are put together into one piece of the body.
const LIST_PIECE: usize = 16 << 10;

type Files = Arc<dyn FileSystem>;

pub(super) fn router(files: Files) -> Router {
    Router::new()
        .route("/content", get(read).put(write))
        .route("/stat", get(stat))
        .route("/list", get(list))
        .route("/change", post(change).layer(DefaultBodyLimit::max(64 << 10)))
        .with_state(files)
}

#[derive(Deserialize)]
struct Reading {
    path: String,
    range: Option<String>,
    if_match: Option<String>,
}

async fn read(State(files): State<Files>, Query(asked): Query<Reading>) -> Result<Response, Refusal> {
    let path = ResourcePath::new(&asked.path)?;
    let mut options = ReadOptions::default();
    if let Some(range) = &asked.range {
        options =
            options.with_range(Span::from_text(range).ok_or_else(|| invalid("read", "the range is none"))?);
    }
    if let Some(version) = &asked.if_match {
        options = options.with_if_match(Version::new(version));
    }
    let found = files.read(&path, options).await?;
    let (start, end) = (found.range.start, found.range.end);
    let head = FileHead { metadata: Metadata::from(&found.metadata), start, end };
    let head = serde_json::to_vec(&head)
        .map_err(|source| Error::new(ErrorKind::Internal, "read").with_source(source))?;
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH.as_str(), (end - start).to_string()),
        (header::CACHE_CONTROL.as_str(), "no-store, no-transform".to_owned()),
        (FILE_HEAD, STANDARD.encode(head)),
    ];
    // An error within the body ends the connection before the announced length.
    Ok((headers, Body::from_stream(found.body)).into_response())
}

#[derive(Deserialize)]
struct Writing {
    path: String,
    mode: String,
    version: Option<String>,
    create_parents: bool,
    /// How long the content is; without it, it comes in pieces.
    len: Option<u64>,
}

async fn write(State(files): State<Files>, Query(asked): Query<Writing>, body: Body) -> Response {
    let mut body = Incoming { body, rest: Bytes::new() };
    match written(&*files, asked, &mut body).await {
        Ok(response) => response,
        Err(error) => {
            // What is still on its way is taken and thrown away, so that the answer is read and not a reset. No more
            // requests come over a connection on which there is too much of it.
            body.drain().await;
            ([(header::CONNECTION, "close")], Refusal::from(error)).into_response()
        }
    }
}

async fn written(files: &dyn FileSystem, asked: Writing, body: &mut Incoming) -> Result<Response> {
    let path = ResourcePath::new(&asked.path)?;
    let mode = Mode::from_text(&asked.mode, asked.version.as_deref())
        .ok_or_else(|| invalid("write", "the mode is none"))?;
    let mut options = WriteOptions::from(mode);
    options.create_parents = asked.create_parents;
    let metadata = match asked.len.map(usize::try_from) {
        Some(Ok(len)) if len <= WHOLE_BYTES || options.mode == WriteMode::Append => {
            let data = body.exactly(len).await?;
            body.is_over().await?;
            files.write(&path, data, options).await?
        }
        Some(len) => {
            let mut left = len.map_err(|_| invalid("write", "the content is too long"))?;
            let mut writer = files.writer(&path, options).await?;
            while left > 0 {
                let data = body.some(left).await?;
                left -= data.len();
                writer.write(data).await?;
            }
            body.is_over().await?;
            writer.close().await?
        }
        None => match pieces(files, &path, options, body).await? {
            Some(metadata) => metadata,
            None => return Ok(Json(()).into_response()),
        },
    };
    Ok(Json(Metadata::from(&metadata)).into_response())
}

/// Writes a content that comes in pieces; `None` for a write that was given up.
async fn pieces(
    files: &dyn FileSystem,
    path: &ResourcePath,
    options: WriteOptions,
    body: &mut Incoming,
) -> Result<Option<agentx::resource::Metadata>> {
    let mut writer: Box<dyn FileWriter> = files.writer(path, options).await?;
    loop {
        let head = body.exactly(Piece::end().len()).await?;
        if head == Piece::end() {
            body.is_over().await?;
            return writer.close().await.map(Some);
        }
        if head == Piece::abort() {
            writer.abort().await?;
            return Ok(None);
        }
        let mut left = usize::try_from(head.clone().get_u32()).unwrap_or(usize::MAX);
        if left > Piece::BYTES {
            return Err(invalid("write", "a piece is too long"));
        }
        while left > 0 {
            let data = body.some(left).await?;
            left -= data.len();
            writer.write(data).await?;
        }
    }
}

/// A body that is read by length. One that ends early is an error, so that a content which was cut off is not published.
struct Incoming {
    body: Body,
    rest: Bytes,
}

impl Incoming {
    /// The next bytes, if there are any, none of them empty.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if !self.rest.is_empty() {
                return Ok(Some(std::mem::take(&mut self.rest)));
            }
            match timeout(BODY_PATIENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Ok(Some(Err(source))) => return Err(cut_off().with_source(source)),
                Ok(None) => return Ok(None),
                Err(_) => {
                    return Err(cut_off().with_message("the content stopped coming; nothing is published"));
                }
            }
        }
    }

    /// Some bytes, no more than `most`.
    async fn some(&mut self, most: usize) -> Result<Bytes> {
        let mut bytes = self.next().await?.ok_or_else(cut_off)?;
        self.rest = bytes.split_off(bytes.len().min(most));
        Ok(bytes)
    }

    async fn exactly(&mut self, len: usize) -> Result<Bytes> {
        let mut all = BytesMut::with_capacity(len.min(WHOLE_BYTES));
        while all.len() < len {
            let bytes = self.some(len - all.len()).await?;
            if bytes.len() == len {
                return Ok(bytes);
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// Takes what follows, up to a bound.
    async fn drain(&mut self) {
        let mut left = DRAIN_BYTES;
        while let Ok(Some(bytes)) = self.next().await {
            match left.checked_sub(bytes.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    /// Fails where something follows.
    async fn is_over(&mut self) -> Result<()> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err(invalid("write", "the content is longer than was said")),
        }
    }
}

fn cut_off() -> Error {
    Error::new(ErrorKind::Truncated, "write").with_message("the content was cut off; nothing is published")
}

fn invalid(operation: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, operation).with_message(message)
}

#[derive(Deserialize)]
struct Looking {
    path: String,
    follow: bool,
}

async fn stat(State(files): State<Files>, Query(asked): Query<Looking>) -> Result<Json<Metadata>, Refusal> {
    let options = if asked.follow { StatOptions::default() } else { StatOptions::no_follow() };
    let metadata = files.stat(&ResourcePath::new(&asked.path)?, options).await?;
    Ok(Json(Metadata::from(&metadata)))
}

#[derive(Deserialize)]
struct Listing {
    path: String,
    recursive: bool,
}

async fn list(State(files): State<Files>, Query(asked): Query<Listing>) -> Result<Response, Refusal> {
    let options = if asked.recursive { ListOptions::recursive() } else { ListOptions::default() };
    let entries = files.list(&ResourcePath::new(&asked.path)?, options);
    let lines = stream::unfold((Some(entries), 0_u64), |(entries, mut told)| async move {
        let mut entries = entries?;
        let mut piece = Vec::new();
        loop {
            // What is there at once goes out together.
            let next = if piece.is_empty() {
                entries.next().await
            } else if piece.len() >= LIST_PIECE {
                break;
            } else {
                match futures::FutureExt::now_or_never(entries.next()) {
                    Some(next) => next,
                    None => break,
                }
            };
            let (line, over) = match &next {
                Some(Ok(entry)) => {
                    told += 1;
                    (ListLine::Entry(Listed::from(entry)), false)
                }
                Some(Err(error)) => (ListLine::Failed(Fault::from(error)), true),
                None => (ListLine::End(told), true),
            };
            match serde_json::to_vec(&line) {
                Ok(line) => piece.extend(line),
                Err(error) => return Some((Err(std::io::Error::other(error)), (None, told))),
            }
            piece.push(b'\n');
            if over {
                return Some((Ok(Bytes::from(piece)), (None, told)));
            }
        }
        Some((Ok(Bytes::from(piece)), (Some(entries), told)))
    });
    let headers =
        [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store, no-transform")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

async fn change(State(files): State<Files>, body: Bytes) -> Result<StatusCode, Refusal> {
    match parse("change", &body)? {
        Change::Mkdir { path, recursive } => {
            let mut options = MkdirOptions::default();
            options.recursive = recursive;
            files.mkdir(&ResourcePath::new(path)?, options).await?;
        }
        Change::Rm { path, recursive, force } => {
            let mut options = RemoveOptions::default();
            (options.recursive, options.force) = (recursive, force);
            files.rm(&ResourcePath::new(path)?, options).await?;
        }
        Change::Rename { from, to, create_new } => {
            files.rename(&ResourcePath::new(from)?, &ResourcePath::new(to)?, transfer(create_new)).await?;
        }
        Change::Copy { from, to, create_new } => {
            files.copy(&ResourcePath::new(from)?, &ResourcePath::new(to)?, transfer(create_new)).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn transfer(create_new: bool) -> TransferOptions {
    if create_new { TransferOptions::create_new() } else { TransferOptions::default() }
}
