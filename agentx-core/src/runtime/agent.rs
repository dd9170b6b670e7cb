use std::sync::Arc;

use futures::channel::oneshot;
use serde_json::Value;

use super::{
    core::{AgentCore, gone},
    events::{self, Done, TurnEvents, TurnReport},
    history,
    shift::{self, Cause, Task},
    subscription::Subscription,
    writer::With,
};
use crate::{
    AgentId, AgentState, ApprovalRecord, ContentPart, Cursor, Error, ErrorKind, EventData, ImageId, Message,
    MessageBody, MessageId, MessagePage, QueuedMessage, Result, SessionId, StoredMessage, TurnId,
};

/// A running agent: the live end of an image's conversation. Cheap to clone; all clones are the same agent.
///
/// At rest it is data: no task, no thread, no events, no lease. What a model is shown of the session is kept from turn to
/// turn, and read again where another process had the session in between.
#[derive(Clone, Debug)]
pub struct Agent {
    core: Arc<AgentCore>,
}

impl Agent {
    pub(super) fn new(core: Arc<AgentCore>) -> Self {
        Self { core }
    }

    /// The agent's id; another each time that its image is run, but for [`Runtime::run_as`](crate::Runtime::run_as).
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
    /// `InvalidInput` for a message without content; `Busy` while a turn is under way here or in another process, whose
    /// name and time the message tells ([`Error::retry`] tells when its lease ends), and while a tool call waits for an
    /// approval; whatever the store reports. The
    /// message is then not part of the session, but for `Lost`: the store does not know. `Cancelled` when the agent is
    /// gone, or goes while the message is being stored; look at [`Agent::history`] then.
    pub async fn send_parts(&self, content: Vec<ContentPart>) -> Result<TurnEvents> {
        self.send_with(content, None).await
    }

    /// Whether it was ended, and takes no more messages. The image's next agent is another one.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Sends a message with something for the driver, which finds it in [`Turn::options`](crate::Turn::options): what an
    /// application or a client says of this one turn, such as the model that is to answer. It is stored with the turn, so
    /// that one that is taken up elsewhere, behind an approval, goes on with it, and told with
    /// [`EventData::TurnRequest`](crate::EventData::TurnRequest): it is no place for a secret.
    ///
    /// # Errors
    /// Those of [`Agent::send_parts`].
    pub async fn send_with(
        &self,
        content: Vec<ContentPart>,
        options: Option<Arc<Value>>,
    ) -> Result<TurnEvents> {
        check("send message", &content)?;
        self.begin(content, options).await
    }

    /// Queues a text: the turn that answers it begins when those before it are over, or at once.
    ///
    /// # Errors
    /// Those of [`Agent::queue_parts`].
    pub async fn queue(&self, text: impl Into<String>) -> Result<MessageId> {
        self.queue_parts(vec![ContentPart::text(text)]).await
    }

    /// Queues a message, and gives the id that it has. When this returns, the message is stored, and its turn will come:
    /// after a crash, when the image is run again; while another process has the session, there. Messages keep their order.
    /// [`Agent::subscribe`] tells of their turns.
    ///
    /// # Errors
    /// `InvalidInput` for a message without content; `LimitExceeded` where as many wait as
    /// [`RuntimeBuilder::queue`](crate::RuntimeBuilder::queue) allows; `Cancelled` when the agent is gone; whatever the
    /// store reports.
    pub async fn queue_parts(&self, content: Vec<ContentPart>) -> Result<MessageId> {
        self.queue_with(content, None).await
    }

    /// Queues a message with something for the driver, as [`Agent::send_with`] sends one.
    ///
    /// # Errors
    /// Those of [`Agent::queue_parts`].
    pub async fn queue_with(
        &self,
        content: Vec<ContentPart>,
        options: Option<Arc<Value>>,
    ) -> Result<MessageId> {
        let operation = "queue message";
        check(operation, &content)?;
        if self.core.is_closed() {
            return Err(gone(operation));
        }
        let shared = &self.core.shared;
        let id = MessageId::fresh(&*shared.host.ids);
        let message = QueuedMessage::new(id.clone(), content, shared.host.now()).with_options(options);
        let inbox = &shared.repositories.inbox;
        let queued = inbox.enqueue_message(self.session_id(), &message, shared.queue).await?;
        self.core.bus.announce(queued.event);
        shift::start_waiting_work(&self.core);
        Ok(id)
    }

