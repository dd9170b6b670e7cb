use std::fmt;

use agentx_core::{
    ApprovalId, ApprovalRecord, ContentPart, Cursor, Decision, ImageId, Message, Result, SessionId,
};
use async_trait::async_trait;

use super::{Events, Turn, TurnSummary};
use crate::SoloAgent;

/// What a program does with one conversation, wherever its agent runs: a [`SoloAgent`] in this process, or a
/// [`RemoteAgent`](super::RemoteAgent).
///
/// ```
/// use agentx::{client::{Conversation, ConversationExt}, prelude::*};
///
/// async fn greet(agent: &dyn Conversation) -> agentx::Result<String> {
///     Ok(agent.ask("Hi").await?.text)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx::Result<()> {
/// let agent = agentx::agent(ScriptedModel::replies([Reply::text("Hello!")])).build().await?;
/// assert_eq!(greet(&agent).await?, "Hello!");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Conversation: fmt::Debug + Send + Sync {
    /// The image that is talked to.
    fn image_id(&self) -> &ImageId;

    /// Its session.
    fn session_id(&self) -> &SessionId;

    /// Sends a message, and begins a turn that answers it. When this returns, the message is stored. The turn goes on
    /// whether or not its events are read.
    ///
    /// While another turn is under way, a local agent refuses with `Busy`; a server queues the message, and its turn
    /// follows.
    ///
    /// # Errors
    /// `InvalidInput` for a message without content; `Lost` where the connection was lost before the answer: whether the
    /// message is stored, [`messages`](Self::messages) tells; whatever the store or the server reports.
    async fn send_parts(&self, content: Vec<ContentPart>) -> Result<Turn>;

    /// All events behind `seen`; without it, all from now on.
    ///
    /// # Errors
    /// `NotFound` for a session that is gone; whatever the server reports.
    async fn events(&self, seen: Option<Cursor>) -> Result<Events>;

    /// Ends the turn that is under way, if there is one.
    ///
    /// # Errors
    /// Whatever the server reports.
    async fn interrupt(&self) -> Result<()>;

    /// The approvals that tool calls wait for.
    ///
    /// # Errors
    /// Whatever the store or the server reports.
    async fn approvals(&self) -> Result<Vec<ApprovalRecord>>;

    /// Answers an approval.
    ///
    /// # Errors
    /// `NotFound` for a missing approval; `ConditionFailed` or `Busy` for one that is answered; `InvalidInput` for an
    /// answer that decides nothing; whatever the store or the server reports.
    async fn answer(&self, approval: &ApprovalId, decision: Decision) -> Result<()>;

    /// The messages of the conversation, oldest first. A server shows those that users see.
    ///
    /// # Errors
    /// Whatever the store or the server reports.
    async fn messages(&self) -> Result<Vec<Message>>;

    /// Ends the agent: what is under way stands as it is stored, for whoever opens the image next.
    ///
    /// # Errors
    /// Whatever the store or the server reports.
    async fn close(&self) -> Result<()>;
}

/// What one mostly says to a conversation: text.
#[async_trait]
pub trait ConversationExt: Conversation {
    /// Sends a text, and begins a turn that answers it.
    ///
    /// # Errors
    /// Those of [`Conversation::send_parts`].
    async fn send(&self, text: &str) -> Result<Turn> {
        self.send_parts(vec![ContentPart::text(text)]).await
    }

    /// Sends a text, waits for the end of the turn, and tells how it went. Dropping the future leaves the turn to go on.
    ///
    /// # Errors
    /// Those of [`Conversation::send_parts`] and of [`Turn::finish`].
    async fn ask(&self, text: &str) -> Result<TurnSummary> {
        self.send(text).await?.finish().await
    }
}

impl<T: Conversation + ?Sized> ConversationExt for T {}

#[async_trait]
impl Conversation for SoloAgent {
    fn image_id(&self) -> &ImageId {
        (**self).image_id()
    }

    fn session_id(&self) -> &SessionId {
        (**self).session_id()
    }

    async fn send_parts(&self, content: Vec<ContentPart>) -> Result<Turn> {
        Ok(Turn::local((**self).send_parts(content).await?))
    }

    async fn events(&self, seen: Option<Cursor>) -> Result<Events> {
        Ok(Events::local(match seen {
            Some(seen) => self.subscribe_from(seen),
            None => self.subscribe(),
        }))
    }

    async fn interrupt(&self) -> Result<()> {
        (**self).interrupt().await;
        Ok(())
    }

    async fn approvals(&self) -> Result<Vec<ApprovalRecord>> {
        (**self).approvals().await
    }

    async fn answer(&self, approval: &ApprovalId, decision: Decision) -> Result<()> {
        self.runtime().answer(approval, decision).await.map(drop)
    }

    async fn messages(&self) -> Result<Vec<Message>> {
        self.history().await
    }

    async fn close(&self) -> Result<()> {
        (**self).close().await
    }
}
