use std::sync::Arc;

use agentx_core::{
    Agent, ContentPart, ErrorKind, MessageBody, MessageId, MessagePage, SessionRepositoryExt as _,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Object, Outcome, Service, agents::AgentOrImage, shown};
use crate::{
    Owner,
    failure::Failure,
    llm::{CHOICE, PROVIDER_OPTIONS, THINKING},
};

/// How many messages are read at once on the way to one.
const PAGE: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendMessage {
    #[serde(flatten)]
    to: AgentOrImage,
    content: Content,
    /// Whether the answer may wait for the end of the turn.
    #[serde(default = "waits")]
    wait: bool,
    /// What holds for this message alone.
    #[serde(default)]
    options: Option<MessageOptions>,
}

/// As those of an image. One that there is no setting for is refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageOptions {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    thinking: Option<Value>,
    #[serde(default)]
    provider_options: Option<Value>,
}

fn waits() -> bool {
    true
}

/// What a user says: text, or parts.
#[derive(Deserialize)]
#[serde(untagged, expecting = "content: neither a text nor a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RewindTo {
    #[serde(flatten)]
    of: AgentOrImage,
    message_id: String,
}

impl Service {
    /// The message is stored when this is done, and the answer names its turn. While the agent is at work it is queued, and its turn follows.
    pub(super) async fn send_message(&self, owner: &Owner, params: SendMessage) -> Outcome {
        let agent = self.agent(owner, &params.to).await?;
        let options = match params.options {
            Some(options) => self.said(owner, options).await?.map(Arc::new),
            None => None,
        };
        let content = match params.content {
            Content::Text(text) => vec![ContentPart::text(text)],
            Content::Parts(parts) => parts,
        };
        let (quotas, account) = (self.quotas_of(owner).await?, self.accounts.of(owner));
        let _starting = account.start(&self.running, owner, agent.image_id(), &quotas)?;
        account.send(owner, &quotas, self.tenants.as_ref(), (1, size(&content))).await?;
        let result = json!({"agentId": agent.id(), "imageId": agent.image_id()});
        let mut answer = Answer::of(result).with_sessions([agent.session_id().clone()]);
        match agent.send_with(content.clone(), options.clone()).await {
            Ok(turn) => {
                answer.result.insert("turnId".to_owned(), json!(turn.turn_id()));
                answer.turn = params.wait.then_some(turn);
            }
            Err(error) if error.kind() == ErrorKind::Busy => {
                let message = agent.queue_with(content, options).await?;
                answer.result.insert("queued".to_owned(), json!(true));
                answer.result.insert("messageId".to_owned(), json!(message));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(answer)
    }

    /// What is sent along with a message, for the driver of its turn.
    async fn said(&self, owner: &Owner, options: MessageOptions) -> Outcome<Option<Value>> {
        let mut said = Object::new();
        if let Some(model) = &options.model {
            said.insert(CHOICE.to_owned(), json!(self.choice(owner, model).await?));
        }
        let answered = [(THINKING, options.thinking), (PROVIDER_OPTIONS, options.provider_options)];
        for (key, value) in answered {
            if let Some(value) = value {
                self.check_option(key, &value)?;
                said.insert(key.to_owned(), value);
            }
        }
        Ok((!said.is_empty()).then_some(Value::Object(said)))
    }

    /// Keeps the conversation up to and with a message; where that is in the middle of a turn, up to the turn's end.
    pub(super) async fn rewind(&self, owner: &Owner, params: RewindTo) -> Outcome {
        let agent = self.agent(owner, &params.of).await?;
        let (first, count) = self.behind(&agent, &params.message_id).await?;
        if let Some(first) = first {
            self.runtime.rewind_image(agent.image_id(), &first).await?;
        }
        Ok(Answer::of(json!({"agentId": agent.id(), "truncatedCount": count})))
    }

    /// The user's first message behind this one, and how many messages there are from it on.
    async fn behind(&self, agent: &Agent, message: &str) -> Outcome<(Option<MessageId>, usize)> {
        let missing = || Failure::not_found("Message", shown(message));
        let id = MessageId::new(message).map_err(|_| missing())?;
        let sessions = &self.repositories.sessions;
        let rewound = sessions.rewound(agent.session_id()).await?;
        let kept = sessions.find_message(agent.session_id(), &id).await?;
        let mut place = kept.filter(|stored| rewound.keeps(stored)).ok_or_else(missing)?.seq;
        let (mut first, mut count) = (None, 0);
        loop {
            let page = sessions.list_messages(agent.session_id(), MessagePage::after(place, PAGE)).await?;
            let Some(last) = page.last() else { return Ok((first, count)) };
            place = last.seq;
            for stored in page.iter().filter(|stored| rewound.keeps(stored)) {
                if first.is_none() && matches!(stored.message.body, MessageBody::User { .. }) {
                    first = Some(stored.message.id.clone());
                }
                count += usize::from(first.is_some() && stored.message.body.is_said());
            }
        }
    }
}

/// The bytes of a message: of its text, and of what else it has as it is stored.
fn size(content: &[ContentPart]) -> u64 {
    let bytes = |part: &ContentPart| match part {
        ContentPart::Text { text } => text.len(),
        ContentPart::Image { data, .. } | ContentPart::File { data, .. } => data.len(),
        other => json!(other).to_string().len(),
    };
    content.iter().map(|part| bytes(part) as u64).sum()
}
