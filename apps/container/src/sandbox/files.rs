use std::sync::Arc;

use agentx::resource::{
    DirEntry, Error, ErrorKind, FileKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions, ReadOptions,
    RemoveOptions, ResourcePath, TransferOptions, WriteMode, WriteOptions,
};
use axum::{extract::State, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failure, Sandbox, done, event, events,
    form::{iso, now},
    parse, place,
    text::Text,
};

/// How many bytes are looked at to tell text from what is none.
const LOOK_BYTES: u64 = 8192;

/// The most bytes of a file in one event. A multiple of three, so that each is base64 by itself.
const CHUNK_BYTES: usize = 48 << 10;

/// The most entries of a list, which is one answer.
const MOST_ENTRIES: usize = 100_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct At {
    path: String,
    encoding: Option<String>,
}

impl Sandbox {
    fn files(&self) -> &dyn FileSystem {
        &*self.resources.files
    }

    fn root(&self) -> String {
        self.resources.process.capabilities().root
    }

    fn place(&self, path: &str) -> Result<ResourcePath, Failure> {
        Ok(place::below(&self.root(), path)?)
    }
}

#[derive(Deserialize)]
pub(super) struct Write {
    path: String,
    content: String,
    encoding: Option<String>,
}

pub(super) async fn write(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let write: Write = parse(&body)?;
    let data = match write.encoding.as_deref() {
        None | Some("utf-8" | "utf8") => Bytes::from(write.content),
        Some("base64") => {
            Bytes::from(STANDARD.decode(write.content).map_err(|error| Failure::invalid(error.to_string()))?)
        }
        Some(other) => return Err(Failure::invalid(format!("an encoding that is not known: {other}"))),
    };
    let options = WriteOptions::from(WriteMode::Overwrite);
    sandbox.files().write(&sandbox.place(&write.path)?, data, options).await?;
    Ok(done(json!({"path": write.path})))
}

/// Whether a file is text, by its beginning.
async fn is_text(files: &dyn FileSystem, path: &ResourcePath) -> Result<bool, Error> {
    let head = files.read_range(path, 0..LOOK_BYTES).await?;
    let cut = str::from_utf8(&head).is_err_and(|error| error.error_len().is_some());
    Ok(!cut && !head.contains(&0))
}

fn mime(is_text: bool) -> &'static str {
    if is_text { "text/plain" } else { "application/octet-stream" }
}

pub(super) async fn read(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let At { path, encoding } = parse(&body)?;
    let place = sandbox.place(&path)?;
    let data = sandbox.files().read_file(&place).await?;
    let text = String::from_utf8(data.to_vec()).ok().filter(|text| !text.contains('\0'));
    let is_binary = text.is_none();
    let (encoding, content) = match (encoding.as_deref(), text) {
        (Some("base64"), _) | (None, None) => ("base64", STANDARD.encode(&data)),
        (None | Some("utf-8" | "utf8"), Some(text)) => ("utf-8", text),
        (Some("utf-8" | "utf8"), None) => ("utf-8", String::from_utf8_lossy(&data).into_owned()),
        (Some(other), _) => return Err(Failure::invalid(format!("an encoding that is not known: {other}"))),
    };
    Ok(done(json!({
        "path": path,
        "content": content,
        "encoding": encoding,
        "isBinary": is_binary,
        "mimeType": mime(!is_binary),
        "size": data.len(),
    })))
}

/// Tells a file as events: what it is, its content, and its end.
pub(super) async fn read_stream(
    State(sandbox): State<Arc<Sandbox>>,
    body: Bytes,
) -> Result<Response, Failure> {
    let At { path, .. } = parse(&body)?;
    let place = sandbox.place(&path)?;
    let is_text = is_text(sandbox.files(), &place).await?;
    let found = sandbox.files().read(&place, ReadOptions::default()).await?;
    let head = json!({
        "type": "metadata",
        "mimeType": mime(is_text),
        "size": found.metadata.len,
        "isBinary": !is_text,
        "encoding": if is_text { "utf-8" } else { "base64" },
    });
    let size = found.range.end - found.range.start;
    let state = Some((found.body, BytesMut::new(), Text::default()));
    let content = stream::unfold(state, move |state| async move {
        let (mut body, mut rest, mut text) = state?;
        let mut told = Vec::new();
        let mut tell = |bytes: &[u8], text: &mut Text| {
            let data = if is_text { text.push(bytes) } else { STANDARD.encode(bytes) };
            if !data.is_empty() {
                told.extend_from_slice(&event(&json!({"type": "chunk", "data": data})));
            }
        };
        while rest.len() < CHUNK_BYTES {
            match body.next().await {
                Some(Ok(piece)) => rest.extend_from_slice(&piece),
                Some(Err(error)) => {
                    let error = event(&json!({"type": "error", "error": error.to_string()}));
                    return Some((Ok(error), None));
                }
                None => {
                    tell(&rest, &mut text);
                    let last = text.finish();
                    if !last.is_empty() {
                        told.extend_from_slice(&event(&json!({"type": "chunk", "data": last})));
                    }
                    told.extend_from_slice(&event(&json!({"type": "complete", "bytesRead": size})));
                    return Some((Ok(Bytes::from(told)), None));
                }
            }
        }
        while rest.len() >= CHUNK_BYTES {
            let chunk = rest.split_to(CHUNK_BYTES);
            tell(&chunk, &mut text);
        }
        Some((Ok(Bytes::from(told)), Some((body, rest, text))))
    });
    Ok(events(stream::iter([Ok(event(&head))]).chain(content)))
}

