use std::{
    collections::BTreeMap,
    fmt,
    io::{Write, stdout},
};

use agentx_resource::{ApiSupply, Disk, Env, FileSystem, LLMProvider, Process};

use crate::{Failure, Outcome, Profile};

/// What a suite asks of a provider, as one line.
///
/// ```
/// use agentx_conformance::{Profile, Summary};
///
/// let profile = Profile::new().deviates("names-case", "the volume folds case");
/// let summary = Summary::new("bucket", 200, vec!["append"], &profile);
/// assert_eq!(
///     summary.to_string(),
///     "bucket: 200 cases run; refused: append; deviations: names-case (the volume folds case)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Summary {
    suite: String,
    cases: usize,
    refused: Vec<&'static str>,
    deviations: Vec<String>,
}

impl Summary {
    /// The suite of this name, with so many cases, for a provider that does not declare the `refused` capabilities.
    pub fn new(
        suite: impl Into<String>,
        cases: usize,
        refused: Vec<&'static str>,
        profile: &Profile,
    ) -> Self {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (id, reason) in profile.deviations() {
            reasons.entry(reason).or_default().push(id);
        }
        let deviations =
            reasons.iter().map(|(reason, ids)| format!("{} ({reason})", ids.join(" "))).collect();
        Self { suite: suite.into(), cases, refused, deviations }
    }

    /// To standard output itself, which a test runner shows also for a test that passes.
    pub(crate) fn print(&self) -> Outcome {
        writeln!(stdout().lock(), "agentx-conformance: {self}")
            .map_err(|error| Failure::new(format!("the summary can't be written: {error}")))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        let refused: Vec<String> = self.refused.iter().map(|name| (*name).to_owned()).collect();
        write!(
            f,
            "{}: {} cases run; refused: {}; deviations: {}",
            self.suite,
            self.cases,
            listed(&refused),
            listed(&self.deviations)
        )
    }
}

/// What a suite is for: it can say what it refuses.
pub trait Subject {
    /// The names of the capabilities that it does not declare, and whose use it therefore refuses.
    fn refused(&self) -> Vec<&'static str>;
}

/// The names of those that are not there.
pub(crate) fn absent<const N: usize>(capabilities: [(&'static str, bool); N]) -> Vec<&'static str> {
    capabilities.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}

impl Subject for dyn FileSystem {
    fn refused(&self) -> Vec<&'static str> {
        let offered = self.capabilities();
        absent([
            ("append", offered.append),
            ("if_match", offered.if_match.is_some()),
            ("atomic_rename", offered.atomic_rename),
            ("atomic_dir_rename", offered.atomic_dir_rename),
            ("mode_bits", offered.mode_bits),
            ("symlinks", offered.symlinks),
        ])
    }
}

impl Subject for dyn Process {
    fn refused(&self) -> Vec<&'static str> {
        let offered = self.capabilities();
        absent([
            ("shell", offered.shell),
            ("live_stdin", offered.live_stdin),
            ("signals", offered.signals),
            ("limits", offered.limits),
            ("terminal", offered.terminal),
        ])
    }
}

impl Subject for dyn Env {
    fn refused(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Subject for dyn Disk {
    fn refused(&self) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Subject for dyn LLMProvider<ApiSupply> {
    fn refused(&self) -> Vec<&'static str> {
        Vec::new()
    }
}
