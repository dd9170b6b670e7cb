//! Random edits of both trees, syncs, and syncs that are cut: nothing is lost, and the trees are alike in the end.

use agentx_resource::mirror::Side;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use crate::{
    tap::What,
    world::{Edit, Make, World},
};

#[derive(Clone, Debug)]
enum Act {
    Edit(Edit),
    Sync,
    /// A sync that ends at this operation, in this way.
    Cut(usize, usize),
}

/// Few, so that edits meet; with some that are files here and directories there.
const PATHS: [&str; 9] =
    ["/a", "/b", "/a/a", "/a/b", "/b/a", "/b/a/c", "/a.md", "/a/x.md", "/a.conflict-1.md"];

fn act() -> impl Strategy<Value = Act> {
    let side = || select(&[Side::Local, Side::Remote][..]);
    let at = || select(&PATHS[..]);
    prop_oneof![
        6 => (side(), at()).prop_map(|(side, at)| Act::Edit(Edit::Write(side, at))),
        1 => at().prop_map(|at| Act::Edit(Edit::WriteBoth(at))),
        3 => (side(), at()).prop_map(|(side, at)| Act::Edit(Edit::Remove(side, at))),
        1 => (side(), at()).prop_map(|(side, at)| Act::Edit(Edit::Mkdir(side, at))),
        2 => (side(), at(), at()).prop_map(|(side, from, to)| Act::Edit(Edit::Rename(side, from, to))),
        3 => Just(Act::Sync),
        3 => (0_usize..60, 0_usize..5).prop_map(|(number, kind)| Act::Cut(number, kind)),
    ]
}

/// Tries `runs` sequences, always the same ones. One that shows a loss is shortened before it is told.
pub(crate) fn loses_nothing(make: &Make, runs: u32) -> Result<(), String> {
    let config = Config { cases: runs, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, random)
        .run(&vec(act(), 1..40), |acts| run(make, &acts).map_err(TestCaseError::fail))
        .map_err(|error| error.to_string())
}

fn run(make: &Make, acts: &[Act]) -> Result<(), String> {
    let world = World::new();
    for act in acts {
        match act {
            Act::Edit(edit) => world.edit(edit),
            Act::Sync => {
                world.sync(make)?;
                world.check()?;
            }
            Act::Cut(number, kind) => {
                let what = match kind {
                    0 => What::DiesBefore,
                    1 => What::DiesAfter,
                    2 => What::Fails,
                    3 => What::Unanswered,
                    _ => What::Gone,
                };
                world.sync_as(make, *number, what);
            }
        }
    }
    world.sync(make)?;
    world.check()
}
