use agentx_core::{ContainerId, ContainerRecord, ContainerRepository, Result};
use async_trait::async_trait;

use super::{SqlRepositories, column};
use crate::{Row, Statement};

const SAVE: &str = "INSERT INTO containers (container_id, config, created_at, updated_at) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (container_id) DO UPDATE \
    SET config = excluded.config, created_at = excluded.created_at, updated_at = excluded.updated_at";

const FIND: &str =
    "SELECT container_id, config, created_at, updated_at FROM containers WHERE container_id = ?1";

const LIST: &str = "SELECT container_id, config, created_at, updated_at FROM containers ORDER BY rowid";

/// Children first: not every database cascades.
const DELETE: [&str; 8] = [
    "DELETE FROM events WHERE session_id IN (SELECT session_id FROM sessions WHERE container_id = ?1)",
    "DELETE FROM leases WHERE session_id IN (SELECT session_id FROM sessions WHERE container_id = ?1)",
    "DELETE FROM queue WHERE session_id IN (SELECT session_id FROM sessions WHERE container_id = ?1)",
    "DELETE FROM approvals WHERE session_id IN (SELECT session_id FROM sessions WHERE container_id = ?1)",
    "DELETE FROM messages WHERE session_id IN (SELECT session_id FROM sessions WHERE container_id = ?1)",
    "DELETE FROM sessions WHERE container_id = ?1",
    "DELETE FROM images WHERE container_id = ?1",
    "DELETE FROM containers WHERE container_id = ?1",
];

#[async_trait]
impl ContainerRepository for SqlRepositories {
    async fn save_container(&self, container: &ContainerRecord) -> Result<()> {
        let operation = "save container";
        let config =
            container.config.as_ref().map(|config| column::from_json(operation, config)).transpose()?;
        let statement = Statement::new(SAVE)
            .bind(container.container_id.as_str())
            .bind(config)
            .bind(column::from_moment(operation, container.created_at)?)
            .bind(column::from_moment(operation, container.updated_at)?);
        self.run(operation, container.container_id.as_str(), vec![statement]).await.map(drop)
    }

    async fn find_container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        let statement = Statement::new(FIND).bind(id.as_str());
        self.run("find container", id.as_str(), vec![statement]).await?.first().map(record).transpose()
    }

    async fn list_containers(&self) -> Result<Vec<ContainerRecord>> {
        self.run("list containers", "containers", vec![Statement::new(LIST)])
            .await?
            .iter()
            .map(record)
            .collect()
    }

    async fn delete_container(&self, id: &ContainerId) -> Result<()> {
        let batch = DELETE.map(|sql| Statement::new(sql).bind(id.as_str())).to_vec();
        self.run("delete container", id.as_str(), batch).await.map(drop)
    }
}

fn record(row: Row<'_>) -> Result<ContainerRecord> {
    let mut record =
        ContainerRecord::new(column::id(row, "container_id")?, column::moment(row, "created_at")?);
    record.config = column::optional_json(row, "config")?;
    record.updated_at = column::moment(row, "updated_at")?;
    Ok(record)
}
