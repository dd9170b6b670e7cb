use agentx_resource::{ConditionStrength, FsCapabilities, ProcessCapabilities};
use serde::{Deserialize, Serialize};

/// What a server is and can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol's version: [`PROTOCOL`](super::PROTOCOL).
    pub protocol: u32,
    /// A text that no other start of a server has.
    pub instance: String,
    /// Where commands see the root.
    pub root: String,
    /// What commands can do.
    pub process: Vec<ProcessAbility>,
    /// What files can do.
    pub files: Vec<FileAbility>,
}

/// One capability of commands. One that is not known here is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessAbility {
    /// Scripts.
    Shell,
    /// Live input.
    LiveStdin,
    /// Signals.
    Signals,
    /// Resource limits.
    Limits,
    /// Terminals.
    Terminal,
    /// What a later version has.
    #[serde(other)]
    Unknown,
}

/// One capability of files. One that is not known here is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAbility {
    /// Appends.
    Append,
    /// Conditional writes that hold against everybody.
    IfMatchAtomic,
    /// Conditional writes that hold against who honours the same lock.
    IfMatchCooperative,
    /// A file is renamed at once.
    AtomicRename,
    /// A directory is renamed at once.
    AtomicDirRename,
    /// Permission bits.
    ModeBits,
    /// Symbolic links.
    Symlinks,
    /// What a later version has.
    #[serde(other)]
    Unknown,
}

impl Hello {
    /// What a server of these resources says.
    pub fn new(instance: impl Into<String>, process: &ProcessCapabilities, files: FsCapabilities) -> Self {
        let abilities = [
            (process.shell, ProcessAbility::Shell),
            (process.live_stdin, ProcessAbility::LiveStdin),
            (process.signals, ProcessAbility::Signals),
            (process.limits, ProcessAbility::Limits),
            (process.terminal, ProcessAbility::Terminal),
        ];
        let file_abilities = [
            (files.append, FileAbility::Append),
            (files.if_match == Some(ConditionStrength::Atomic), FileAbility::IfMatchAtomic),
            (files.if_match == Some(ConditionStrength::Cooperative), FileAbility::IfMatchCooperative),
            (files.atomic_rename, FileAbility::AtomicRename),
            (files.atomic_dir_rename, FileAbility::AtomicDirRename),
            (files.mode_bits, FileAbility::ModeBits),
            (files.symlinks, FileAbility::Symlinks),
        ];
        Self {
            protocol: super::PROTOCOL,
            instance: instance.into(),
            root: process.root.clone(),
            process: abilities.into_iter().filter(|(has, _)| *has).map(|(_, ability)| ability).collect(),
            files: file_abilities.into_iter().filter(|(has, _)| *has).map(|(_, ability)| ability).collect(),
        }
    }

    /// The same as capabilities.
    pub fn process_capabilities(&self) -> ProcessCapabilities {
        self.process.iter().fold(ProcessCapabilities::new(&*self.root), |known, ability| match ability {
            ProcessAbility::Shell => known.with_shell(),
            ProcessAbility::LiveStdin => known.with_live_stdin(),
            ProcessAbility::Signals => known.with_signals(),
            ProcessAbility::Limits => known.with_limits(),
            ProcessAbility::Terminal => known.with_terminal(),
            ProcessAbility::Unknown => known,
        })
    }

    /// The same as capabilities.
    pub fn file_capabilities(&self) -> FsCapabilities {
        self.files.iter().fold(FsCapabilities::new(), |known, ability| match ability {
            FileAbility::Append => known.with_append(),
            FileAbility::IfMatchAtomic => known.with_if_match(ConditionStrength::Atomic),
            FileAbility::IfMatchCooperative => known.with_if_match(ConditionStrength::Cooperative),
            FileAbility::AtomicRename => known.with_atomic_rename(),
            FileAbility::AtomicDirRename => known.with_atomic_dir_rename(),
            FileAbility::ModeBits => known.with_mode_bits(),
            FileAbility::Symlinks => known.with_symlinks(),
            FileAbility::Unknown => known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_arrive_as_they_were_and_unknown_ones_are_not_used() {
        let process = ProcessCapabilities::new("/workspace").with_shell().with_terminal();
        let files = FsCapabilities::new().with_append().with_if_match(ConditionStrength::Cooperative);
        let mut wire = serde_json::to_value(Hello::new("i", &process, files)).unwrap();
        wire["process"].as_array_mut().unwrap().push("teleport".into());
        wire["files"].as_array_mut().unwrap().push("teleport".into());
        let hello: Hello = serde_json::from_value(wire).unwrap();
        assert_eq!((hello.process_capabilities(), hello.file_capabilities()), (process, files));
    }
}
