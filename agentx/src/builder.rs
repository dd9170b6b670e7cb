//! One agent in a few lines.

use std::{ops::Deref, sync::Arc};

use agentx_core::{
    Agent, Budget, ContainerId, Driver, ErrorKind, Hook, ImageRecord, ImageSpec, Model, ModelSettings,
    Permission, Repositories, Result, Runtime, Tool, ToolLoop,
};
use agentx_sandbox::Sandbox;

use crate::tokio_host;

/// Begins an agent whose turns `model` answers.
///
/// ```
/// use agentx::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx::Result<()> {
/// let model = ScriptedModel::replies([Reply::text("Hello!")]);
/// let agent = agentx::agent(model).build().await?;
/// assert_eq!(agent.ask("Hi").await?.text, "Hello!");
/// # Ok(())
/// # }
/// ```
pub fn agent(model: impl Model) -> AgentBuilder {
    AgentBuilder::new(ToolLoop::new(model))
}

/// Settings of a [`SoloAgent`]. Whatever is not set: no tools, a session in memory, every tool call allowed.
#[derive(Debug)]
#[must_use]
pub struct AgentBuilder {
    driver: Arc<dyn Driver>,
    name: String,
    system_prompt: Option<String>,
    sandbox: Option<Sandbox>,
    tools: Vec<Arc<dyn Tool>>,
    #[cfg(feature = "mcp")]
    mcp: Vec<agentx_sandbox::mcp::McpServer>,
    repositories: Option<Repositories>,
    permission: Option<Arc<dyn Permission>>,
    budget: Budget,
    session_budget: Option<Budget>,
    hooks: Vec<Arc<dyn Hook>>,
    settings: ModelSettings,
    #[cfg(feature = "record")]
    recording: Option<crate::Recording>,
}

impl AgentBuilder {
    /// An agent whose turns `driver` runs.
    pub fn new(driver: impl Driver) -> Self {
        Self {
            driver: Arc::new(driver),
            name: "agent".to_owned(),
            system_prompt: None,
            sandbox: None,
            tools: Vec::new(),
            #[cfg(feature = "mcp")]
            mcp: Vec::new(),
            repositories: None,
            permission: None,
            budget: Budget::default(),
            session_budget: None,
            hooks: Vec::new(),
            settings: ModelSettings::default(),
            #[cfg(feature = "record")]
            recording: None,
        }
    }

