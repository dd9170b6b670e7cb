//! One suite for all engines: the tool loop over a script, the light driver and the full one are the same to whoever uses
//! them. Where they differ by nature, [`DIFFERENCES`] says so, and why.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

mod answers;
mod faults;
mod sessions;
mod tools;

use agentx_tests_claude_code::{Version, engine::Engine};

/// What an engine does otherwise than the others, in which scenario, and why.
struct Difference {
    scenario: &'static str,
    engine: fn(Engine) -> bool,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        scenario: "a_stream_that_stands_still",
        engine: |engine| engine == Engine::Scripted,
        why: "a script answers at once: there is no stream that could stand still",
    },
    Difference {
        scenario: "an_overload_is_waited_out",
        engine: |engine| engine == Engine::Scripted,
        why: "a script is asked without a server, which could be overloaded",
    },
    Difference {
        scenario: "an_error_within_the_answer",
        engine: |engine| engine == Engine::Scripted,
        why: "a script is asked without a server, whose stream could break off",
    },
];

/// The engines that a scenario runs on.
fn engines(scenario: &str) -> Vec<Engine> {
    let differs = |engine: &Engine| {
        DIFFERENCES.iter().find(|difference| difference.scenario == scenario && (difference.engine)(*engine))
    };
    let (left_out, engines): (Vec<_>, Vec<_>) =
        Engine::ALL.into_iter().partition(|engine| differs(engine).is_some());
    for engine in left_out {
        let why = differs(&engine).map(|difference| difference.why).unwrap_or_default();
        println!("{scenario} is not for {engine:?}: {why}");
    }
    assert!(engines.contains(&Engine::Full(Version::Pinned)), "each scenario is one of the CLI");
    engines
}
