use std::sync::Arc;

use agentx_resource::{ErrorKind, Result};

use super::{Group, TreeLimits, TreeUsage};
use crate::process::error;

/// A control group for the commands of several [`LocalProcess`](crate::LocalProcess)es: all of them together use no more
/// than its [`TreeLimits`]. One owner with many workspaces is held so by
/// [`Isolation::with_tree_group`](crate::Isolation::with_tree_group).
///
/// The group goes with the last clone and the last `LocalProcess` that was given it, and so does whatever is still in it.
/// Where the helper of one of them is killed, the commands of all end: what it had started can't be told from the rest.
///
/// ```
/// use agentx_provider_local::{Isolation, LocalProcess, TreeGroup, TreeLimits};
///
/// # fn run() -> agentx_resource::Result<()> {
/// let group = TreeGroup::new(TreeLimits::default().with_memory(2 << 30).with_processes(256))?;
/// let isolation = Isolation::full().with_tree_group(group.clone());
/// let one = LocalProcess::new("/srv/ann/one")?.with_isolation(isolation.clone())?;
/// let two = LocalProcess::new("/srv/ann/two")?.with_isolation(isolation)?;
/// println!("{:?}", group.usage());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TreeGroup {
    limits: TreeLimits,
    group: Arc<Group>,
}

impl TreeGroup {
    /// A group with these limits. Blocks for about a millisecond.
    ///
    /// # Errors
    /// `InvalidInput` for limits that nothing can keep, and where nothing is limited; `Unsupported` where this machine, or
    /// this user, can't limit so: the message says what is missing.
    pub fn new(limits: TreeLimits) -> Result<Self> {
        limits.check()?;
        let nothing = || error(ErrorKind::InvalidInput, "isolate").with_message("nothing is limited");
        let group = Arc::new(Group::new(&limits)?.ok_or_else(nothing)?);
        Ok(Self { limits, group })
    }

    /// Its limits.
    pub fn limits(&self) -> TreeLimits {
        self.limits
    }

    /// What all that is in it uses, now.
    pub fn usage(&self) -> TreeUsage {
        self.group.usage()
    }

    pub(in crate::process) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.group)
    }
}

/// Whether they are the same group: another one with the same limits is not.
impl PartialEq for TreeGroup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group)
    }
}

impl Eq for TreeGroup {}
