use agentx_core::{Agent, ContainerId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Outcome, Service,
    containers::{ByContainer, InContainer},
    running::RunningAgent,
    shown,
};
use crate::{
    Owner,
    failure::{Code, Failure},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByAgent {
    #[serde(alias = "instanceId")]
    agent_id: String,
}

/// An agent by its own id, or by that of its image.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentOrImage {
    #[serde(default, alias = "instanceId")]
    pub(super) agent_id: Option<String>,
    #[serde(default)]
    pub(super) image_id: Option<String>,
}

impl Service {
    /// An agent that was not run since the server began is taken up again: who asks has known it.
    pub(super) async fn get_agent(&self, owner: &Owner, params: ByAgent) -> Outcome {
        let agent = match self.agent_of_id(owner, &params.agent_id).await {
            Err(failure) if failure.code == Code::NotFound => None,
            found => Some(described(owner, &found?)),
        };
        let exists = agent.is_some();
        Ok(Answer::of(json!({"agent": agent, "exists": exists})))
    }

    pub(super) fn list_agents(&self, owner: &Owner, params: InContainer) -> Outcome {
        let container = params.container_id.map(|name| owner.container(&name)).transpose()?;
        let agents: Vec<Value> = self
            .running
            .of(owner)
            .iter()
            .filter(|running| container.as_ref().is_none_or(|container| running.container == *container))
            .map(|running| described(owner, running))
            .collect();
        Ok(Answer::of(json!({"agents": agents})))
    }

    pub(super) async fn destroy_agent(&self, owner: &Owner, params: ByAgent) -> Outcome {
        let image = match self.running.find(owner, &params.agent_id) {
            Some(running) => Some(running.agent.image_id().clone()),
            None => self.image_of_agent(owner, &params.agent_id).await?.map(|image| image.image_id),
        };
        if let Some(image) = &image {
            self.end_agent(owner, image).await?;
        }
        Ok(Answer::of(json!({"agentId": params.agent_id, "success": image.is_some()})))
    }

    pub(super) async fn destroy_agents(&self, owner: &Owner, params: ByContainer) -> Outcome {
        let container: ContainerId = owner.container(&params.container_id)?;
        // Also of those that do not run: their ids would bring them back.
        for image in self.runtime.images(&container).await? {
            self.end_agent(owner, &image.image_id).await?;
        }
        Ok(Answer::of(json!({"containerId": params.container_id})))
    }

    pub(super) async fn interrupt(&self, owner: &Owner, params: AgentOrImage) -> Outcome {
        let agent = self.agent(owner, &params).await?;
        agent.interrupt().await;
        Ok(Answer::of(json!({"agentId": agent.id(), "imageId": agent.image_id()})))
    }

    /// The agent that a request names; that of an image is run where it is not.
    pub(super) async fn agent(&self, owner: &Owner, params: &AgentOrImage) -> Outcome<Agent> {
        if let Some(id) = &params.agent_id {
            match self.agent_of_id(owner, id).await {
                Err(failure) if failure.code == Code::NotFound && params.image_id.is_some() => {}
                found => return Ok(found?.agent),
            }
        }
        let Some(image) = &params.image_id else {
            return Err(Failure::params("Either agentId or imageId is required"));
        };
        let image = self.image(owner, image).await?;
        Ok(self.running.run(&self.runtime, owner, &image).await?.0.agent)
    }

    /// The agent of this id. One that nobody wanted for long, or that ran before the server began anew, is run again.
    pub(crate) async fn agent_of_id(&self, owner: &Owner, id: &str) -> Outcome<RunningAgent> {
        if let Some(running) = self.running.find(owner, id) {
            return Ok(running);
        }
        let missing = || Failure::not_found("Agent", shown(id));
        let image = self.image_of_agent(owner, id).await?.ok_or_else(missing)?;
        Ok(self.running.run(&self.runtime, owner, &image).await?.0)
    }

    /// Ends what an agent does, and lets it go. It keeps its id.
    pub(super) async fn stop(&self, running: &RunningAgent) {
        let image = running.agent.image_id();
        self.running.remove(image);
        self.runtime.stop(image).await;
    }
}

fn described(owner: &Owner, running: &RunningAgent) -> Value {
    json!({
        "agentId": running.agent.id(),
        "imageId": running.agent.image_id(),
        "containerId": owner.name_of(&running.container),
        "sessionId": running.agent.session_id(),
        "lifecycle": "running",
        "state": running.agent.state(),
    })
}
