use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Runtime, Shared, WorkspaceProvider, agents::Agents, approval::Waiting};
use crate::{
    AllowAll, Budget, Driver, Hook, Host, ModelSettings, Permission, Repositories, Result, Tool, ToolSet,
};

/// How long a lease lasts that nobody renews.
const LEASE_TIME: Duration = Duration::from_secs(15);
/// The shortest time of a lease: an append has to fit.
const MIN_LEASE_TIME: Duration = Duration::from_millis(100);
/// How many messages may wait for their turn.
const QUEUE: usize = 64;

/// Settings of a [`Runtime`]. Whatever is not set: sessions in memory, no tools, every call allowed, the default
/// [`Budget`].
#[derive(Debug)]
#[must_use]
pub struct RuntimeBuilder {
    shared: Shared,
}

impl RuntimeBuilder {
    pub(super) fn new(driver: Arc<dyn Driver>, host: Host) -> Self {
        Self {
            shared: Shared {
                driver,
                host,
                repositories: Repositories::memory(),
                workspaces: None,
                tools: Vec::new(),
                tool_set: ToolSet::new(),
                permission: Arc::new(AllowAll),
                budget: Budget::default(),
                session_budget: None,
                settings: ModelSettings::default(),
                hooks: Vec::new(),
                holder: "runtime".to_owned(),
                lease_time: LEASE_TIME,
                queue: QUEUE,
                waiting: Waiting::default(),
                agents: Weak::new(),
            },
        }
    }

    /// Stores in these repositories.
    pub fn repositories(mut self, repositories: Repositories) -> Self {
        self.shared.repositories = repositories;
        self
    }

    /// Gives each image a workspace.
    pub fn workspaces(mut self, workspaces: Arc<dyn WorkspaceProvider>) -> Self {
        self.shared.workspaces = Some(workspaces);
        self
    }

    /// Offers this tool to every agent.
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.shared.tools.push(tool);
        self
    }

    /// Puts tool calls to this judge.
    pub fn permission(mut self, permission: Arc<dyn Permission>) -> Self {
        self.shared.permission = permission;
        self
    }

    /// Bounds each turn.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.shared.budget = budget;
        self
    }

    /// Bounds each session, over all its turns. What is spent is known from the ends of its turns as they are stored, also
    /// after a restart; the part of a turn before a crash is missing there.
    pub fn session_budget(mut self, budget: Budget) -> Self {
        self.shared.session_budget = Some(budget);
        self
    }

    /// Settings of all model calls.
    pub fn settings(mut self, settings: ModelSettings) -> Self {
        self.shared.settings = settings;
        self
    }

    /// Asks this hook before and after turns and tool calls, behind those that were given before.
    pub fn hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.shared.hooks.push(hook);
        self
    }

    /// Names this runtime for others, who are told who holds a session; `runtime` by default. Several may have one name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.shared.holder = name.into();
        self
    }

    /// How long a session stays taken after its process died, 15 seconds by default and 100 ms at least. A turn that runs
    /// renews its lease three times in this time.
    pub fn lease_time(mut self, time: Duration) -> Self {
        self.shared.lease_time = time.max(MIN_LEASE_TIME);
        self
    }

    /// How many messages may wait for their turn in a session, 64 by default.
    pub fn queue(mut self, messages: usize) -> Self {
        self.shared.queue = messages;
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// `AlreadyExists` for two tools of one name; `InvalidInput` for a tool's name that no model API takes.
    pub fn build(mut self) -> Result<Runtime> {
        self.shared.tool_set = ToolSet::of(self.shared.tools.iter().cloned())?;
        // No other runtime has this name, wherever it runs.
        self.shared.holder = format!("{}/{}", self.shared.holder, self.shared.host.ids.fresh());
        let agents = Arc::new(Agents::default());
        self.shared.agents = Arc::downgrade(&agents);
        Ok(Runtime { shared: Arc::new(self.shared), agents })
    }
}
