use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NestedEvent, NestedStep};
use crate::{
    Budget, Driver, DriverEvent, Error, ErrorKind, Message, MessageAssembler, MessageBody, MessageId,
    ModelEvent, ModelSettings, Outcome, Result, Timestamp, Tool, ToolContext, ToolDefinition, ToolOutput,
    ToolSet, Turn, tool::TurnScope,
};

/// A [`Tool`] that asks another agent: each call is a whole turn of its driver, with a history, tools and a budget of its
/// own. The model is told the sub-agent's last words.
///
/// What the sub-agent uses counts for the turn that called it, and its bounds hold for it too. So do the permission, the
/// approvals and the hooks of that turn. What happens in it is told as
/// [`DriverEvent::Nested`]. It ends when the call is dropped. Sub-agents may call
/// sub-agents, three deep unless [`AgentTool::with_max_depth`] says otherwise.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_core::{AgentTool, Budget, Reply, ScriptedModel, ToolLoop};
///
/// let reader = ScriptedModel::new("reader", |_| Ok(Reply::text("It is about whales.")));
/// let tool = AgentTool::new("reader", "Reads a book and answers questions about it.", ToolLoop::new(reader))
///     .with_system("You read books.")
///     .with_budget(Budget::default().with_steps(10));
/// # let _ = tool;
/// ```
#[derive(Debug)]
pub struct AgentTool {
    definition: ToolDefinition,
    driver: Arc<dyn Driver>,
    system: Option<String>,
    tools: ToolSet,
    budget: Budget,
    settings: ModelSettings,
    max_depth: u32,
}

#[derive(Deserialize)]
struct Input {
    prompt: String,
}

impl AgentTool {
    /// A sub-agent without tools, with the default budget.
    pub fn new(name: impl Into<String>, description: impl Into<String>, driver: impl Driver) -> Self {
        let schema = json!({
            "type": "object",
            "properties": {
                "prompt": {
                    "type": "string",
                    "description": "The task, with all that is needed to do it: the agent sees nothing else.",
                },
            },
            "required": ["prompt"],
        });
        Self {
            definition: ToolDefinition::new(name, description, schema),
            driver: Arc::new(driver),
            system: None,
            tools: ToolSet::new(),
            budget: Budget::default(),
            settings: ModelSettings::default(),
            max_depth: 3,
        }
    }

    /// With this system prompt.
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// With these tools.
    pub fn with_tools(mut self, tools: ToolSet) -> Self {
        self.tools = tools;
        self
    }

    /// With these bounds for each call.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// With these settings of its model calls.
    pub fn with_settings(mut self, settings: ModelSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Answers only where it is at most so many turns deep: 1 is a sub-agent of the user's own agent.
    pub fn with_max_depth(mut self, depth: u32) -> Self {
        self.max_depth = depth;
        self
    }

    fn turn(&self, prompt: &str, context: &ToolContext, scope: &TurnScope) -> Result<Turn> {
        let id = MessageId::new("msg_prompt")?;
        let user = Message::new(id, Timestamp::from(context.clock.now()), MessageBody::user(prompt));
        let mut turn = Turn::new(vec![user], context.clock.clone())
            .with_tools(self.tools.clone())
            .with_permission(scope.permission.clone())
            .with_budget(self.budget.clone())
            .with_ledger(scope.ledger.clone());
        turn.system.clone_from(&self.system);
        turn.settings = self.settings.clone();
        turn.approvals.clone_from(&scope.approvals);
        turn.hooks.clone_from(&scope.hooks);
        turn.depth = scope.depth.saturating_add(1);
        turn.agent_name = Some(self.definition.name.clone());
        Ok(turn)
    }
}

#[async_trait]
impl Tool for AgentTool {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let name = &self.definition.name;
        let refused = |kind, why: String| Error::new(kind, "call agent").with_path(name).with_message(why);
        let Input { prompt } = serde_json::from_value(input)
            .map_err(|error| refused(ErrorKind::InvalidInput, error.to_string()))?;
        if prompt.trim().is_empty() {
            return Err(refused(ErrorKind::InvalidInput, "the prompt is empty".to_owned()));
        }
        let Some(scope) = &context.scope else {
            let why = "only a tool loop can call it, since its permission holds for the agent too";
            return Err(refused(ErrorKind::Unsupported, why.to_owned()));
        };
        if scope.depth >= self.max_depth {
            let why = format!("agents may call each other {} deep, and this would be deeper", self.max_depth);
            return Err(refused(ErrorKind::LimitExceeded, why));
        }
        let mut turn = self.driver.start(self.turn(&prompt, &context, scope)?);
        let nested = |step| DriverEvent::Nested(NestedEvent::new(&context.call_id, name, step));
        scope.teller.tell(nested(NestedStep::Start { prompt })).await;
        let mut words = LastWords::default();
        while let Some(event) = turn.next().await {
            words.push(&event);
            let end = match &event {
                DriverEvent::End(end) => Some(end.outcome.clone()),
                _ => None,
            };
            scope.teller.tell(nested(NestedStep::Driver(Box::new(event)))).await;
            if let Some(outcome) = end {
                return Ok(words.output(&outcome));
            }
        }
        Err(refused(ErrorKind::Truncated, "the agent's turn ended without an end".to_owned()))
    }
}

/// What a driver's model said last.
#[derive(Default)]
struct LastWords {
    message: MessageAssembler,
    text: String,
}

impl LastWords {
    fn push(&mut self, event: &DriverEvent) {
        let event = match event {
            DriverEvent::Together(events) => return events.iter().for_each(|event| self.push(event)),
            DriverEvent::Model(event) => event,
            _ => return,
        };
        self.message.push(event);
        if let ModelEvent::Stop(_) = event {
            let text = std::mem::take(&mut self.message).finish().text();
            if !text.trim().is_empty() {
                self.text = text;
            }
        }
    }

    fn output(self, outcome: &Outcome) -> ToolOutput {
        match (outcome, self.text.is_empty()) {
            (Outcome::Completed, false) => ToolOutput::Text(self.text),
            (Outcome::Completed, true) => ToolOutput::text("The agent ended without a word."),
            (outcome, true) => ToolOutput::ErrorText(format!("The agent did not finish: {outcome}.")),
            (outcome, false) => ToolOutput::ErrorText(format!(
                "The agent did not finish: {outcome}. Its last words were:\n{}",
                self.text
            )),
        }
    }
}
