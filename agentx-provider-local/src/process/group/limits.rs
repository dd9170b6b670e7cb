use std::time::Duration;

use agentx_resource::{ErrorKind, Result};

use crate::process::error;

/// What all commands of one [`LocalProcess`](crate::LocalProcess) and its clones may use together, with everything that
/// they have started. The kernel counts it in a control group. Nothing is limited by default.
///
/// The limits of an [`ExecRequest`](agentx_resource::ExecRequest) count for each process by itself.
///
/// ```
/// use agentx_provider_local::{Isolation, TreeLimits};
///
/// let limits = TreeLimits::default().with_memory(2 << 30).with_processes(256).with_cpu(1500);
/// let isolation = Isolation::full().with_tree_limits(limits);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeLimits {
    /// Memory in bytes, with the files that are cached for them and what is in their `/tmp`. When nothing can be given
    /// back the kernel ends one of the processes, and a command that was ended so is told as
    /// [`OutOfMemory`](agentx_resource::ExitStatus::OutOfMemory).
    pub memory: Option<u64>,
    /// Processes and threads. Whoever starts one more is refused; a command's first process is always let in.
    pub processes: Option<u64>,
    /// Processor time, in thousandths of one processor, of each tenth of a second. Who has used his up waits.
    pub cpu: Option<u32>,
}

impl TreeLimits {
    /// The least share of a processor that the kernel can give, in thousandths.
    pub const LEAST_CPU: u32 = 10;

    /// At most so many bytes of memory.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// At most so many processes and threads.
    pub fn with_processes(mut self, count: u64) -> Self {
        self.processes = Some(count);
        self
    }

    /// At most so many thousandths of one processor.
    pub fn with_cpu(mut self, thousandths: u32) -> Self {
        self.cpu = Some(thousandths);
        self
    }

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The same kinds of limits, small enough to be tried out.
    pub(in crate::process) fn in_small(&self) -> Self {
        Self {
            memory: self.memory.map(|_| 64 << 20),
            processes: self.processes.map(|_| 32),
            cpu: self.cpu.map(|_| 100),
        }
    }

    /// Whether an attempt of this name is against one of them.
    pub(in crate::process) fn is_limited(&self, attempt: &str) -> bool {
        match attempt {
            "memory" => self.memory.is_some(),
            "processes" => self.processes.is_some(),
            "processor" => self.cpu.is_some(),
            _ => true,
        }
    }

    /// # Errors
    /// `InvalidInput` for a limit that nothing can keep.
    pub(in crate::process) fn check(&self) -> Result<()> {
        let message = if self.memory == Some(0) || self.processes == Some(0) {
            "without memory or processes no command can run"
        } else if self.cpu.is_some_and(|cpu| cpu < Self::LEAST_CPU) {
            "the least share of a processor is ten thousandths"
        } else {
            return Ok(());
        };
        Err(error(ErrorKind::InvalidInput, "isolate").with_message(message))
    }
}

/// What the commands of a [`LocalProcess`](crate::LocalProcess) use together, as the kernel counts it. What is not
/// limited is not counted, and `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeUsage {
    /// Memory in bytes, now.
    pub memory: Option<u64>,
    /// How many processes the kernel has ended for the limit of memory.
    pub memory_kills: Option<u64>,
    /// Processes and threads, now.
    pub processes: Option<u64>,
    /// How many more were refused.
    pub processes_refused: Option<u64>,
    /// How long processes have waited for their next share of a processor, all together.
    pub throttled: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_can_keep_is_refused() {
        let none = TreeLimits::default();
        for limits in [none.with_memory(0), none.with_processes(0), none.with_cpu(0), none.with_cpu(9)] {
            assert_eq!(limits.check().unwrap_err().kind(), ErrorKind::InvalidInput, "{limits:?}");
        }
        for limits in [none, none.with_memory(1).with_processes(1).with_cpu(10)] {
            limits.check().unwrap();
        }
        assert!(none.is_none() && !none.with_cpu(10).is_none());
    }
}
