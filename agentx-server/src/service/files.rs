use std::{collections::BTreeMap, fmt, sync::Arc};

use agentx_core::{ContainerId, ImageId, Result};
use agentx_resource::{DirEntry, FileKind, FileSystem, FileSystemExt, ListOptions, ResourcePath};
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Outcome, Service};
use crate::{
    Owner,
    failure::{Code, Failure},
};

/// How many entries of a directory one answer has at most.
const PAGE: usize = 1_000;

/// The largest file that a client reads in one answer, in bytes.
const LARGEST: u64 = 4 << 20;

/// Gives the files of an image's workspace, so that clients can look at them.
#[async_trait]
pub trait WorkspaceFiles: fmt::Debug + Send + Sync + 'static {
    /// The files of one image's workspace.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn files(&self, container: &ContainerId, image: &ImageId) -> Result<Arc<dyn FileSystem>>;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileOf {
    image_id: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WriteFile {
    #[serde(flatten)]
    file: FileOf,
    content: String,
    #[serde(default)]
    encoding: Encoding,
}

/// How the bytes of a file are written in JSON.
#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Utf8,
    Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListFiles {
    #[serde(flatten)]
    file: FileOf,
    /// Only those whose names are behind this one.
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

impl Service {
    pub(super) async fn read_file(&self, owner: &Owner, params: FileOf) -> Outcome {
        let (files, path) = self.file(owner, &params).await?;
        let size = files.metadata(&path).await?.len;
        if size > LARGEST {
            let message = format!("{path} has {size} bytes; at most {LARGEST} are sent in one answer");
            return Err(Failure::new(Code::TooLarge, message));
        }
        // It may have grown since.
        let bytes = files.read_range(&path, 0..LARGEST).await?;
        let (content, encoding) = match std::str::from_utf8(&bytes) {
            Ok(text) => (text.to_owned(), Encoding::Utf8),
            Err(_) => (STANDARD.encode(&bytes), Encoding::Base64),
        };
        Ok(Answer::of(json!({"content": content, "encoding": encoding, "size": bytes.len()})))
    }

    /// A page of a directory, in the order of its names. However large the directory is, no more than a page is held.
    pub(super) async fn list_files(&self, owner: &Owner, params: ListFiles) -> Outcome {
        let limit = params.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let (files, path) = self.file(owner, &params.file).await?;
        let mut entries = files.list(&path, ListOptions::default());
        let (mut page, mut count, mut is_last) = (BTreeMap::new(), 0_usize, true);
        while let Some(entry) = entries.try_next().await? {
            if params.after.as_ref().is_some_and(|after| entry.name <= *after) {
                continue;
            }
            // Names that are no text may look the same.
            count += 1;
            page.insert((entry.name.clone(), count), entry);
            if page.len() > limit {
                page.pop_last();
                is_last = false;
            }
        }
        let described: Vec<Value> = page.values().map(described).collect();
        let mut result = json!({"files": described});
        if let (Some(((name, _), _)), false, Value::Object(result)) =
            (page.last_key_value(), is_last, &mut result)
        {
            // There are more: whoever wants them asks again behind this.
            result.insert("next".to_owned(), json!(name));
        }
        Ok(Answer::of(result))
    }

    pub(super) async fn write_file(&self, owner: &Owner, params: WriteFile) -> Outcome {
        let (files, path) = self.file(owner, &params.file).await?;
        let bytes = match params.encoding {
            Encoding::Utf8 => params.content.into_bytes(),
            Encoding::Base64 => STANDARD
                .decode(&params.content)
                .map_err(|error| Failure::params(format!("content is no base64: {error}")))?,
        };
        let (quotas, account) = (self.quotas_of(owner).await?, self.accounts.of(owner));
        account.send(owner, &quotas, self.tenants.as_ref(), (0, bytes.len() as u64)).await?;
        files.write_file(&path, bytes).await?;
        Ok(Answer::of(json!({"success": true})))
    }

    async fn file(&self, owner: &Owner, params: &FileOf) -> Outcome<(Arc<dyn FileSystem>, ResourcePath)> {
        let Some(workspaces) = &self.files else {
            return Err(Failure::new(Code::Unsupported, "Workspace not available"));
        };
        let image = self.image(owner, &params.image_id).await?;
        let path = ResourcePath::root().join(params.path.trim_start_matches('/'))?;
        Ok((workspaces.files(&image.container_id, &image.image_id).await?, path))
    }
}

fn described(entry: &DirEntry) -> Value {
    let kind = match entry.metadata.kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        _ => "other",
    };
    json!({
        "name": entry.name,
        "path": entry.path.as_ref().map(ResourcePath::as_str),
        "type": kind,
        "size": entry.metadata.len,
    })
}
