use std::{fmt, sync::Arc};

use agentx_core::{
    AgentId, ApprovalId, ApprovalRecord, ContainerId, ContentPart, Cursor, Decision, ErrorKind, EventContext,
    ImageId, Message, MessageId, Result, SessionId, Timestamp, ToolCall, TurnId,
};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Conversation, Events, Turn,
    connection::{Connection, Request},
    failure,
    turn::Awaited,
    wire,
};

/// How many messages are asked for at once.
const PAGE: usize = 500;

/// The live end of a conversation on a server, as an [`Agent`](crate::Agent) is in this process. Cheap to clone; all
/// clones are the same agent.
///
/// It goes by its image: where the agent is stopped or the server restarted, the next request runs it again.
#[derive(Clone)]
pub struct RemoteAgent {
    pub(super) connection: Connection,
    context: Arc<EventContext>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "containerId")]
    container: ContainerId,
    #[serde(rename = "agentId")]
    agent: AgentId,
    #[serde(rename = "sessionId")]
    session: SessionId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    #[serde(default)]
    turn_id: Option<TurnId>,
    #[serde(default)]
    message_id: Option<MessageId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    approval_id: ApprovalId,
    turn_id: TurnId,
    tool_id: String,
    tool_name: String,
    input: Value,
    reason: String,
    created_at: Timestamp,
}

impl RemoteAgent {
    pub(super) async fn run(connection: Connection, image: &ImageId) -> Result<Self> {
        let request = Request::repeatable("image.run", "run image", json!({"imageId": image}));
        let run: Run = request.ask_as(&connection).await?;
        let context = EventContext::new(run.container, image.clone(), run.agent, run.session);
        Ok(Self { connection, context: Arc::new(context) })
    }

    /// The agent's id when it was run; another each time that its image is run.
    pub fn id(&self) -> &AgentId {
        &self.context.agent_id
    }

    /// Goes back in the conversation: keeps it up to and with this message, or to the end of that message's turn.
    ///
    /// # Errors
    /// `NotFound` for a missing message; `Busy` while a turn is under way; those of every request.
    pub async fn rewind(&self, last: &MessageId) -> Result<()> {
        let params = json!({"imageId": self.context.image_id, "messageId": last});
        Request::once("rewind", "rewind image", params).ask(&self.connection).await.map(drop)
    }

    fn of_image(&self) -> Value {
        json!({"imageId": self.context.image_id})
    }
}

#[async_trait]
impl Conversation for RemoteAgent {
    fn image_id(&self) -> &ImageId {
        &self.context.image_id
    }

    fn session_id(&self) -> &SessionId {
        &self.context.session_id
    }

    async fn send_parts(&self, content: Vec<ContentPart>) -> Result<Turn> {
        // From before the message on.
        let events = self.events(None).await?;
        let params = json!({"imageId": self.context.image_id, "content": content, "wait": false});
        let sent: Sent =
            Request::once("message.send", "send message", params).ask_as(&self.connection).await?;
        let turn = match (sent.turn_id, sent.message_id) {
            (Some(turn), _) => Awaited::This(turn),
            (None, Some(message)) => Awaited::Of(message),
            (None, None) => {
                let error = failure::error(ErrorKind::Unsupported, "send message");
                return Err(error.with_message("the server does not name the turn: it is too old"));
            }
        };
        Ok(Turn::remote(events, turn))
    }

    async fn events(&self, seen: Option<Cursor>) -> Result<Events> {
        let listener = self.connection.listen(&self.context, seen).await?;
        Ok(Events::remote(listener, self.connection.clone()))
    }

    async fn interrupt(&self) -> Result<()> {
        let request = Request::repeatable("agent.interrupt", "interrupt", self.of_image());
        request.ask(&self.connection).await.map(drop)
    }

    async fn approvals(&self) -> Result<Vec<ApprovalRecord>> {
        let request = Request::repeatable("approval.list", "list approvals", self.of_image());
        let waiting: Vec<Waiting> = request.ask_member(&self.connection, "approvals").await?;
        let record = |waiting: Waiting| {
            let call = ToolCall::new(waiting.tool_id, waiting.tool_name, waiting.input);
            let (id, session) = (waiting.approval_id, self.context.session_id.clone());
            ApprovalRecord::new(id, session, waiting.turn_id, call, waiting.reason, waiting.created_at)
        };
        Ok(waiting.into_iter().map(record).collect())
    }

    async fn answer(&self, approval: &ApprovalId, decision: Decision) -> Result<()> {
        let (word, value) = match decision {
            Decision::Allow => ("allow", Value::Null),
            Decision::AllowWith(input) => ("allow_with", input),
            Decision::Deny(reason) => ("deny", Value::String(reason)),
            _ => {
                let error = failure::error(ErrorKind::InvalidInput, "answer approval");
                return Err(error.with_message("an answer allows or denies"));
            }
        };
        let params = json!({"imageId": self.context.image_id, "approvalId": approval, "decision": word, "value": value});
        Request::once("approval.answer", "answer approval", params).ask(&self.connection).await.map(drop)
    }

    async fn messages(&self) -> Result<Vec<Message>> {
        let (mut messages, mut after) = (Vec::new(), None);
        loop {
            let params = json!({"imageId": self.context.image_id, "after": after, "limit": PAGE});
            let request = Request::repeatable("image.messages", "list messages", params);
            let mut answer = request.ask(&self.connection).await?;
            if let Some(Value::Array(page)) = answer.remove("messages") {
                messages.extend(page.into_iter().filter_map(wire::message));
            }
            let next = answer.get("next").and_then(Value::as_u64);
            // A place that does not advance would be asked for forever.
            if next <= after {
                return Ok(messages);
            }
            after = next;
        }
    }

    async fn close(&self) -> Result<()> {
        let request = Request::repeatable("image.stop", "close agent", self.of_image());
        request.ask(&self.connection).await.map(drop)
    }
}

impl fmt::Debug for RemoteAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAgent")
            .field("image", &self.context.image_id)
            .field("session", &self.context.session_id)
            .finish_non_exhaustive()
    }
}
