//! What is stored of containers, images and sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ContainerId, ImageId, SessionId, Timestamp};

/// A container as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ContainerRecord {
    /// Its id.
    pub container_id: ContainerId,
    /// Settings of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ContainerRecord {
    /// A container created at `now`.
    pub fn new(container_id: ContainerId, now: Timestamp) -> Self {
        Self { container_id, config: None, created_at: now, updated_at: now }
    }
}

/// An image as it is stored: the definition of one conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageRecord {
    /// Its id.
    pub image_id: ImageId,
    /// The container that it belongs to.
    pub container_id: ContainerId,
    /// Its session.
    pub session_id: SessionId,
    /// The image whose session this one's began as a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_image_id: Option<ImageId>,
    /// What the user may change.
    #[serde(flatten)]
    pub spec: ImageSpec,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ImageRecord {
    /// An image created at `now`.
    pub fn new(
        image_id: ImageId,
        container_id: ContainerId,
        session_id: SessionId,
        spec: ImageSpec,
        now: Timestamp,
    ) -> Self {
        let parent_image_id = None;
        Self { image_id, container_id, session_id, parent_image_id, spec, created_at: now, updated_at: now }
    }
}

/// What a user says of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ImageSpec {
    /// Its name, for people.
    pub name: String,
    /// A name that no other image of its container has, for whoever wants to find it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The system prompt of its turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// MCP servers by name, each as its client's configuration writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Value>,
    /// Whatever the application keeps with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Value>,
}

impl ImageSpec {
    /// With this name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// With a key: a name that is given once in a container.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this system prompt.
    pub fn with_system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }
}

/// An image called "New Conversation".
impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            name: "New Conversation".to_owned(),
            key: None,
            description: None,
            system_prompt: None,
            mcp_servers: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// A session as it is stored; its messages are stored one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionRecord {
    /// Its id.
    pub session_id: SessionId,
    /// Its image.
    pub image_id: ImageId,
    /// The container of its image.
    pub container_id: ContainerId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When this record was last changed; its messages have times of their own.
    pub updated_at: Timestamp,
}

impl SessionRecord {
    /// A session created at `now`.
    pub fn new(session_id: SessionId, image_id: ImageId, container_id: ContainerId, now: Timestamp) -> Self {
        Self { session_id, image_id, container_id, created_at: now, updated_at: now }
    }
}
