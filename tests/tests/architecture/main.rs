//! The rules of the house, held by tests over what cargo and the sources say.
//!
//! Each rule is a function from data to a list of what breaks it: the workspace must give an empty list, and a small
//! example shows that the function can find fault.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't read the workspace fails"
)]

mod ambient;
mod dependencies;
mod direction;
mod hidden;
mod licences;
mod manifests;
mod source;
mod text;
mod traits;
mod workspace;

/// Fails with all that breaks a rule, one line each.
#[track_caller]
fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}
