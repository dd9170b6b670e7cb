use agentx_core::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{RemoteAgent, connection::Request};

/// A file or a directory of a remote workspace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its name in its directory.
    pub name: String,
    /// Its path in the workspace; none where its name is no UTF-8.
    #[serde(default)]
    pub path: Option<String>,
    /// `file`, `directory`, `symlink` or `other`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
}

/// The files of its workspace.
impl RemoteAgent {
    /// What is in a directory of its workspace; in the root, for `/`.
    ///
    /// # Errors
    /// `NotFound` for a missing directory, `Unsupported` where the server shows no files; those of every request.
    pub async fn list_files(&self, path: impl AsRef<str>) -> Result<Vec<FileEntry>> {
        let request = Request::repeatable("os.list", "list", self.file(path.as_ref(), None));
        request.ask_member(&self.connection, "files").await
    }

    /// A file of its workspace, as text.
    ///
    /// # Errors
    /// `NotFound` for a missing file, `LimitExceeded` for one that is longer than the server sends at once (4 MiB);
    /// those of [`list_files`](Self::list_files).
    pub async fn read_file(&self, path: impl AsRef<str>) -> Result<String> {
        let request = Request::repeatable("os.read", "read", self.file(path.as_ref(), None));
        request.ask_member(&self.connection, "content").await
    }

    /// Writes a file of its workspace, in place of one that is there.
    ///
    /// # Errors
    /// Those of [`list_files`](Self::list_files).
    pub async fn write_file(&self, path: impl AsRef<str>, content: impl AsRef<str>) -> Result<()> {
        // The same again is the same file.
        let params = self.file(path.as_ref(), Some(content.as_ref()));
        Request::repeatable("os.write", "write", params).ask(&self.connection).await.map(drop)
    }

    fn file(&self, path: &str, content: Option<&str>) -> Value {
        let image = super::Conversation::image_id(self);
        match content {
            Some(content) => json!({"imageId": image, "path": path, "content": content}),
            None => json!({"imageId": image, "path": path}),
        }
    }
}
