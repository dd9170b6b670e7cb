//! A mirror keeps two trees alike and loses nothing, whenever it is cut and whatever people do meanwhile.
#![cfg(test)]

mod battery;
mod behaviour;
mod broken;
mod hook;
mod random;
mod stream;
mod tap;
mod world;

use agentx_conformance::Fresh;
use agentx_resource::{
    ResourcePath,
    memory::MemoryFileSystem,
    mirror::{MirrorDisk, Side},
};

use futures::executor::block_on;

use crate::{
    broken::Fault,
    world::{World, plain},
};

agentx_conformance::disk_suite!(memory, || async {
    let fs = || std::sync::Arc::new(MemoryFileSystem::new());
    Fresh::disk(MirrorDisk::new(fs(), fs(), World::options()))
});

#[test]
fn it_does_what_the_table_says() {
    for scenario in battery::ALL {
        scenario.settles(&plain).unwrap();
    }
}

#[test]
fn a_cut_at_any_operation_loses_and_doubles_nothing() {
    let cuts = battery::all(|scenario| scenario.survives_cuts(&plain)).unwrap();
    assert!(cuts > 500, "{cuts}");
}

/// An edit before any operation is not lost. One test for each scenario, since each tries thousands.
mod an_edit_before_any_operation_is_not_lost {
    use crate::{
        battery::{DIRECTORIES, FILES, FIRST, KINDS, NEW, Scenario},
        world::plain,
    };

    fn survives(scenario: &Scenario) {
        let races = scenario.survives_races(&plain).unwrap();
        assert!(races > 100, "{races}");
    }

    #[test]
    fn files() {
        survives(&FILES);
    }

    #[test]
    fn new_files() {
        survives(&NEW);
    }

    #[test]
    fn directories() {
        survives(&DIRECTORIES);
    }

    #[test]
    fn files_and_directories() {
        survives(&KINDS);
    }

    #[test]
    fn first_sync() {
        survives(&FIRST);
    }
}

#[test]
fn another_mirror_of_the_same_trees_at_any_operation_loses_nothing() {
    let others = battery::all(|scenario| scenario.survives_another(&plain)).unwrap();
    assert!(others > 100, "{others}");
}

#[test]
fn what_a_list_leaves_out_is_not_taken_for_removed() {
    let short = broken::with(Fault::ShortLists);
    let (script, world) = (tap::Script::nothing(), World::new());
    world.edit(&world::Edit::Write(Side::Local, "/same.md"));
    world.sync(&short).unwrap();
    let report = block_on(world.disk(&short, &script, World::options()).sync()).unwrap();
    assert_eq!(report.deferred.iter().map(ResourcePath::as_str).collect::<Vec<_>>(), ["/same.md"]);
    world.check().unwrap();
}

#[test]
fn random_edits_syncs_and_cuts_lose_nothing() {
    random::loses_nothing(&plain, 300).unwrap();
}

#[test]
fn trees_that_can_do_less_lose_nothing_either_unless_somebody_is_at_work() {
    let lesser = broken::with(Fault::Lesser);
    for scenario in battery::ALL {
        scenario.settles(&lesser).unwrap();
    }
    random::loses_nothing(&lesser, 100).unwrap();
}

#[test]
fn every_fault_is_caught() {
    type Check = fn(Fault) -> Result<usize, String>;
    let settles: Check = |fault| battery::all(|s| s.settles(&broken::with(fault)).map(|()| 0));
    let cuts: Check = |fault| battery::all(|s| s.survives_cuts(&broken::with(fault)));
    let races: Check = |fault| battery::all(|s| s.survives_races(&broken::with(fault)));
    for (fault, check, expected) in [
        (Fault::LosesConflicts, settles, "lost"),
        (Fault::ForgetsRemovals, settles, "another tree"),
        (Fault::ForgetsState, settles, "another tree"),
        (Fault::OverlooksMarkers, settles, "another tree"),
        (Fault::SeesNoVersions, settles, "the trees differ"),
        (Fault::StateBeforeData, cuts, "lost"),
        (Fault::IgnoresVersions, races, "lost"),
        (Fault::CreatesOver, races, "lost"),
        (Fault::RenamesOver, races, "lost"),
        (Fault::MovesInTwoSteps, races, "lost"),
        (Fault::RemovesUnseen, races, "lost"),
        (Fault::RemovesWhole, races, "lost"),
    ] {
        let caught = check(fault).expect_err(&format!("{fault:?} is not caught"));
        assert!(caught.contains(expected), "{fault:?}: {caught}");
    }
}