    /// Names the conversation, `agent` by default. In one store, an agent of the same name takes up the same
    /// session; while one is at work, the others are told `Busy`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// With this system prompt.
    pub fn system_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.system_prompt = Some(prompt.into());
        self
    }

    /// Offers the sandbox's tools: bash, read, write, edit, glob, grep and ls, and those of its workspace.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// Works in a directory of this machine, with its files and its commands. Files are confined to the directory;
    /// commands begin there, but may do whatever this user may do: see
    /// [`isolated_directory`](Self::isolated_directory).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` or `PermissionDenied` for a directory that can't be used.
    #[cfg(feature = "local")]
    pub fn directory(self, path: impl AsRef<std::path::Path>) -> Result<Self> {
        Ok(self.sandbox(Sandbox::new(crate::local_runtime(path)?)))
    }

    /// As [`directory`](Self::directory), with commands that see and do no more than `isolation` says.
    ///
    /// ```no_run
    /// use agentx::{local::Isolation, prelude::*};
    ///
    /// # async fn build(model: ScriptedModel) -> agentx::Result<()> {
    /// let agent = agentx::agent(model).isolated_directory("project", Isolation::full())?.build().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`directory`](Self::directory); `Unsupported` where this machine lacks a part of the isolation.
    #[cfg(feature = "local")]
    pub fn isolated_directory(
        self,
        path: impl AsRef<std::path::Path>,
        isolation: agentx_provider_local::Isolation,
    ) -> Result<Self> {
        Ok(self.sandbox(Sandbox::new(crate::isolated_runtime(path, isolation)?)))
    }

    /// Offers this tool.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Offers the tools of this MCP server, which is started or reached when the agent is built, and ends with it. One
    /// over stdio is a child of the sandbox: it needs a [`directory`](Self::directory) or a [`sandbox`](Self::sandbox).
    ///
    /// ```no_run
    /// use agentx::{McpServer, prelude::*};
    ///
    /// # async fn build(model: ScriptedModel) -> agentx::Result<()> {
    /// let files = McpServer::stdio("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "."]);
    /// # #[cfg(feature = "local")]
    /// let agent = agentx::agent(model).directory("project")?.mcp(files).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "mcp")]
    pub fn mcp(mut self, server: agentx_sandbox::mcp::McpServer) -> Self {
        self.mcp.push(server);
        self
    }

    /// Keeps the session in this store.
    pub fn repositories(mut self, repositories: Repositories) -> Self {
        self.repositories = Some(repositories);
        self
    }

    /// Keeps the session in this SQLite file, which is created where there is none, and takes up the session that it
    /// has.
    ///
    /// # Errors
    /// `NotFound` for a missing directory, `Corrupt` for a file that is no such store.
    #[cfg(feature = "local")]
    pub async fn session_file(self, path: impl AsRef<std::path::Path> + Send) -> Result<Self> {
        let executor = agentx_provider_local::SqliteExecutor::open(path).await?;
        let repositories = agentx_sql::SqlRepositories::open(Arc::new(executor)).await?;
        Ok(self.repositories(Repositories::new(repositories)))
    }

    /// Puts tool calls to this judge.
    pub fn permission(mut self, permission: impl Permission) -> Self {
        self.permission = Some(Arc::new(permission));
        self
    }

    /// Bounds each turn.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Bounds the whole session, over all its turns.
    pub fn session_budget(mut self, budget: Budget) -> Self {
        self.session_budget = Some(budget);
        self
    }

    /// Asks this hook before and after each turn and each tool call, behind those that were given before.
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Settings of all model calls.
    pub fn settings(mut self, settings: ModelSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Takes the time and the ids from this recording, or records them. The model and the sandbox are put on it by its own
    /// methods.
    #[cfg(feature = "record")]
    pub fn recording(mut self, recording: &crate::Recording) -> Self {
        self.recording = Some(recording.clone());
        self
    }

    /// Tells of the agent's turns and tools. Its model tells of its calls when
    /// [`Telemetry::model`](crate::Telemetry::model) wrapped it.
    ///
    /// ```
    /// use agentx::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> agentx::Result<()> {
    /// let telemetry = agentx::telemetry("scripted");
    /// let model = ScriptedModel::replies([Reply::text("Hello!")]);
    /// let agent = agentx::agent(telemetry.model(model)).telemetry(&telemetry).build().await?;
    /// agent.ask("Hi").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tracing")]
    pub fn telemetry(mut self, telemetry: &crate::Telemetry) -> Self {
        self.driver = Arc::new(telemetry.driver(self.driver));
        self
    }

    /// The agent, at the end of its session.
    ///
    /// # Errors
    /// `Unavailable` outside of a tokio runtime, `AlreadyExists` for two tools of one name; whatever the store and the MCP
    /// servers report.
    pub async fn build(self) -> Result<SoloAgent> {
        let host = tokio_host()?;
        #[cfg(feature = "record")]
        let host = match &self.recording {
            Some(recording) => recording.host(host),
            None => host,
        };
        let mut runtime = Runtime::builder(self.driver, host).budget(self.budget).settings(self.settings);
        if let Some(repositories) = self.repositories {
            runtime = runtime.repositories(repositories);
        }
        if let Some(budget) = self.session_budget {
            runtime = runtime.session_budget(budget);
        }
        for hook in self.hooks {
            runtime = runtime.hook(hook);
        }
        if let Some(permission) = self.permission {
            runtime = runtime.permission(permission);
        }
        let sandbox_tools = self.sandbox.iter().flat_map(Sandbox::tools);
        #[cfg(feature = "mcp")]
        let sandbox_tools = sandbox_tools.chain(mcp_tools(&self.mcp, self.sandbox.as_ref()).await?);
        for tool in sandbox_tools.chain(self.tools) {
            runtime = runtime.tool(tool);
        }
        let runtime = runtime.build()?;

        let container = ContainerId::new("local")?;
        runtime.create_container(&container).await?;
        let mut spec = ImageSpec::default().with_name(self.name);
        spec.system_prompt = self.system_prompt;
        let image = image(&runtime, &container, spec).await?;
        let agent = runtime.run(&image.image_id).await?;
        Ok(SoloAgent { agent, runtime })
    }
}

/// The tools of all servers, which are started side by side.
#[cfg(feature = "mcp")]
async fn mcp_tools(
    servers: &[agentx_sandbox::mcp::McpServer],
    sandbox: Option<&Sandbox>,
) -> Result<Vec<Arc<dyn Tool>>> {
    let runtime = sandbox.map(Sandbox::runtime);
    let connections = servers.iter().map(|server| server.connect(runtime));
    let connections = futures::future::try_join_all(connections).await?;
    Ok(connections.iter().flat_map(agentx_sandbox::mcp::McpConnection::tools).collect())
}

