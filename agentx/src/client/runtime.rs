use agentx_core::{Error, ErrorKind, ImageId, ImageRecord, ImageSpec, Result};
use serde_json::{Value, json};

use super::{
    RemoteAgent, RemoteBuilder,
    connection::{Connection, Request},
    failure,
};
use crate::ContainerId;

/// The part of an image's metadata that servers keep.
const CUSTOM_DATA: &str = "customData";

/// The containers and agents of a server, as a [`Runtime`](crate::Runtime) has those of this process. Cheap to clone; all
/// clones are one connection, which ends with the last of them and of what came from them.
///
/// Each request fails with `TimedOut` where it has no answer in time; with `Lost` where the connection was lost before the
/// answer and repeating could do it twice; with the error that ended the client (`Unavailable`, `Unauthenticated`,
/// `Corrupt`, `LimitExceeded`) after that; with what the server says otherwise, by its kind.
#[derive(Clone, Debug)]
pub struct RemoteRuntime {
    connection: Connection,
}

impl RemoteRuntime {
    /// Settings of a connection to this server: `ws://host:port/ws`, or `wss:` for TLS.
    pub fn builder(url: impl Into<String>) -> RemoteBuilder {
        RemoteBuilder::new(url)
    }

    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Makes a container, where there is none of this name.
    ///
    /// # Errors
    /// Those of every request; `LimitExceeded` where no more are allowed.
    pub async fn create_container(&self, id: &ContainerId) -> Result<()> {
        self.repeatable("container.create", "create container", json!({"containerId": id})).await.map(drop)
    }

    /// All containers of whoever asks.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn containers(&self) -> Result<Vec<ContainerId>> {
        let request = Request::repeatable("container.list", "list containers", json!({}));
        request.ask_member(&self.connection, "containerIds").await
    }

    /// Removes a container with all that is in it. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_container(&self, id: &ContainerId) -> Result<()> {
        let done = self.repeatable("container.delete", "delete container", json!({"containerId": id})).await;
        match done {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map(drop),
        }
    }

    /// Makes an image: a conversation.
    ///
    /// # Errors
    /// `NotFound` for a missing container; `Unsupported` for a spec with a key, or with metadata other than `customData`,
    /// which the protocol has no place for; those of every request.
    pub async fn create_image(&self, container: &ContainerId, spec: ImageSpec) -> Result<ImageRecord> {
        let mut params = described("create image", spec)?;
        insert(&mut params, "containerId", json!(container));
        let request = Request::once("image.create", "create image", params);
        record("create image", request.ask_member(&self.connection, "record").await?)
    }

    /// An image; none where there is no such.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        let request = Request::repeatable("image.get", "get image", json!({"imageId": id}));
        match request.ask_member(&self.connection, "record").await? {
            Value::Null => Ok(None),
            found => record("get image", found).map(Some),
        }
    }

    /// The images of a container.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        let request = Request::repeatable("image.list", "list images", json!({"containerId": container}));
        let found: Vec<Value> = request.ask_member(&self.connection, "records").await?;
        found.into_iter().map(|found| record("list images", found)).collect()
    }

    /// Changes what the user may change of an image: its [`spec`](ImageRecord::spec). What the spec leaves open stays.
    ///
    /// # Errors
    /// `NotFound` for a missing image; those of [`create_image`](Self::create_image).
    pub async fn update_image(&self, image: ImageRecord) -> Result<ImageRecord> {
        let updates = described("update image", image.spec)?;
        let params = json!({"imageId": image.image_id, "updates": updates});
        let request = Request::repeatable("image.update", "update image", params);
        record("update image", request.ask_member(&self.connection, "record").await?)
    }

    /// Removes an image with its session. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn delete_image(&self, id: &ImageId) -> Result<()> {
        self.repeatable("image.delete", "delete image", json!({"imageId": id})).await.map(drop)
    }

    /// Runs an image. One that runs already is given as it is.
    ///
    /// # Errors
    /// `NotFound` for a missing image; those of every request.
    pub async fn run(&self, image: &ImageId) -> Result<RemoteAgent> {
        RemoteAgent::run(self.connection.clone(), image).await
    }

    /// Stops the agent of an image, where one runs.
    ///
    /// # Errors
    /// Those of every request.
    pub async fn stop(&self, image: &ImageId) -> Result<()> {
        self.repeatable("image.stop", "stop image", json!({"imageId": image})).await.map(drop)
    }

    /// How many frames of the server made no sense as events and were skipped.
    pub fn skipped(&self) -> u64 {
        self.connection.skipped()
    }

    /// Ends the connection: its streams end, and requests fail. Agents go on.
    pub fn close(&self) {
        self.connection.close();
    }

    async fn repeatable(
        &self,
        method: &'static str,
        operation: &'static str,
        params: Value,
    ) -> Result<serde_json::Map<String, Value>> {
        Request::repeatable(method, operation, params).ask(&self.connection).await
    }
}

/// What the protocol says of an image.
fn described(operation: &'static str, mut spec: ImageSpec) -> Result<Value> {
    let custom = spec.metadata.remove(CUSTOM_DATA);
    if spec.key.is_some() || !spec.metadata.is_empty() {
        let error = failure::error(ErrorKind::Unsupported, operation);
        return Err(error.with_message("the protocol has no place for keys, nor for metadata but customData"));
    }
    let mut params = serde_json::to_value(&spec)
        .map_err(|error| failure::error(ErrorKind::InvalidInput, operation).with_source(error))?;
    if let Some(custom) = custom {
        insert(&mut params, CUSTOM_DATA, custom);
    }
    Ok(params)
}

fn insert(params: &mut Value, name: &str, value: Value) {
    if let Value::Object(params) = params {
        params.insert(name.to_owned(), value);
    }
}

fn record(operation: &'static str, mut found: Value) -> Result<ImageRecord> {
    let custom = found.as_object_mut().and_then(|found| found.remove(CUSTOM_DATA));
    let unreadable = |error: serde_json::Error| -> Error {
        failure::error(ErrorKind::Corrupt, operation).with_source(error)
    };
    let mut record: ImageRecord = serde_json::from_value(found).map_err(unreadable)?;
    if let Some(custom) = custom {
        record.spec.metadata.insert(CUSTOM_DATA.to_owned(), custom);
    }
    Ok(record)
}
