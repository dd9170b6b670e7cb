use agentx_core::{
    ContainerId, Error, ErrorKind, ImageId, ImageRecord, ImageRepository, ImageSpec, Result, SessionId,
    SessionRecord,
};
use async_trait::async_trait;

use super::{SqlRepositories, column};
use crate::{Row, Statement};

/// Adds nothing where the container is missing; `CREATE_SESSION` then gives no row.
const CREATE: &str = "INSERT INTO images (image_id, container_id, session_id, name, description, system_prompt, \
    mcp_servers, metadata, created_at, updated_at, key, parent_image_id) \
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM containers WHERE container_id = ?2";

const CREATE_SESSION: &str = "INSERT INTO sessions (session_id, image_id, container_id, created_at, updated_at) \
    SELECT ?1, ?2, ?3, ?4, ?5 FROM containers WHERE container_id = ?3 RETURNING session_id";

/// Of a fork: nothing is added either where the session that is copied is missing.
const CREATE_FORK: &str = "INSERT INTO images (image_id, container_id, session_id, name, description, \
    system_prompt, mcp_servers, metadata, created_at, updated_at, key, parent_image_id) \
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM containers WHERE container_id = ?2 \
    AND EXISTS (SELECT 1 FROM sessions WHERE session_id = ?13)";

const CREATE_FORK_SESSION: &str = "INSERT INTO sessions (session_id, image_id, container_id, created_at, updated_at) \
    SELECT ?1, ?2, ?3, ?4, ?5 FROM containers WHERE container_id = ?3 \
    AND EXISTS (SELECT 1 FROM sessions WHERE session_id = ?6)";

/// An image stays in its container and keeps its session.
const UPDATE: &str = "UPDATE images SET name = ?4, description = ?5, system_prompt = ?6, mcp_servers = ?7, \
    metadata = ?8, created_at = ?9, updated_at = ?10, key = ?11 \
    WHERE image_id = ?1 AND container_id = ?2 AND session_id = ?3 RETURNING image_id";

const FIND: &str = "SELECT image_id, container_id, session_id, name, description, system_prompt, mcp_servers, \
    metadata, created_at, updated_at, key, parent_image_id FROM images WHERE image_id = ?1";

const LIST: &str = "SELECT image_id, container_id, session_id, name, description, system_prompt, mcp_servers, \
    metadata, created_at, updated_at, key, parent_image_id FROM images WHERE container_id = ?1 ORDER BY rowid";

/// Children first: not every database cascades.
const DELETE: [&str; 7] = [
    "DELETE FROM events WHERE session_id IN (SELECT session_id FROM sessions WHERE image_id = ?1)",
    "DELETE FROM leases WHERE session_id IN (SELECT session_id FROM sessions WHERE image_id = ?1)",
    "DELETE FROM queue WHERE session_id IN (SELECT session_id FROM sessions WHERE image_id = ?1)",
    "DELETE FROM approvals WHERE session_id IN (SELECT session_id FROM sessions WHERE image_id = ?1)",
    "DELETE FROM messages WHERE session_id IN (SELECT session_id FROM sessions WHERE image_id = ?1)",
    "DELETE FROM sessions WHERE image_id = ?1",
    "DELETE FROM images WHERE image_id = ?1",
];

#[async_trait]
impl ImageRepository for SqlRepositories {
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()> {
        let operation = "create image";
        let batch = create(operation, image, session, None)?;
        match self.run(operation, image.image_id.as_str(), batch).await?.first() {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::NotFound, operation)
                .with_path(&image.container_id)
                .with_message("no such container")),
        }
    }

    async fn update_image(&self, image: &ImageRecord) -> Result<()> {
        let operation = "update image";
        let batch = vec![bind(operation, UPDATE, image)?.bind(image.spec.key.as_deref())];
        match self.run(operation, image.image_id.as_str(), batch).await?.first() {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::NotFound, operation).with_path(&image.image_id)),
        }
    }

    async fn find_image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        let statement = Statement::new(FIND).bind(id.as_str());
        self.run("find image", id.as_str(), vec![statement]).await?.first().map(record).transpose()
    }

    async fn list_images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        let statement = Statement::new(LIST).bind(container.as_str());
        self.run("list images", container.as_str(), vec![statement]).await?.iter().map(record).collect()
    }

    async fn delete_image(&self, id: &ImageId) -> Result<()> {
        let batch = DELETE.map(|sql| Statement::new(sql).bind(id.as_str())).to_vec();
        self.run("delete image", id.as_str(), batch).await.map(drop)
    }
}

/// Stores an image and its session, for a fork only where the session `source` is there.
pub(super) fn create(
    operation: &'static str,
    image: &ImageRecord,
    session: &SessionRecord,
    source: Option<&SessionId>,
) -> Result<Vec<Statement>> {
    if session.session_id != image.session_id
        || session.image_id != image.image_id
        || session.container_id != image.container_id
    {
        return Err(Error::new(ErrorKind::InvalidInput, operation)
            .with_path(&image.image_id)
            .with_message(format!("the session {} is not of this image", session.session_id)));
    }
    let (create, create_session) = match source {
        None => (CREATE, CREATE_SESSION),
        Some(_) => (CREATE_FORK, CREATE_FORK_SESSION),
    };
    let mut image = bind(operation, create, image)?
        .bind(image.spec.key.as_deref())
        .bind(image.parent_image_id.as_ref().map(ImageId::as_str));
    let mut session = Statement::new(create_session)
        .bind(session.session_id.as_str())
        .bind(session.image_id.as_str())
        .bind(session.container_id.as_str())
        .bind(column::from_moment(operation, session.created_at)?)
        .bind(column::from_moment(operation, session.updated_at)?);
    if let Some(source) = source {
        image = image.bind(source.as_str());
        session = session.bind(source.as_str());
    }
    Ok(vec![image, session])
}

fn bind(operation: &'static str, sql: &'static str, image: &ImageRecord) -> Result<Statement> {
    let spec = &image.spec;
    let servers =
        spec.mcp_servers.as_ref().map(|servers| column::from_json(operation, servers)).transpose()?;
    let metadata = Some(&spec.metadata).filter(|metadata| !metadata.is_empty());
    let metadata = metadata.map(|metadata| column::from_json(operation, metadata)).transpose()?;
    Ok(Statement::new(sql)
        .bind(image.image_id.as_str())
        .bind(image.container_id.as_str())
        .bind(image.session_id.as_str())
        .bind(spec.name.as_str())
        .bind(spec.description.as_deref())
        .bind(spec.system_prompt.as_deref())
        .bind(servers)
        .bind(metadata)
        .bind(column::from_moment(operation, image.created_at)?)
        .bind(column::from_moment(operation, image.updated_at)?))
}

fn record(row: Row<'_>) -> Result<ImageRecord> {
    let mut spec = ImageSpec::default().with_name(row.text("name")?);
    spec.key = row.optional_text("key")?.map(str::to_owned);
    spec.description = row.optional_text("description")?.map(str::to_owned);
    spec.system_prompt = row.optional_text("system_prompt")?.map(str::to_owned);
    spec.mcp_servers = column::optional_json(row, "mcp_servers")?;
    spec.metadata = column::optional_json(row, "metadata")?.unwrap_or_default();
    let mut record = ImageRecord::new(
        column::id(row, "image_id")?,
        column::id(row, "container_id")?,
        column::id(row, "session_id")?,
        spec,
        column::moment(row, "created_at")?,
    );
    record.updated_at = column::moment(row, "updated_at")?;
    record.parent_image_id = row.optional_text("parent_image_id")?.map(str::parse).transpose()?;
    Ok(record)
}