pub(super) async fn delete(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let At { path, .. } = parse(&body)?;
    let place = sandbox.place(&path)?;
    let found = sandbox.files().stat(&place, agentx::resource::StatOptions::no_follow()).await?;
    if found.is_dir() {
        // The other server removes files alone by this.
        return Err(Error::new(ErrorKind::IsADirectory, "delete").with_path(&path).into());
    }
    sandbox.files().rm(&place, RemoveOptions::default()).await?;
    Ok(done(json!({"path": path})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rename {
    #[serde(alias = "sourcePath")]
    old_path: String,
    #[serde(alias = "destinationPath")]
    new_path: String,
}

pub(super) async fn rename(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let Rename { old_path, new_path } = parse(&body)?;
    let (from, to) = (sandbox.place(&old_path)?, sandbox.place(&new_path)?);
    sandbox.files().rename(&from, &to, TransferOptions::default()).await?;
    Ok(done(json!({"path": old_path, "newPath": new_path})))
}

pub(super) async fn move_to(state: State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    rename(state, body).await
}

#[derive(Deserialize)]
pub(super) struct Mkdir {
    path: String,
    #[serde(default)]
    recursive: bool,
}

pub(super) async fn mkdir(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let Mkdir { path, recursive } = parse(&body)?;
    let mut options = MkdirOptions::default();
    options.recursive = recursive;
    sandbox.files().mkdir(&sandbox.place(&path)?, options).await?;
    Ok(done(json!({"path": path, "recursive": recursive})))
}

#[derive(Deserialize)]
pub(super) struct List {
    path: String,
    #[serde(default)]
    options: Listing,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listing {
    recursive: bool,
    include_hidden: bool,
}

pub(super) async fn list(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let List { path, options } = parse(&body)?;
    let place = sandbox.place(&path)?;
    let how = if options.recursive { ListOptions::recursive() } else { ListOptions::default() };
    let mut entries: Vec<DirEntry> =
        sandbox.files().list(&place, how).take(MOST_ENTRIES + 1).try_collect().await?;
    if entries.len() > MOST_ENTRIES {
        return Err(Failure::new("FILE_TOO_LARGE", 413, format!("more than {MOST_ENTRIES} entries")));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let root = sandbox.root();
    let files: Vec<Value> = entries
        .iter()
        .filter_map(|entry| Some((entry, entry.path.as_ref()?)))
        .filter(|(_, at)| {
            let below = at.as_str().strip_prefix(place.as_str()).unwrap_or_default();
            options.include_hidden || !below.split('/').any(|name| name.starts_with('.'))
        })
        .map(|(entry, at)| listed(&root, &place, entry, at))
        .collect();
    Ok(done(json!({"path": path, "count": files.len(), "files": files})))
}

fn listed(root: &str, base: &ResourcePath, entry: &DirEntry, at: &ResourcePath) -> Value {
    let mode = entry.metadata.mode.unwrap_or(0o644);
    let letters = |bit: u32, letter| if mode & bit == 0 { '-' } else { letter };
    let rights: String =
        (0..9).rev().zip("rwxrwxrwx".chars()).map(|(bit, letter)| letters(1 << bit, letter)).collect();
    let relative = at.as_str().strip_prefix(base.as_str()).unwrap_or(at.as_str()).trim_start_matches('/');
    json!({
        "name": entry.name,
        "absolutePath": place::seen(root, at),
        "relativePath": relative,
        "type": match entry.metadata.kind {
            FileKind::File => "file",
            FileKind::Directory => "directory",
            FileKind::Symlink => "symlink",
            _ => "other",
        },
        "size": entry.metadata.len,
        "modifiedAt": entry.metadata.modified.map_or_else(now, iso),
        "mode": rights,
        "permissions": {
            "readable": mode & 0o400 != 0,
            "writable": mode & 0o200 != 0,
            "executable": mode & 0o100 != 0,
        },
    })
}

pub(super) async fn exists(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let At { path, .. } = parse(&body)?;
    let exists = sandbox.files().exists(&sandbox.place(&path)?).await?;
    Ok(done(json!({"path": path, "exists": exists})))
}
