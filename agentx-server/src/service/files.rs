use std::{fmt, sync::Arc};

use agentx_core::{ContainerId, ImageId, Result};
use agentx_resource::{FileKind, FileSystem, FileSystemExt, ResourcePath};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Outcome, Service};
use crate::{
    Owner,
    failure::{Code, Failure},
};

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
}

impl Service {
    pub(super) async fn read_file(&self, owner: &Owner, params: FileOf) -> Outcome {
        let (files, path) = self.file(owner, &params).await?;
        let size = files.metadata(&path).await?.len;
        if size > LARGEST {
            let message = format!("{path} has {size} bytes; at most {LARGEST} are sent in one answer");
            return Err(Failure::new(Code::TooLarge, message));
        }
        let content = files.read_to_string(&path).await?;
        Ok(Answer::of(json!({"content": content})))
    }

    pub(super) async fn list_files(&self, owner: &Owner, params: FileOf) -> Outcome {
        let (files, path) = self.file(owner, &params).await?;
        let entries: Vec<Value> = files
            .readdir(&path)
            .await?
            .iter()
            .map(|entry| {
                let kind = match entry.metadata.kind {
                    FileKind::File => "file",
                    FileKind::Directory => "directory",
                    FileKind::Symlink => "symlink",
                    _ => "other",
                };
                json!({"name": entry.name, "path": entry.path.as_ref().map(ResourcePath::as_str), "type": kind, "size": entry.metadata.len})
            })
            .collect();
        Ok(Answer::of(json!({"files": entries})))
    }

    pub(super) async fn write_file(&self, owner: &Owner, params: WriteFile) -> Outcome {
        let (files, path) = self.file(owner, &params.file).await?;
        files.write_file(&path, params.content.into_bytes()).await?;
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
