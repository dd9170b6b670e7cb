use agentx_core::{ContainerId, ImageRecord, ImageSpec, MessagePage, SessionRepositoryExt as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Answer, Object, Outcome, Service, containers::InContainer, emptied};
use crate::{
    Owner,
    failure::Failure,
    llm::{CHOICE, PROVIDER_OPTIONS, THINKING},
    wire,
};

/// Where the images of a client land that knows no containers.
const DEFAULT_CONTAINER: &str = "default";

/// How many messages one answer has at most.
const MESSAGES: usize = 1_000;

/// How many bytes of them are listed at once: the message that goes beyond it is the last.
const MESSAGE_BYTES: usize = 4 << 20;

/// How many messages are read from the store at once.
const READ: usize = 32;

/// The keys of an image's metadata that clients may write, and that nothing here reads.
pub(crate) const CUSTOM_DATA: &str = "customData";
pub(crate) const ROLE_ID: &str = "roleId";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ByImage {
    pub(super) image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunImage {
    image_id: String,
    /// What its client calls the agent.
    #[serde(default, alias = "instanceId")]
    agent_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateImage {
    #[serde(default)]
    container_id: Option<String>,
    #[serde(flatten)]
    changes: Changes,
    /// The first generation puts what describes the image in here.
    #[serde(default)]
    config: Option<Changes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateImage {
    image_id: String,
    updates: Changes,
}

/// What a client says of an image. What it does not say stays as it is.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Changes {
    name: Option<String>,
    description: Option<String>,
    system_prompt: Option<String>,
    mcp_servers: Option<Value>,
    custom_data: Option<Object>,
    /// An LLM definition, by its id or name, or a model's name; none where it is empty or null.
    #[serde(deserialize_with = "emptied")]
    model: Option<String>,
    /// How much the model thinks; as it likes where it is empty or null.
    #[serde(deserialize_with = "emptied")]
    thinking: Option<String>,
    /// What is of one provider alone; nothing where it is empty or null.
    #[serde(deserialize_with = "said")]
    provider_options: Option<Object>,
    /// The client's own word for whom the agent is.
    #[serde(deserialize_with = "emptied")]
    role_id: Option<String>,
}

/// Null is an object without members, and not what is not there.
fn said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Object>, D::Error> {
    Option::<Object>::deserialize(from).map(|object| Some(object.unwrap_or_default()))
}

/// Keeps a value under a key, or keeps it no more where it is empty.
fn keep(spec: &mut ImageSpec, key: &str, value: Value) {
    let is_empty =
        value.as_str().is_some_and(str::is_empty) || value.as_object().is_some_and(Object::is_empty);
    if is_empty {
        spec.metadata.remove(key);
    } else {
        spec.metadata.insert(key.to_owned(), value);
    }
}

impl Service {
    /// Writes what a client says of an image into it.
    async fn apply(&self, owner: &Owner, changes: Changes, spec: &mut ImageSpec) -> Outcome<()> {
        match changes.model.as_deref() {
            None => {}
            Some("") => drop(spec.metadata.remove(CHOICE)),
            Some(model) => {
                let choice = self.choice(owner, model).await?;
                spec.metadata.insert(CHOICE.to_owned(), json!(choice));
            }
        }
        if let Some(level) = &changes.thinking {
            if !level.is_empty() {
                self.check_option(THINKING, &json!(level))?;
            }
            keep(spec, THINKING, json!(level));
        }
        if let Some(options) = &changes.provider_options {
            if !options.is_empty() {
                self.check_option(PROVIDER_OPTIONS, &json!(options))?;
            }
            keep(spec, PROVIDER_OPTIONS, json!(options));
        }
        changes.apply(spec);
        Ok(())
    }
}

impl Changes {
    fn apply(self, spec: &mut ImageSpec) {
        if let Some(name) = self.name {
            spec.name = name;
        }
        spec.description = self.description.or(spec.description.take());
        spec.system_prompt = self.system_prompt.or(spec.system_prompt.take());
        spec.mcp_servers = self.mcp_servers.or(spec.mcp_servers.take());
        if let Some(data) = self.custom_data {
            spec.metadata.insert(CUSTOM_DATA.to_owned(), Value::Object(data));
        }
        if let Some(role) = self.role_id {
            keep(spec, ROLE_ID, json!(role));
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Messages {
    image_id: String,
    /// Only those behind this place.
    #[serde(default)]
    after: Option<u64>,
    /// At most so many.
    #[serde(default)]
    limit: Option<usize>,
}

impl Service {
    pub(super) async fn create_image(&self, owner: &Owner, params: CreateImage) -> Outcome {
        let container = match &params.container_id {
            Some(name) => self.container(owner, name).await?,
            // The newest clients have no word for one.
            None => self.make_container(owner, DEFAULT_CONTAINER).await?,
        };
        let mut spec = ImageSpec::default();
        self.apply(owner, params.config.unwrap_or_default(), &mut spec).await?;
        self.apply(owner, params.changes, &mut spec).await?;
        let (quotas, account) = (self.quotas_of(owner).await?, self.accounts.of(owner));
        let mut places = account.places.lock().await;
        places.admit_image(&self.runtime, &container, quotas.images).await?;
        let image = self.runtime.create_image(&container, spec).await?;
        places.made_image(&container);
        drop(places);
        let session = image.session_id.clone();
        Ok(Answer::of(json!({"record": wire::image(owner, &image)})).with_sessions([session]))
    }

    pub(super) async fn get_image(&self, owner: &Owner, params: ByImage) -> Outcome {
        match self.image_or_none(owner, &params.image_id).await? {
            Some(image) => {
                let record = self.listed(owner, &image);
                Ok(Answer::of(json!({"record": record})).with_sessions([image.session_id]))
            }
            None => Ok(Answer::of(json!({"record": null}))),
        }
    }

    pub(super) async fn list_images(&self, owner: &Owner, params: InContainer) -> Outcome {
        let containers: Vec<ContainerId> = match &params.container_id {
            Some(name) => vec![owner.container(name)?],
            None => {
                let all =
                    self.runtime.containers().await?.into_iter().map(|container| container.container_id);
                all.filter(|id| owner.name_of(id).is_some()).collect()
            }
        };
        let mut images = Vec::new();
        for container in containers {
            images.extend(self.runtime.images(&container).await?);
        }
        let records: Vec<Value> = images.iter().map(|image| self.listed(owner, image)).collect();
        let sessions = images.into_iter().map(|image| image.session_id);
        Ok(Answer::of(json!({"records": records})).with_sessions(sessions))
    }

    pub(super) async fn delete_image(&self, owner: &Owner, params: ByImage) -> Outcome {
        // One that is gone is as good as deleted, and one of another's must not look different.
        if let Some(image) = self.image_or_none(owner, &params.image_id).await? {
            let account = self.accounts.of(owner);
            let mut places = account.places.lock().await;
            self.running.remove(&image.image_id);
            places.forget_images(&image.container_id);
            self.runtime.delete_image(&image.image_id).await?;
        }
        Ok(Answer::of(json!({"imageId": params.image_id})))
    }

    /// Runs the agent of an image. One that runs keeps the id that it has, whatever its client would call it.
    pub(super) async fn run_image(&self, owner: &Owner, params: RunImage) -> Outcome {
        let mut image = self.image(owner, &params.image_id).await?;
        if let Some(id) = &params.agent_id
            && self.running.of_image(owner, &image.image_id).is_none()
        {
            image = self.name_agent(owner, &image.image_id, id).await?;
        }
        let container = &image.container_id;
        let (running, reused) = self.running.run(&self.runtime, owner, &image).await?;
        let result = json!({
            "imageId": image.image_id,
            "agentId": running.agent.id(),
            "sessionId": running.agent.session_id(),
            "containerId": owner.name_of(container),
            "reused": reused,
        });
        Ok(Answer::of(result).with_sessions([image.session_id]))
    }

    pub(super) async fn stop_image(&self, owner: &Owner, params: ByImage) -> Outcome {
        if let Some(image) = self.image_or_none(owner, &params.image_id).await? {
            self.end_agent(owner, &image.image_id).await?;
        }
        Ok(Answer::of(json!({"imageId": params.image_id})))
    }

    pub(super) async fn update_image(&self, owner: &Owner, params: UpdateImage) -> Outcome {
        let account = self.accounts.of(owner);
        // Of two changes at once the second sees the first.
        let _alone = account.places.lock().await;
        let mut image = self.image(owner, &params.image_id).await?;
        self.apply(owner, params.updates, &mut image.spec).await?;
        let image = self.runtime.update_image(image).await?;
        Ok(Answer::of(json!({"record": self.listed(owner, &image)})))
    }

    pub(super) async fn image_messages(&self, owner: &Owner, params: Messages) -> Outcome {
        let image = self.image(owner, &params.image_id).await?;
        let limit = params.limit.unwrap_or(MESSAGES).clamp(1, MESSAGES);
        let rewound = self.repositories.sessions.rewound(&image.session_id).await?;
        let (mut messages, mut place, mut count, mut bytes) = (Vec::new(), params.after, 0, 0);
        // There may be more: whoever wants them asks again behind this.
        let next = loop {
            let wanted = READ.min(limit - count);
            let page =
                place.map_or_else(|| MessagePage::first(wanted), |after| MessagePage::after(after, wanted));
            let stored = self.repositories.sessions.list_messages(&image.session_id, page).await?;
            let is_last = stored.len() < wanted;
            for stored in stored {
                (count, place) = (count + 1, Some(stored.seq));
                let Some(message) = wire::message(&stored.message).filter(|_| rewound.keeps(&stored)) else {
                    continue;
                };
                bytes += message.to_string().len();
                messages.push(message);
                if bytes >= MESSAGE_BYTES {
                    break;
                }
            }
            if bytes >= MESSAGE_BYTES || count == limit {
                break place;
            }
            if is_last {
                break None;
            }
        };
        let mut result = json!({"imageId": params.image_id, "messages": messages});
        if let (Some(next), Value::Object(result)) = (next, &mut result) {
            result.insert("next".to_owned(), json!(next));
        }
        Ok(Answer::of(result))
    }

    /// A container of `owner`'s that exists.
    async fn container(&self, owner: &Owner, name: &str) -> Outcome<ContainerId> {
        let id = owner.container(name)?;
        match self.repositories.containers.find_container(&id).await? {
            Some(container) => Ok(container.container_id),
            None => Err(Failure::not_found("Container", super::shown(name))),
        }
    }

    /// An image as lists have it: with the agent that runs on it.
    fn listed(&self, owner: &Owner, image: &ImageRecord) -> Value {
        let running = self.running.of_image(owner, &image.image_id);
        let mut record = wire::image(owner, image);
        record.insert("online".to_owned(), json!(running.is_some()));
        if let Some(running) = running {
            record.insert("agentId".to_owned(), json!(running.agent.id()));
        }
        Value::Object(record)
    }
}
