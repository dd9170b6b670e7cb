//! What clients ask for, whatever wire they speak.

mod agents;
mod approvals;
mod containers;
mod files;
mod identity;
mod images;
mod llms;
mod messages;
mod method;
mod running;
mod tenants;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use agentx_core::{ImageId, ImageRecord, Repositories, Runtime, SessionId, TurnEvents};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use self::files::WorkspaceFiles;
pub(crate) use self::{
    identity::{ChosenIds, IDENTITY},
    images::{CUSTOM_DATA, ROLE_ID},
    method::Method,
    running::{Running, RunningAgent, Started},
};
use crate::{Owner, Quotas, failure::Failure, llm::Llms, quota::Accounts, tenant::Tenants};

/// Parameters, and results, by name.
pub(crate) type Object = Map<String, Value>;

/// Does what clients ask for, each within what it owns.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) repositories: Repositories,
    pub(crate) running: Running,
    pub(crate) files: Option<Arc<dyn WorkspaceFiles>>,
    pub(crate) connections: Numbers,
    pub(crate) quotas: Quotas,
    pub(crate) accounts: Accounts,
    pub(crate) chosen: ChosenIds,
    pub(crate) tenants: Option<Tenants>,
    pub(crate) llms: Option<Llms>,
}

/// 1, 2, 3, …
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What came of a request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// As the second generation of the protocol names it.
    pub(crate) result: Object,
    /// The sessions that the asker is going to listen to.
    pub(crate) sessions: Vec<SessionId>,
    /// The turn that the request began.
    pub(crate) turn: Option<TurnEvents>,
}

impl Answer {
    fn of(result: Value) -> Self {
        let result = match result {
            Value::Object(result) => result,
            _ => Object::new(),
        };
        Self { result, ..Self::default() }
    }

    fn with_sessions(mut self, sessions: impl IntoIterator<Item = SessionId>) -> Self {
        self.sessions.extend(sessions);
        self
    }
}

type Outcome<T = Answer> = Result<T, Failure>;

impl Service {
    /// Does what `owner` asks for.
    pub(crate) async fn call(&self, owner: &Owner, method: Method, params: Object) -> Outcome {
        match method {
            Method::ContainerCreate => self.create_container(owner, parse(params)?).await,
            Method::ContainerGet => self.get_container(owner, parse(params)?).await,
            Method::ContainerList => self.list_containers(owner).await,
            Method::ContainerDelete => self.delete_container(owner, parse(params)?).await,
            Method::ImageCreate => self.create_image(owner, parse(params)?).await,
            Method::ImageGet => self.get_image(owner, parse(params)?).await,
            Method::ImageList => self.list_images(owner, parse(params)?).await,
            Method::ImageDelete => self.delete_image(owner, parse(params)?).await,
            Method::ImageRun => self.run_image(owner, parse(params)?).await,
            Method::ImageStop => self.stop_image(owner, parse(params)?).await,
            Method::ImageUpdate => self.update_image(owner, parse(params)?).await,
            Method::ImageMessages => self.image_messages(owner, parse(params)?).await,
            Method::AgentGet => self.get_agent(owner, parse(params)?).await,
            Method::AgentList => self.list_agents(owner, parse(params)?),
            Method::AgentDestroy => self.destroy_agent(owner, parse(params)?).await,
            Method::AgentDestroyAll => self.destroy_agents(owner, parse(params)?).await,
            Method::AgentInterrupt => self.interrupt(owner, parse(params)?).await,
            Method::MessageSend => self.send_message(owner, parse(params)?).await,
            Method::Rewind => self.rewind(owner, parse(params)?).await,
            Method::FileRead => self.read_file(owner, parse(params)?).await,
            Method::FileList => self.list_files(owner, parse(params)?).await,
            Method::FileWrite => self.write_file(owner, parse(params)?).await,
            Method::LlmCreate => self.create_llm(owner, parse(params)?).await,
            Method::LlmGet => self.get_llm(owner, parse(params)?).await,
            Method::LlmList => self.list_llms(owner).await,
            Method::LlmUpdate => self.update_llm(owner, parse(params)?).await,
            Method::LlmDelete => self.delete_llm(owner, parse(params)?).await,
            Method::LlmDefault => self.default_llm(owner, parse(params)?).await,
            Method::ApprovalList => self.list_approvals(owner, parse(params)?).await,
            Method::ApprovalAnswer => self.answer_approval(owner, parse(params)?).await,
        }
    }

    /// The bounds of an owner: the server's, but for those that it has of its own.
    pub(crate) async fn quotas_of(&self, owner: &Owner) -> Outcome<Quotas> {
        let Some(tenants) = &self.tenants else { return Ok(self.quotas) };
        let tenant = tenants.find(owner).await?;
        Ok(tenant.map_or(self.quotas, |tenant| self.quotas.with_tenant(&tenant.quotas)))
    }

    /// The agent of a session of `owner`'s, which is run where it is not.
    pub(crate) async fn agent_of_session(&self, owner: &Owner, session: &SessionId) -> Outcome<RunningAgent> {
        let missing = || Failure::not_found("Session", session);
        let session = self.repositories.sessions.find_session(session).await?.ok_or_else(missing)?;
        let image = self.image_or_none(owner, session.image_id.as_str()).await?.ok_or_else(missing)?;
        Ok(self.running.run(&self.runtime, owner, &image).await?.0)
    }

    /// An image of `owner`'s.
    async fn image(&self, owner: &Owner, id: &str) -> Outcome<ImageRecord> {
        self.image_or_none(owner, id).await?.ok_or_else(|| Failure::not_found("Image", shown(id)))
    }

    /// An image of `owner`'s, where there is one.
    async fn image_or_none(&self, owner: &Owner, id: &str) -> Outcome<Option<ImageRecord>> {
        let Ok(id) = ImageId::new(id) else { return Ok(None) };
        let image = self.runtime.image(&id).await?;
        Ok(image.filter(|image| owner.name_of(&image.container_id).is_some()))
    }
}

/// The parameters of one method.
fn parse<T: DeserializeOwned>(params: Object) -> Outcome<T> {
    serde_json::from_value(Value::Object(params)).map_err(|error| Failure::params(error.to_string()))
}

/// Null is an empty text, and not what is not there.
fn emptied<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from).map(|text| Some(text.unwrap_or_default()))
}

/// How much of a client's own words an error repeats, in characters.
const SHOWN: usize = 128;

fn shown(id: &str) -> String {
    id.chars().take(SHOWN).collect()
}
