//! The engines that one set of scenarios runs on.

use std::sync::Arc;

use agentx::{
    Agent, Budget, ContainerId, Hook, ImageSpec, Message, MessageBody, Outcome, Permission, Repositories,
    Runtime, SystemClock, Tool, ToolLoop, ToolOutput, TurnReport, tokio_host,
};
use agentx_core::{AssistantPart, ContentPart, Driver, ModelRequest, Reply, Result, ScriptedModel};
use agentx_driver_claude::{
    code::ClaudeCodeSettings,
    messages::{MessagesModel, ReqwestTransport},
};
use agentx_resource::{ApiSupply, memory::MemoryLlmProvider};
use agentx_tests::messages_server::MessagesServer;

use crate::{KEY, Place, Version};

/// What runs a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The tool loop over a model that answers from a script.
    Scripted,
    /// The tool loop over the Messages API: the light driver.
    Light,
    /// The claude CLI over the Messages API: the full driver.
    Full(Version),
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Scripted, Self::Light, Self::Full(Version::Pinned), Self::Full(Version::Older)];
}

/// An engine with what it needs: a server that answers from a script, a directory, a store.
#[derive(Debug)]
pub struct World {
    /// The engine.
    pub engine: Engine,
    /// The server, where the engine asks one.
    pub server: MessagesServer,
    /// Where the CLI runs.
    pub place: Place,
    store: Repositories,
    model: ScriptedModel,
    setup: Setup,
}

/// What an agent is given.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Its tools.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Who decides on calls.
    pub permission: Option<Arc<dyn Permission>>,
    /// Who is asked before and after.
    pub hooks: Vec<Arc<dyn Hook>>,
    /// Its bounds.
    pub budget: Budget,
}

impl World {
    /// A world whose model answers with what `script` says.
    pub fn new(
        engine: Engine,
        setup: Setup,
        script: impl Fn(&ModelRequest) -> Result<Reply> + Send + Sync + 'static,
    ) -> Self {
        let model = ScriptedModel::new("claude-opus-4-6", script);
        let server = MessagesServer::start(model.clone());
        Self { engine, server, place: Place::new(), store: Repositories::memory(), model, setup }
    }

    /// The engine's driver.
    ///
    /// # Panics
    /// Where it can't be made.
    pub fn driver(&self) -> Arc<dyn Driver> {
        match self.engine {
            Engine::Scripted => Arc::new(ToolLoop::new(self.model.clone())),
            Engine::Light => {
                let supply = ApiSupply::new(KEY).with_base_url(self.server.base_url());
                let supply = Arc::new(MemoryLlmProvider::new("test", supply));
                let transport = ReqwestTransport::new().unwrap();
                Arc::new(ToolLoop::new(MessagesModel::new(supply, transport, Arc::new(SystemClock))))
            }
            Engine::Full(version) => Arc::new(self.place.driver(self.settings(version), &self.server)),
        }
    }

    fn settings(&self, version: Version) -> ClaudeCodeSettings {
        self.place.settings(version)
    }

    /// A runtime over the world's store.
    ///
    /// # Panics
    /// Where it can't be made.
    pub fn runtime(&self) -> Runtime {
        let mut runtime = Runtime::builder(self.driver(), tokio_host().unwrap())
            .repositories(self.store.clone())
            .budget(self.setup.budget.clone());
        if let Some(permission) = &self.setup.permission {
            runtime = runtime.permission(permission.clone());
        }
        for tool in &self.setup.tools {
            runtime = runtime.tool(tool.clone());
        }
        for hook in &self.setup.hooks {
            runtime = runtime.hook(hook.clone());
        }
        runtime.build().unwrap()
    }

    /// A new agent, and the runtime that it lives in.
    ///
    /// # Panics
    /// Where it can't be made.
    pub async fn agent(&self) -> (Runtime, Agent) {
        let runtime = self.runtime();
        let container = ContainerId::new("c").unwrap();
        runtime.create_container(&container).await.unwrap();
        let image = runtime.create_image(&container, ImageSpec::default()).await.unwrap();
        let agent = runtime.run(&image.image_id).await.unwrap();
        (runtime, agent)
    }
}

/// The tool of this name, as the engine calls it.
pub fn tool<'r>(request: &'r ModelRequest, name: &str) -> &'r str {
    let tools = request.tools.iter().map(|tool| tool.name.as_str());
    tools.into_iter().find(|tool| tool.ends_with(name)).unwrap_or("missing")
}

/// What the user last said, without what the CLI says in the user's name.
pub fn said(request: &ModelRequest) -> String {
    let users = request.messages.iter().rev().filter_map(|message| match message {
        MessageBody::User { content } => content.iter().rev().find_map(ContentPart::as_text),
        _ => None,
    });
    users.map(str::to_owned).find(|text| !text.starts_with("<system-reminder>")).unwrap_or_default()
}

/// How a turn ended, in a word or two.
pub fn ended(report: &Result<TurnReport>) -> String {
    match report {
        Ok(TurnReport { outcome: Outcome::Budget(kind), .. }) => format!("budget of {kind}"),
        Ok(report) => report.outcome.as_str().to_owned(),
        Err(error) => format!("failed: {}, {:?}", error.kind(), error.retry()),
    }
}

/// A history in short: a line for each message, without ids.
pub fn lines(history: &[Message]) -> Vec<String> {
    history
        .iter()
        .filter(|message| message.body.role() != "error")
        .map(|message| line(&message.body))
        .collect()
}

fn line(body: &MessageBody) -> String {
    match body {
        MessageBody::Assistant(message) => {
            let parts = message.content.iter().map(|part| match part {
                AssistantPart::Text { text } => text.clone(),
                AssistantPart::ToolCall(call) => format!("[{} {}]", call.name, call.input),
                other => format!("{other:?}"),
            });
            format!("assistant: {}", parts.collect::<Vec<_>>().join(" "))
        }
        MessageBody::Tool(result) => match &result.output {
            ToolOutput::ExecutionDenied(why) => format!("denied: {why}"),
            output if output.is_error() => format!("error: {}", output.to_text()),
            output => format!("tool: {}", output.to_text()),
        },
        other => format!("{}: {}", other.role(), other.text()),
    }
}
