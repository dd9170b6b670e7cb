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
    pub(super) fn get_agent(&self, owner: &Owner, params: &ByAgent) -> Answer {
        let agent = self.current(owner, &params.agent_id).map(|running| described(owner, &running));
        let exists = agent.is_some();
        Answer::of(json!({"agent": agent, "exists": exists}))
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
        let former = self.running.former(owner, &params.agent_id);
        let found = self.current(owner, &params.agent_id);
        let success = found.is_some() || former.is_some();
        if let Some(running) = found {
            self.stop(&running).await;
        } else if let Some(former) = former {
            self.running.remove(&former.image);
        }
        Ok(Answer::of(json!({"agentId": params.agent_id, "success": success})))
    }

    pub(super) async fn destroy_agents(&self, owner: &Owner, params: ByContainer) -> Outcome {
        let container: ContainerId = owner.container(&params.container_id)?;
        for running in self.running.of(owner).iter().filter(|running| running.container == container) {
            self.stop(running).await;
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
        let (running, _) =
            self.running.run(&self.runtime, owner, &image.container_id, &image.image_id).await?;
        Ok(running.agent)
    }

    /// The agent of this id. One that was let go is run again, under another id: whoever was away for long goes on.
    pub(crate) async fn agent_of_id(&self, owner: &Owner, id: &str) -> Outcome<RunningAgent> {
        if let Some(running) = self.running.find(owner, id) {
            return Ok(running);
        }
        let Some(former) = self.running.former(owner, id) else {
            return Err(Failure::not_found("Agent", shown(id)));
        };
        Ok(self.running.run(&self.runtime, owner, &former.container, &former.image).await?.0)
    }

    /// The agent of this id, or the one that took its place since it was let go.
    fn current(&self, owner: &Owner, id: &str) -> Option<RunningAgent> {
        self.running.find(owner, id).or_else(|| {
            let former = self.running.former(owner, id)?;
            self.running.of_image(owner, &former.image)
        })
    }

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
