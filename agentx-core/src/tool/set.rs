use std::{fmt, sync::Arc};

use super::{Tool, ToolDefinition};
use crate::{Error, ErrorKind, Result};

/// The tools of a turn, in the order in which a model is told of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct ToolSet {
    tools: Arc<Vec<Arc<dyn Tool>>>,
    definitions: Arc<[ToolDefinition]>,
}

impl ToolSet {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// These tools.
    ///
    /// # Errors
    /// `AlreadyExists` for two tools of one name; `InvalidInput` for a name that no model API takes.
    pub fn of(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self> {
        let tools: Vec<_> = tools.into_iter().collect();
        let definitions: Arc<[ToolDefinition]> = tools.iter().map(|tool| tool.definition().clone()).collect();
        for (index, definition) in definitions.iter().enumerate() {
            let name = &definition.name;
            if !valid_name(name) {
                return Err(Error::new(ErrorKind::InvalidInput, "add tool")
                    .with_path(name)
                    .with_message("a tool's name is 1 to 128 ASCII letters, digits, _ and -"));
            }
            if definitions.iter().take(index).any(|earlier| earlier.name == *name) {
                return Err(Error::new(ErrorKind::AlreadyExists, "add tool").with_path(name));
            }
        }
        Ok(Self { tools: Arc::new(tools), definitions })
    }

    /// These tools and then `more`.
    ///
    /// # Errors
    /// Those of [`ToolSet::of`].
    pub fn with(&self, more: impl IntoIterator<Item = Arc<dyn Tool>>) -> Result<Self> {
        Self::of(self.tools.iter().cloned().chain(more))
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.definition().name == name)
    }

    /// The same tools, each wrapped into another of the same definition.
    #[cfg(feature = "tracing")]
    pub(crate) fn wrapped(&self, wrap: impl Fn(Arc<dyn Tool>) -> Arc<dyn Tool>) -> Self {
        let tools = self.tools.iter().cloned().map(wrap).collect();
        Self { tools: Arc::new(tools), definitions: self.definitions.clone() }
    }

    /// What a model is told of them.
    pub fn definitions(&self) -> Arc<[ToolDefinition]> {
        self.definitions.clone()
    }
}

fn valid_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl fmt::Debug for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.definitions.iter().map(|definition| &definition.name)).finish()
    }
}
