//! The runtime: containers, images, and the agents that run on them.

mod agent;
mod agents;
mod approval;
mod builder;
mod bus;
mod control;
mod core;
mod events;
mod fork;
mod history;
mod recover;
mod shift;
mod spent;
mod subscription;
mod turn;
mod watch;
mod workspace;
mod writer;

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{self, Either},
};

pub use self::{
    agent::Agent,
    builder::RuntimeBuilder,
    events::{TurnEvents, TurnReport},
    subscription::Subscription,
    workspace::WorkspaceProvider,
};
use self::{
    agents::Agents,
    approval::Waiting,
    core::{AgentCore, CLOSE_TIME},
};
use crate::{
    AgentId, Budget, ContainerId, ContainerRecord, Driver, Error, ErrorKind, Hook, Host, ImageId,
    ImageRecord, ImageSpec, Lease, MessageBody, MessageId, ModelSettings, Permission, Repositories, Result,
    SessionId, SessionRecord, Tool, ToolSet,
};

/// Holds containers and images, and runs one agent for each image that is asked to.
///
/// A turn belongs to the runtime: it goes on whether or not anybody listens, until it is done, is interrupted, or the
/// runtime is dropped. What a user was told is stored, and each tool call of a stored session has its result, also
/// after a crash.
#[derive(Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
    agents: Arc<Agents>,
}

/// What all agents of a runtime share.
#[derive(Debug)]
struct Shared {
    driver: Arc<dyn Driver>,
    host: Host,
    repositories: Repositories,
    workspaces: Option<Arc<dyn WorkspaceProvider>>,
    tools: Vec<Arc<dyn Tool>>,
    tool_set: ToolSet,
    permission: Arc<dyn Permission>,
    budget: Budget,
    session_budget: Option<Budget>,
    settings: ModelSettings,
    hooks: Vec<Arc<dyn Hook>>,
    /// Names this runtime in leases, and no other.
    holder: String,
    lease_time: Duration,
    queue: usize,
    /// Those of this process who wait for approvals.
    waiting: Waiting,
    /// The runtime's own.
    agents: Weak<Agents>,
}

impl Shared {
    async fn find(&self, image: &ImageId) -> Result<ImageRecord> {
        let found = self.repositories.images.find_image(image).await?;
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "find image").with_path(image))
    }
}

impl Runtime {
    /// A runtime whose turns `driver` runs, on `host`.
    pub fn builder(driver: impl Driver, host: Host) -> RuntimeBuilder {
        RuntimeBuilder::new(Arc::new(driver), host)
    }

