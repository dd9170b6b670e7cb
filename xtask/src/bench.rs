//! `cargo xtask bench`: the benchmark program, built as a user would ship it.

use crate::cargo::Step;

/// Passes `args` on to the benchmark program. False when it fails.
pub(crate) fn main(args: &[String]) -> bool {
    let mut step = Step::new("run --profile bench --package agentx-benches --");
    for arg in args {
        step = step.arg(arg);
    }
    step.run().failures.is_empty()
}
