use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{Runtime, Shared, WorkspaceProvider};
use crate::{AllowAll, Budget, Driver, Host, ModelSettings, Permission, Repositories, Result, Tool, ToolSet};

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
                permission: Arc::new(AllowAll),
                budget: Budget::default(),
                settings: ModelSettings::default(),
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

    /// Settings of all model calls.
    pub fn settings(mut self, settings: ModelSettings) -> Self {
        self.shared.settings = settings;
        self
    }

    /// The runtime.
    ///
    /// # Errors
    /// `AlreadyExists` for two tools of one name; `InvalidInput` for a tool's name that no model API takes.
    pub fn build(self) -> Result<Runtime> {
        ToolSet::of(self.shared.tools.iter().cloned())?;
        Ok(Runtime { shared: Arc::new(self.shared), agents: Mutex::new(HashMap::new()) })
    }
}