    /// The messages that wait for their turn, in their order.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn queued(&self) -> Result<Vec<QueuedMessage>> {
        self.core.shared.repositories.inbox.list_queued(self.session_id(), usize::MAX).await
    }

    /// The approvals that tool calls of this agent wait for. [`Runtime::answer`](crate::Runtime::answer) answers them.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn approvals(&self) -> Result<Vec<ApprovalRecord>> {
        let mut approvals = self.core.shared.repositories.inbox.list_approvals(self.session_id()).await?;
        approvals.retain(ApprovalRecord::is_pending);
        Ok(approvals)
    }

    /// Sends a text, waits for the end of the turn, and tells how it went, with the model's last words. A turn that was
    /// interrupted, refused or cut off is a report too: look at its outcome. Dropping the future leaves the turn to go
    /// on.
    ///
    /// # Errors
    /// Those of [`Agent::send`] and of [`TurnEvents::finish`].
    pub async fn ask(&self, text: impl Into<String>) -> Result<TurnReport> {
        let content = vec![ContentPart::text(text)];
        check("send message", &content)?;
        let Begun { done, is_stored, .. } = self.start(content, None)?;
        // One wait for all: nobody reads the events, and a turn that never began is over too.
        let done = done.await;
        if done.is_err() {
            is_stored.await.unwrap_or_else(|_| Err(gone("send message")))?;
        }
        events::report(done.ok())
    }

    /// Ends the turn that is under way here, if there is one, and waits until it is over and stored. A turn that waits for
    /// approvals and for nothing else is ended as well. The next queued message has its turn then. A turn that another
    /// process runs ([`AgentState::Elsewhere`]) goes on.
    pub async fn interrupt(&self) {
        if self.core.interrupt().await || self.core.state() != AgentState::AwaitingApproval {
            return;
        }
        // Whoever takes the agent first has something else in mind with it.
        let Ok((guard, control)) = self.core.occupy("interrupt") else { return };
        let (whole, is_whole) = oneshot::channel();
        shift::start(guard, control, self.core.clone(), Cause::Interrupted { whole });
        // What failed was told to subscribers.
        let _ = is_whole.await;
    }

    /// Ends the agent: it takes no more messages, and a turn that is under way stands as it is stored, for whoever opens the
    /// image next; a call that waits for an approval goes on waiting. When this returns, the lease of the session is given
    /// back, and the program may end. It takes a few seconds at most, and may be called again. To let a turn end before, wait
    /// for it, interrupt it, or call [`Runtime::shutdown`](crate::Runtime::shutdown).
    ///
    /// Dropping a runtime does the same in the background, which a program that ends at once does not wait for: the session
    /// is then taken until its lease ends.
    ///
    /// # Errors
    /// `TimedOut` where the store gives no answer; whatever it reports. The agent has ended then too, and its lease ends by
    /// itself.
    pub async fn close(&self) -> Result<()> {
        let closed = self.core.leave("closed", std::future::ready(())).await;
        if let Some(agents) = self.core.shared.agents.upgrade() {
            agents.forget(&self.core);
        }
        closed
    }

    /// All events from now on. An agent at rest asks its store for nothing: what another process tells of the session
    /// meanwhile comes when this agent next sends or queues; while its state is [`AgentState::Elsewhere`], within two
    /// seconds. Of an agent that has ended there are none: the subscription is over at once.
    pub fn subscribe(&self) -> Subscription {
        self.core.subscribe(None)
    }

    /// All events behind `seen`: an [`Event::cursor`](crate::Event::cursor) of this session, of this agent or an earlier
    /// one, or the number of a stored event; 0 for all that is stored. A cursor behind the last event means from now on.
    pub fn subscribe_from(&self, seen: impl Into<Cursor>) -> Subscription {
        self.core.subscribe(Some(seen.into()))
    }

    /// A page of the session's messages, in the order in which they were stored.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn messages(&self, page: MessagePage) -> Result<Vec<StoredMessage>> {
        self.core.shared.repositories.sessions.list_messages(self.session_id(), page).await
    }

    /// All messages of the session as they are stored, oldest first, summaries and rewinds among them. The results of an
    /// answer stand in the order of its calls, in whatever order they ended and were stored.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn history(&self) -> Result<Vec<Message>> {
        history::read(&*self.core.shared.repositories.sessions, self.session_id()).await
    }

    /// Hands the turn to the host, and waits until its message is stored. The turn is the host's from here on: dropping
    /// this future changes nothing.
    async fn begin(&self, content: Vec<ContentPart>, options: Option<Arc<Value>>) -> Result<TurnEvents> {
        let events = self.subscribe();
        let Begun { turn_id, done, is_stored } = self.start(content, options)?;
        is_stored.await.unwrap_or_else(|_| Err(gone("send message")))?;
        Ok(TurnEvents::new(events, turn_id, done))
    }

    fn start(&self, content: Vec<ContentPart>, options: Option<Arc<Value>>) -> Result<Begun> {
        let (guard, control) = self.core.occupy("send message")?;
        let turn_id = TurnId::fresh(&*self.core.shared.host.ids);
        let (stored, is_stored) = oneshot::channel();
        let begun = Begun { turn_id: turn_id.clone(), done: control.done.clone(), is_stored };
        let cause = Cause::Sent { content, options, turn_id, stored };
        shift::start(guard, control, self.core.clone(), cause);
        Ok(begun)
    }

    /// Does something with the session, between turns.
    pub(super) async fn between(&self, task: Task) -> Result<()> {
        let (guard, control) = self.core.occupy("change session")?;
        let (done, is_done) = oneshot::channel();
        shift::start(guard, control, self.core.clone(), Cause::Task { task, done });
        is_done.await.unwrap_or_else(|_| Err(gone("change session")))
    }

    /// Goes back to before a message of the user's, which stands at `place`.
    pub(super) async fn rewind(&self, before: MessageId, place: u64) -> Result<()> {
        self.between(Box::new(move |writer| {
            Box::pin(async move {
                let agent = writer.agent().clone();
                let (host, sessions) = (&agent.shared.host, &*agent.shared.repositories.sessions);
                let (kept, removed) = history::cut(sessions, &agent.context.session_id, place).await?;
                let (at, body) = (host.now(), MessageBody::Rewind { before, kept, removed });
                let mark = Message::new(MessageId::fresh(&*host.ids), at, body);
                let events = vec![EventData::RewindMessage(mark)];
                let (first, _) = writer.append(at, None, &events, With::default()).await?;
                agent.publish(AgentState::Idle, at, &agent.context, events, first);
                writer.reload().await
            })
        }))
        .await
    }

    /// One of its approvals was answered, for which a turn waits here or does not.
    pub(super) async fn answered(&self, is_awaited: bool) -> Result<()> {
        let last = self.core.shared.repositories.sessions.last_event(self.session_id()).await?;
        self.core.bus.announce(last);
        if !is_awaited {
            shift::start_waiting_work(&self.core);
        }
        Ok(())
    }
}

/// Whether they are handles of one agent.
impl PartialEq for Agent {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

/// A turn that was handed to the host.
struct Begun {
    turn_id: TurnId,
    done: Done,
    is_stored: oneshot::Receiver<Result<()>>,
}

fn check(operation: &'static str, content: &[ContentPart]) -> Result<()> {
    if content.iter().all(|part| part.as_text().is_some_and(|text| text.trim().is_empty())) {
        return Err(Error::new(ErrorKind::InvalidInput, operation).with_message("the message is empty"));
    }
    Ok(())
}
