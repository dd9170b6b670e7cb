use std::collections::BTreeMap;

use crate::{Case, Failure, Outcome};

/// What a provider can't do as `docs/semantics.md` says, and why.
///
/// ```
/// use agentx_conformance::Profile;
///
/// let profile = Profile::new().deviates("names-case", "the volume folds case");
/// assert_eq!(profile.reason("names-case"), Some("the volume folds case"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Profile {
    deviations: BTreeMap<String, String>,
}

impl Profile {
    /// A provider that does all as it is written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares that the case `id` fails, for this reason. It may fail in any way, also by taking more than five seconds
    /// or by what it leaves behind: nothing else is learned from it.
    pub fn deviates(mut self, id: impl Into<String>, reason: impl Into<String>) -> Self {
        self.deviations.insert(id.into(), reason.into());
        self
    }

    /// Why the case `id` is expected to fail, if it is.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.deviations.get(id).map(String::as_str)
    }

    /// The cases that are expected to fail, each with the reason, in the order of their ids.
    pub fn deviations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.deviations.iter().map(|(id, reason)| (id.as_str(), reason.as_str()))
    }

    /// Fails for a deviation from a case that there is not, or one without a reason.
    ///
    /// # Errors
    /// The first such deviation.
    pub fn check<R: ?Sized>(&self, cases: &[Case<R>]) -> Outcome {
        for (id, reason) in &self.deviations {
            if !cases.iter().any(|case| case.id() == *id) {
                return Err(Failure::new(format!(
                    "the profile deviates from `{id}`, and there is no such case"
                )));
            }
            if reason.trim().is_empty() {
                return Err(Failure::new(format!("the profile deviates from `{id}` without a reason")));
            }
        }
        Ok(())
    }
}