    /// The container with this id, created where there is none.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn create_container(&self, id: &ContainerId) -> Result<ContainerRecord> {
        let containers = &self.shared.repositories.containers;
        if let Some(container) = containers.find_container(id).await? {
            return Ok(container);
        }
        let container = ContainerRecord::new(id.clone(), self.shared.host.now());
        containers.save_container(&container).await?;
        Ok(container)
    }

    /// All containers, oldest first.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn containers(&self) -> Result<Vec<ContainerRecord>> {
        self.shared.repositories.containers.list_containers().await
    }

    /// Removes a container and all its images, each as [`Runtime::delete_image`] does.
    ///
    /// # Errors
    /// Whatever the store or a workspace reports. What failed can be tried again: the container goes last.
    pub async fn delete_container(&self, id: &ContainerId) -> Result<()> {
        for image in self.images(id).await? {
            self.delete_image(&image.image_id).await?;
        }
        self.shared.repositories.containers.delete_container(id).await
    }

    /// A new image in a container.
    ///
    /// # Errors
    /// `NotFound` for a missing container; whatever the store reports.
    pub async fn create_image(&self, container: &ContainerId, spec: ImageSpec) -> Result<ImageRecord> {
        let host = &self.shared.host;
        let (now, session) = (host.now(), SessionId::fresh(&*host.ids));
        let image =
            ImageRecord::new(ImageId::fresh(&*host.ids), container.clone(), session.clone(), spec, now);
        let session = SessionRecord::new(session, image.image_id.clone(), container.clone(), now);
        self.shared.repositories.images.create_image(&image, &session).await?;
        Ok(image)
    }

    /// The image with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        self.shared.repositories.images.find_image(id).await
    }

    /// The images of a container, oldest first.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        self.shared.repositories.images.list_images(container).await
    }

    /// Stores what was changed of an image. An agent of this runtime goes by it from its next turn on; one of another
    /// process when it is run again.
    ///
    /// # Errors
    /// `NotFound` for a missing image; whatever the store reports.
    pub async fn update_image(&self, mut image: ImageRecord) -> Result<ImageRecord> {
        // Held, so that an agent that is being opened meanwhile is told too.
        let id = image.image_id.clone();
        let slot = self.agents.slot(&id);
        let agent = slot.agent.lock().await;
        image.updated_at = self.shared.host.now();
        self.shared.repositories.images.update_image(&image).await?;
        if let Some(agent) = &*agent {
            *agent.image.lock().unwrap_or_else(PoisonError::into_inner) = image.clone();
        }
        Ok(image)
    }

    /// The agent of an image: the one that runs, or a new one that takes its session up where it was left. While another
    /// process has the session, the agent's state is [`AgentState::Elsewhere`](crate::AgentState::Elsewhere); when that process gives it back, or dies and
    /// its lease ends, the agent takes it over by itself.
    ///
    /// # Errors
    /// `NotFound` for a missing image; `Cancelled` for a runtime that is shut down; whatever the store or the workspace
    /// reports.
    pub async fn run(&self, image: &ImageId) -> Result<Agent> {
        Ok(Agent::new(self.agents.run(&self.shared, image, None).await?))
    }

    /// As [`Runtime::run`], but a new agent has this id: for an application whose users remember the ids of agents, also
    /// when they were stopped or their process was. An agent that runs keeps the id that it has. That no two agents have
    /// one id is for the application to see to; the runtime tells them apart by their images.
    ///
    /// # Errors
    /// Those of [`Runtime::run`].
    pub async fn run_as(&self, image: &ImageId, agent: &AgentId) -> Result<Agent> {
        Ok(Agent::new(self.agents.run(&self.shared, image, Some(agent)).await?))
    }

    /// Interrupts the agent of an image, if one runs, and lets it go with the events that it kept. The next
    /// [`Runtime::run`] takes the session up again.
    pub async fn stop(&self, image: &ImageId) {
        let slot = self.agents.slot(image);
        let mut slot = slot.agent.lock().await;
        if let Some(agent) = slot.take() {
            agent.close("stopped").await;
        }
    }

    /// Ends all agents: they take no more messages, the turns that are under way have so long to end, and what remains is
    /// left as [`Agent::close`] leaves it, at once where it waits for approvals. When this returns, all sessions are free
    /// for others, whose program may end. Dropped before, it ends all turns at once, as dropping the runtime does. It takes a few seconds more than `within` at most. What is queued waits for whoever
    /// opens the image next. No agent is opened any more.
    ///
    /// # Errors
    /// The first of those of [`Agent::close`]; all agents are ended all the same.
    pub async fn shutdown(&self, within: Duration) -> Result<()> {
        let clock = &self.shared.host.clock;
        let patience = clock.sleep(within).shared();
        let ends = self.agents.shut().into_iter().map(|slot| {
            let patience = patience.clone();
            async move {
                let Some(agent) = slot.lock().await.take() else { return Ok(()) };
                let leaving = Leaving(Some(agent.clone()));
                let left = agent.leave("shut_down", patience).await;
                leaving.done();
                left
            }
        });
        let limit = clock.sleep(within.saturating_add(CLOSE_TIME * 2));
        match future::select(future::join_all(ends), limit).await {
            Either::Left((ends, _)) => ends.into_iter().collect(),
            Either::Right(_) => Err(Error::new(ErrorKind::TimedOut, "shut down")
                .with_message("an agent was still being opened or closed")),
        }
    }

    async fn find(&self, image: &ImageId) -> Result<ImageRecord> {
        self.shared.find(image).await
    }

    /// Who has an image's session, if anybody has: the runtime that runs its agent, here or in another process, or ran it
    /// and died. Whoever comes behind the lease's end takes it over.
    ///
    /// # Errors
    /// `NotFound` for a missing image; whatever the store reports.
    pub async fn lease(&self, image: &ImageId) -> Result<Option<Lease>> {
        let image = self.find(image).await?;
        self.shared.repositories.leases.find_lease(&image.session_id).await
    }

    /// The place of a message of the user's.
    async fn place_of_user(&self, session: &SessionId, message: &MessageId) -> Result<u64> {
        let found = self.shared.repositories.sessions.find_message(session, message).await?;
        let error = |kind| Error::new(kind, "find message").with_path(message);
        let found = found.ok_or_else(|| error(ErrorKind::NotFound))?;
        match found.message.body {
            MessageBody::User { .. } => Ok(found.seq),
            _ => Err(error(ErrorKind::InvalidInput).with_message("it is not a message of the user's")),
        }
    }

    /// Takes an image's session back to before a message of the user's, so that it can be said in another way. Nothing is
    /// deleted: what a model is no longer shown stays stored. Files are not part of a session, and stay as they are.
    ///
    /// # Errors
    /// `NotFound` for a missing image or message; `InvalidInput` for a message that is not the user's; `Busy` while the
    /// image's agent is at work; whatever the store reports.
    pub async fn rewind_image(&self, image: &ImageId, before: &MessageId) -> Result<()> {
        let session = self.find(image).await?.session_id;
        let place = self.place_of_user(&session, before).await?;
        self.run(image).await?.rewind(before.clone(), place).await
    }

    /// Interrupts the agent of an image, if one runs, and removes the image with its session and workspace. Whoever asks
    /// for the agent meanwhile waits. What failed can be tried again: the image goes last.
    ///
    /// # Errors
    /// Whatever the store or the workspace reports.
    pub async fn delete_image(&self, image: &ImageId) -> Result<()> {
        let slot = self.agents.slot(image);
        let mut slot = slot.agent.lock().await;
        if let Some(agent) = &*slot {
            agent.close("deleted").await;
        }
        *slot = None;
        let images = &self.shared.repositories.images;
        let Some(record) = images.find_image(image).await? else { return Ok(()) };
        if let Some(workspaces) = &self.shared.workspaces {
            workspaces.delete(&record.container_id, image).await?;
        }
        images.delete_image(image).await
    }
}

