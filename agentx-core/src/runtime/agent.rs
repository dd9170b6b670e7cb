use std::sync::Arc;

use futures::{FutureExt, channel::oneshot, future::Abortable};

use super::{
    bus::Subscription,
    core::{AgentCore, TurnControl, gone},
    events::{TurnEvents, TurnReport},
    history, turn,
};
use crate::{
    AgentId, AgentState, ContentPart, Error, ErrorKind, ImageId, Message, Result, SessionId, TurnId,
};

/// A running agent: the live end of an image's conversation. Cheap to clone; all clones are the same agent.
///
/// At rest it is data: no task, no thread. Its latest events are kept for those who listen late, 4,096 of them or
/// 8 MiB at most.
#[derive(Clone, Debug)]
pub struct Agent {
    core: Arc<AgentCore>,
}

impl Agent {
    pub(super) fn new(core: Arc<AgentCore>) -> Self {
        Self { core }
    }

    /// The agent's id; another each time that its image is run.
    pub fn id(&self) -> &AgentId {
        &self.core.context.agent_id
    }

    /// The image that it runs.
    pub fn image_id(&self) -> &ImageId {
        &self.core.context.image_id
    }

    /// Its session.
    pub fn session_id(&self) -> &SessionId {
        &self.core.context.session_id
    }

    /// What it is doing.
    pub fn state(&self) -> AgentState {
        self.core.state()
    }

    /// Sends a text, and begins a turn that answers it.
    ///
    /// # Errors
    /// Those of [`Agent::send_parts`].
    pub async fn send(&self, text: impl Into<String>) -> Result<TurnEvents> {
        self.send_parts(vec![ContentPart::text(text)]).await
    }

    /// Sends a message, and begins a turn that answers it. When this returns, the message is stored. The turn goes on
    /// whether or not its events are read.
    ///
    /// # Errors
    /// `InvalidInput` for a message without content, `Busy` while a turn is under way; whatever the store reports. The
    /// message is then not part of the session, but for `Lost`: the store does not know. `Cancelled` when the agent is
    /// gone, or goes while the message is being stored; look at [`Agent::history`] then.
    pub async fn send_parts(&self, content: Vec<ContentPart>) -> Result<TurnEvents> {
        if content.iter().all(|part| part.as_text().is_some_and(|text| text.trim().is_empty())) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "send message").with_message("the message is empty")
            );
        }
        self.begin(content).await
    }

    /// Sends a text, waits for the end of the turn, and tells how it went, with the model's last words. A turn that was
    /// interrupted, refused or cut off is a report too: look at its outcome. Dropping the future leaves the turn to go
    /// on.
    ///
    /// # Errors
    /// Those of [`Agent::send`] and of [`TurnEvents::finish`].
    pub async fn ask(&self, text: impl Into<String>) -> Result<TurnReport> {
        self.send(text).await?.finish().await
    }

    /// Ends the turn that is under way, if there is one, and waits until it is over and stored.
    pub async fn interrupt(&self) {
        self.core.interrupt().await;
    }

    /// All events from now on.
    pub fn subscribe(&self) -> Subscription {
        let seen = self.core.bus.last();
        self.core.subscribe(seen)
    }

    /// All events behind `seen` (an [`Event::seq`](crate::Event::seq) of this agent; see [`Agent::id`]). Those that are no
    /// longer in memory are counted by [`EventData::Lagged`](crate::EventData::Lagged).
    pub fn subscribe_from(&self, seen: u64) -> Subscription {
        self.core.subscribe(seen.min(self.core.bus.last()))
    }

    /// All messages of the session, oldest first.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn history(&self) -> Result<Vec<Message>> {
        history::read(&*self.core.shared.repositories.sessions, self.session_id()).await
    }

    /// Hands the turn to the host, and waits until its message is stored. The turn is the host's from here on: dropping
    /// this future changes nothing.
    async fn begin(&self, content: Vec<ContentPart>) -> Result<TurnEvents> {
        let core = self.core.clone();
        let (guard, control) = core.occupy()?;
        let TurnControl { done, interrupted, registration } = control;
        let turn_id = TurnId::fresh(&*core.shared.host.ids);
        let events = TurnEvents::new(self.subscribe(), turn_id.clone(), done);
        let (stored, is_stored) = oneshot::channel();
        let task = async move {
            // Whoever sent the message may no longer wait for `stored`; the turn goes on all the same.
            match turn::begin(core, turn_id, content).await {
                Ok(turn) => {
                    let _ = stored.send(Ok(()));
                    guard.finish(turn.drive(interrupted).await);
                }
                Err(error) => {
                    drop(guard);
                    let _ = stored.send(Err(error));
                }
            }
        };
        self.core.shared.host.spawn.spawn(Abortable::new(task, registration).map(drop).boxed());
        is_stored.await.unwrap_or_else(|_| Err(gone("send message")))?;
        Ok(events)
    }
}
