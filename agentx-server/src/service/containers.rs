use agentx_core::ContainerId;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Outcome, Service};
use crate::{Owner, failure::Failure};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByContainer {
    pub(super) container_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InContainer {
    #[serde(default)]
    pub(super) container_id: Option<String>,
}

impl Service {
    pub(super) async fn create_container(&self, owner: &Owner, params: ByContainer) -> Outcome {
        self.make_container(owner, &params.container_id).await?;
        Ok(Answer::of(json!({"containerId": params.container_id})))
    }

    /// A container of `owner`'s, made where there is none.
    pub(super) async fn make_container(&self, owner: &Owner, name: &str) -> Outcome<ContainerId> {
        let id = owner.container(name)?;
        if self.repositories.containers.find_container(&id).await?.is_some() {
            return Ok(id);
        }
        let (quotas, account) = (self.quotas_of(owner).await?, self.accounts.of(owner));
        let mut places = account.places.lock().await;
        // Of two that make the same one, the second one is no more.
        if self.repositories.containers.find_container(&id).await?.is_none() {
            places.admit_container(&self.runtime, owner, quotas.containers).await?;
            self.runtime.create_container(&id).await?;
            places.made_container();
        }
        Ok(id)
    }

    pub(super) async fn get_container(&self, owner: &Owner, params: ByContainer) -> Outcome {
        let id = owner.container(&params.container_id)?;
        let exists = self.repositories.containers.find_container(&id).await?.is_some();
        Ok(Answer::of(json!({"containerId": params.container_id, "exists": exists})))
    }

    pub(super) async fn list_containers(&self, owner: &Owner) -> Outcome {
        let containers = self.runtime.containers().await?;
        let own: Vec<&str> =
            containers.iter().filter_map(|container| owner.name_of(&container.container_id)).collect();
        Ok(Answer::of(json!({"containerIds": own})))
    }

    pub(super) async fn delete_container(&self, owner: &Owner, params: ByContainer) -> Outcome {
        let id = owner.container(&params.container_id)?;
        if self.repositories.containers.find_container(&id).await?.is_none() {
            return Err(Failure::not_found("Container", params.container_id));
        }
        let account = self.accounts.of(owner);
        let mut places = account.places.lock().await;
        for image in self.runtime.images(&id).await? {
            self.running.remove(&image.image_id);
        }
        places.forget(&id);
        self.runtime.delete_container(&id).await?;
        Ok(Answer::of(json!({"containerId": params.container_id})))
    }
}
