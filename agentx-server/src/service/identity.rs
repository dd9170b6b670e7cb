//! The ids of agents. An agent keeps its id until somebody ends it, also while nobody runs it and when the server begins
//! anew: it is made of its image's, or its client chose it and the image has it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_core::{AgentId, Error, ErrorKind, ImageId, ImageRecord, ImageSpec, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex as AsyncMutex;

use super::{Outcome, Service};
use crate::Owner;

/// The key of an image's metadata that has an [`AgentIdentity`].
pub(crate) const IDENTITY: &str = "agentIdentity";

/// What the ids of images begin with, and those of agents.
const IMAGE: &str = "img_";
const AGENT: &str = "agent_";

/// What is stored of an image's agent, once there is anything to store.
#[derive(Debug, Default, Deserialize, Serialize)]
struct AgentIdentity {
    /// The id that its client chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<AgentId>,
    /// How many agents of the image were ended. Their ids do not come back.
    #[serde(default)]
    ended: u64,
}

impl AgentIdentity {
    fn of(image: &ImageRecord) -> Result<Self> {
        let Some(stored) = image.spec.metadata.get(IDENTITY) else { return Ok(Self::default()) };
        Self::deserialize(stored).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "read id of agent").with_path(&image.image_id).with_source(error)
        })
    }

    fn store(&self, spec: &mut ImageSpec) {
        spec.metadata.insert(IDENTITY.to_owned(), json!(self));
    }

    fn agent(&self, image: &ImageId) -> Result<AgentId> {
        if let Some(chosen) = &self.id {
            return Ok(chosen.clone());
        }
        let own = image.as_str().strip_prefix(IMAGE).unwrap_or(image.as_str());
        match self.ended {
            0 => AgentId::new(format!("{AGENT}{own}")),
            ended => AgentId::new(format!("{AGENT}{own}.{ended}")),
        }
    }
}

/// The ids that clients chose, and the images of their agents: of an owner of whom one was looked for, read once from what
/// is stored, and kept up since. Names may stand in it that are no more.
#[derive(Debug, Default)]
pub(crate) struct ChosenIds(Mutex<HashMap<Owner, Arc<OfOwner>>>);

/// None before they are read.
type OfOwner = AsyncMutex<Option<HashMap<AgentId, ImageId>>>;

impl ChosenIds {
    fn of(&self, owner: &Owner) -> Arc<OfOwner> {
        self.lock().entry(owner.clone()).or_default().clone()
    }

    pub(super) fn forget(&self, owner: &Owner) {
        self.lock().remove(owner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Arc<OfOwner>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of an image's agent, whether or not it runs.
pub(super) fn agent_id(image: &ImageRecord) -> Result<AgentId> {
    AgentIdentity::of(image)?.agent(&image.image_id)
}

/// The image of whose id this id of an agent is made, if it is.
fn image_id(agent: &str) -> Option<ImageId> {
    let own = agent.strip_prefix(AGENT)?;
    let own = match own.rsplit_once('.') {
        Some((own, ended)) if ended.parse::<u64>().is_ok() => own,
        _ => own,
    };
    ImageId::new(format!("{IMAGE}{own}")).ok()
}

impl Service {
    /// The image whose agent has this id, where it is `owner`'s.
    pub(super) async fn image_of_agent(&self, owner: &Owner, id: &str) -> Outcome<Option<ImageRecord>> {
        if AgentId::new(id).is_err() {
            return Ok(None);
        }
        if let Some(image) = image_id(id)
            && let Some(image) = self.image_or_none(owner, image.as_str()).await?
            && agent_id(&image)?.as_str() == id
        {
            return Ok(Some(image));
        }
        let Some(image) = self.chosen(owner, id).await? else { return Ok(None) };
        // It may be deleted since.
        match self.image_or_none(owner, image.as_str()).await? {
            Some(image) if agent_id(&image)?.as_str() == id => Ok(Some(image)),
            _ => Ok(None),
        }
    }

    /// The image for whose agent a client chose this id, as far as is known. All images of an owner are looked at once:
    /// whoever asks for ids that are none must not have it done each time.
    async fn chosen(&self, owner: &Owner, id: &str) -> Outcome<Option<ImageId>> {
        let chosen = self.chosen.of(owner);
        let mut chosen = chosen.lock().await;
        if let Some(chosen) = &*chosen {
            return Ok(chosen.get(id).cloned());
        }
        let mut found = HashMap::new();
        for container in self.runtime.containers().await? {
            if owner.name_of(&container.container_id).is_none() {
                continue;
            }
            for image in self.runtime.images(&container.container_id).await? {
                if let Some(id) = AgentIdentity::of(&image)?.id {
                    found.insert(id, image.image_id);
                }
            }
        }
        Ok(chosen.insert(found).get(id).cloned())
    }

    /// Gives the agent of an image the id that its client chose, unless one was chosen before.
    pub(super) async fn name_agent(&self, owner: &Owner, image: &ImageId, id: &str) -> Outcome<ImageRecord> {
        let id = AgentId::new(id)?;
        let account = self.accounts.of(owner);
        let _alone = account.places.lock().await;
        let mut image = self.image(owner, image.as_str()).await?;
        let mut identity = AgentIdentity::of(&image)?;
        if identity.id.is_some() || identity.agent(&image.image_id)? == id {
            return Ok(image);
        }
        // Neither one that is in force, nor one that an image had or will have.
        let made = match image_id(id.as_str()) {
            Some(image) => self.image_or_none(owner, image.as_str()).await?,
            None => None,
        };
        if made.is_some() || self.image_of_agent(owner, id.as_str()).await?.is_some() {
            let error = Error::new(ErrorKind::AlreadyExists, "run image").with_path(&id);
            return Err(error.with_message("this id is another agent's").into());
        }
        identity.id = Some(id.clone());
        identity.store(&mut image.spec);
        let image = self.runtime.update_image(image).await?;
        // They were read when it was looked whose the id is.
        if let Some(chosen) = &mut *self.chosen.of(owner).lock().await {
            chosen.insert(id, image.image_id.clone());
        }
        Ok(image)
    }

    /// Ends the agent of an image, and with it its id.
    pub(super) async fn end_agent(&self, owner: &Owner, image: &ImageId) -> Outcome<()> {
        let account = self.accounts.of(owner);
        let alone = account.places.lock().await;
        if let Some(mut image) = self.runtime.image(image).await? {
            let AgentIdentity { id, ended } = AgentIdentity::of(&image)?;
            AgentIdentity { id: None, ended: ended + 1 }.store(&mut image.spec);
            self.runtime.update_image(image).await?;
            if let (Some(id), Some(chosen)) = (id, &mut *self.chosen.of(owner).lock().await) {
                chosen.remove(&id);
            }
        }
        drop(alone);
        self.running.remove(image);
        self.runtime.stop(image).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_made_of_an_images_leads_back_to_it() {
        let image = ImageId::new("img_m3x0_a1b2c3").unwrap();
        for (ended, expected) in [(0, "agent_m3x0_a1b2c3"), (7, "agent_m3x0_a1b2c3.7")] {
            let id = AgentIdentity { id: None, ended }.agent(&image).unwrap();
            assert_eq!(id.as_str(), expected);
            assert_eq!(image_id(expected), Some(image.clone()));
        }
        let chosen = AgentIdentity { id: Some(AgentId::new("helper").unwrap()), ended: 1 };
        assert_eq!(chosen.agent(&image).unwrap().as_str(), "helper");
        for id in ["helper", "img_a", "agent/", "agent_a/b", ""] {
            assert_eq!(image_id(id), None, "{id}");
        }
    }
}