/// An agent on its way out, which is ended at once where nobody waits for it any more.
struct Leaving(Option<Arc<AgentCore>>);

impl Leaving {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(agent) = &self.0 {
            agent.abort("runtime_dropped");
        }
    }
}

/// Ends the turns that run. Their leases are given back in the background, which a program that ends at once does not
/// wait for: [`Runtime::shutdown`] does.
impl Drop for Runtime {
    fn drop(&mut self) {
        for slot in self.agents.shut() {
            if let Some(agent) = slot.try_lock().as_deref().and_then(Option::as_ref) {
                agent.abort("runtime_dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use agentx_resource::{BoxFuture, Spawn, memory::ManualClock};
    use async_trait::async_trait;
    use futures::executor::block_on;

    use super::*;
    use crate::{Reply, ScriptedModel, SequentialIds, ToolLoop};

    #[derive(Debug)]
    struct Inline;

    impl Spawn for Inline {
        fn spawn(&self, task: BoxFuture<'static, ()>) {
            block_on(task);
        }
    }

    /// Its deletions fail so often.
    #[derive(Debug, Default)]
    struct Stubborn(AtomicUsize);

    #[async_trait]
    impl WorkspaceProvider for Stubborn {
        async fn open(&self, _: &ContainerId, _: &ImageId) -> Result<Vec<Arc<dyn Tool>>> {
            Ok(Vec::new())
        }

        async fn fork(&self, _: &ContainerId, _: &ImageId, _: &ImageId) -> Result<()> {
            Ok(())
        }

        async fn delete(&self, _: &ContainerId, _: &ImageId) -> Result<()> {
            match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(_) => Err(Error::new(ErrorKind::Unavailable, "delete workspace")),
                Err(_) => Ok(()),
            }
        }
    }

    fn runtime(failures: usize) -> Runtime {
        let host =
            Host::new(Arc::new(ManualClock::default()), Arc::new(Inline), Arc::new(SequentialIds::new()));
        let model = ScriptedModel::new("scripted", |_| Ok(Reply::text("hello")));
        let workspaces = Arc::new(Stubborn(AtomicUsize::new(failures)));
        Runtime::builder(ToolLoop::new(model), host).workspaces(workspaces).build().unwrap()
    }

    async fn image(runtime: &Runtime) -> ImageId {
        let container = ContainerId::new("alice").unwrap();
        runtime.create_container(&container).await.unwrap();
        runtime.create_image(&container, ImageSpec::default()).await.unwrap().image_id
    }

    #[test]
    fn images_that_are_not_there_take_no_memory() {
        block_on(async {
            let runtime = runtime(0);
            let image = image(&runtime).await;
            let missing = ImageId::new("missing").unwrap();
            for _ in 0..3 {
                let (a, b) = future::join(runtime.run(&missing), runtime.run(&missing)).await;
                assert_eq!(a.unwrap_err().kind(), ErrorKind::NotFound);
                assert_eq!(b.unwrap_err().kind(), ErrorKind::NotFound);
                runtime.delete_image(&missing).await.unwrap();
                assert_eq!(runtime.agents.len(), 0);
            }
            let agent = runtime.run(&image).await.unwrap();
            assert_eq!(runtime.run(&image).await.unwrap().id(), agent.id());
            assert_eq!(runtime.agents.len(), 1);
            runtime.delete_image(&image).await.unwrap();
            assert_eq!(runtime.agents.len(), 0);
            assert!(agent.ask("hello?").await.is_err());
        });
    }

    #[test]
    fn a_deletion_that_failed_is_done_by_the_next() {
        block_on(async {
            let runtime = runtime(1);
            let image = image(&runtime).await;
            runtime.run(&image).await.unwrap();
            assert_eq!(runtime.delete_image(&image).await.unwrap_err().kind(), ErrorKind::Unavailable);
            assert!(runtime.run(&image).await.is_ok(), "it is still there");
            runtime.delete_image(&image).await.unwrap();
            assert_eq!(runtime.run(&image).await.unwrap_err().kind(), ErrorKind::NotFound);
        });
    }

    #[test]
    fn who_asks_for_an_agent_while_its_image_is_deleted_waits() {
        block_on(async {
            let runtime = runtime(0);
            let image = image(&runtime).await;
            let agent = runtime.run(&image).await.unwrap();
            let slot = runtime.agents.slot(&image);
            let held = slot.agent.lock().await;
            let mut deleted = Box::pin(runtime.delete_image(&image));
            let mut asked = Box::pin(runtime.run(&image));
            assert!((&mut deleted).now_or_never().is_none());
            assert!((&mut asked).now_or_never().is_none());
            drop(held);
            deleted.await.unwrap();
            assert_eq!(asked.await.unwrap_err().kind(), ErrorKind::NotFound);
            drop((slot, agent));
        });
    }
}