/// The image of this name, made where there is none. Of many that make it at once, one does, and all get the same.
async fn image(runtime: &Runtime, container: &ContainerId, spec: ImageSpec) -> Result<ImageRecord> {
    let spec = spec.clone().with_key(&spec.name);
    loop {
        let images = runtime.images(container).await?;
        let keyed = images.iter().find(|image| image.spec.key == spec.key);
        // A store of an earlier version has no keys.
        let named = keyed
            .or_else(|| images.iter().find(|image| image.spec.key.is_none() && image.spec.name == spec.name));
        let made = match named {
            Some(image) if image.spec.key == spec.key && image.spec.system_prompt == spec.system_prompt => {
                return Ok(image.clone());
            }
            Some(image) => {
                let mut image = image.clone();
                (image.spec.key, image.spec.system_prompt) = (spec.key.clone(), spec.system_prompt.clone());
                runtime.update_image(image).await
            }
            None => runtime.create_image(container, spec.clone()).await,
        };
        match made {
            // Somebody else was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

/// One [`Agent`] with a [`Runtime`] of its own. Dropping it ends the turn that is under way.
#[derive(Debug)]
pub struct SoloAgent {
    agent: Agent,
    runtime: Runtime,
}

impl SoloAgent {
    /// The runtime, for whatever one agent does not offer.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

impl Deref for SoloAgent {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.agent
    }
}

#[cfg(test)]
mod tests {
    use agentx_core::{Reply, ScriptedModel};
    use futures::future::join_all;

    use super::*;

    /// Many that open one conversation of a new store at once all have the same, and one of them is at work at a time.
    #[tokio::test]
    async fn agents_of_one_name_share_one_session() {
        let store = Repositories::memory();
        let open = || {
            let model = ScriptedModel::new("scripted", |_| Ok(Reply::text("hello")));
            agent(model).name("shared").repositories(store.clone()).build()
        };
        let agents: Vec<_> = join_all((0..8).map(|_| open())).await.into_iter().map(Result::unwrap).collect();
        for agent in &agents {
            assert_eq!(agent.session_id(), agents[0].session_id());
            assert_eq!(agent.ask("hi").await.unwrap().text, "hello");
        }
        assert_eq!(agents[0].history().await.unwrap().len(), 16);
    }

    /// What a server says of its tool's harmlessness does not let the call pass.
    #[cfg(all(feature = "mcp", feature = "local"))]
    #[tokio::test]
    async fn a_hint_of_a_server_weakens_no_permission() {
        use agentx_core::{Decision, PermissionRequest};
        use agentx_sandbox::mcp::McpServer;

        const SERVER: &str = r#"
            while read -r line; do
              id=${line##*\"id\":}; id=${id%%[,\}]*}
              case "$line" in
                *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}';;
                *'"tools/list"'*) result='{"tools":[{"name":"look","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true,"destructiveHint":false}}]}';;
                *'"tools/call"'*) touch called; result='{"content":[]}';;
                *) continue;;
              esac
              echo '{"jsonrpc":"2.0","id":'"$id"',"result":'"$result"'}'
            done"#;

        #[derive(Debug)]
        struct Nothing;
        #[async_trait::async_trait]
        impl Permission for Nothing {
            async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
                Ok(Decision::Deny(format!("not {}", request.call.name)))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let model = ScriptedModel::new("scripted", |request| match request.answer("1") {
            None => Ok(Reply::default().call("1", "mcp__s__look", serde_json::json!({}))),
            Some(output) => Ok(Reply::text(output.to_text())),
        });
        let server = McpServer::stdio("s", "sh", ["-c", SERVER]);
        let agent = agent(model).directory(dir.path()).unwrap().mcp(server).permission(Nothing);
        let agent = agent.build().await.unwrap();
        assert!(agent.ask("look").await.unwrap().text.contains("not mcp__s__look"));
        assert!(!dir.path().join("called").exists());
    }

    /// A store of an earlier version has no keys: its conversation is taken up all the same.
    #[tokio::test]
    async fn a_conversation_without_a_key_is_found_by_its_name() {
        let store = Repositories::memory();
        let model = || ScriptedModel::new("scripted", |_| Ok(Reply::text("hello")));
        let runtime = Runtime::builder(ToolLoop::new(model()), tokio_host().unwrap());
        let runtime = runtime.repositories(store.clone()).build().unwrap();
        let container = ContainerId::new("local").unwrap();
        runtime.create_container(&container).await.unwrap();
        let old = runtime.create_image(&container, ImageSpec::default().with_name("old")).await.unwrap();
        let agent = agent(model()).name("old").repositories(store).build().await.unwrap();
        assert_eq!(agent.image_id(), &old.image_id);
    }
}
