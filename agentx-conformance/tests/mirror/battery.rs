//! What a mirror is put through.

use agentx_resource::mirror::{
    Conflict,
    Side::{Local, Remote},
};

use futures::FutureExt;

use crate::{
    tap::{Script, What},
    world::{Edit, Make, Tree, World, plain},
};

/// Two trees that were alike, what people did to them since, and what must come of it.
pub(crate) struct Scenario {
    before: &'static [Edit],
    edits: &'static [Edit],
    /// The trees in the end: paths with what they hold. Contents are numbered by edit.
    expected: &'static [&'static str],
    conflicts: &'static [&'static str],
    /// Where somebody may be at work during the sync.
    races: &'static [&'static str],
}

pub(crate) const FILES: Scenario = Scenario {
    before: &[
        Edit::Write(Local, "/same.md"),
        Edit::Write(Local, "/here.md"),
        Edit::Write(Local, "/there.md"),
        Edit::Write(Local, "/both.md"),
        Edit::Write(Remote, "/gone-here.md"),
        Edit::Write(Remote, "/gone-there.md"),
        Edit::Write(Remote, "/gone.md"),
    ],
    edits: &[
        Edit::Write(Local, "/here.md"),
        Edit::Write(Remote, "/there.md"),
        Edit::Write(Local, "/both.md"),
        Edit::Write(Remote, "/both.md"),
        Edit::Remove(Local, "/gone-here.md"),
        Edit::Remove(Remote, "/gone-there.md"),
        Edit::Remove(Local, "/gone.md"),
        Edit::Remove(Remote, "/gone.md"),
    ],
    expected: &[
        "/both.conflict-1.md: 9 local /both.md",
        "/both.md: 10 remote /both.md",
        "/here.md: 7 local /here.md",
        "/same.md: 0 local /same.md",
        "/there.md: 8 remote /there.md",
    ],
    conflicts: &["/both.md BothChanged /both.conflict-1.md"],
    races: &[
        "/same.md",
        "/here.md",
        "/there.md",
        "/both.md",
        "/both.conflict-1.md",
        "/gone-here.md",
        "/gone-there.md",
    ],
};

pub(crate) const NEW: Scenario = Scenario {
    before: &[Edit::Write(Local, "/edited-gone.md"), Edit::Write(Local, "/gone-edited.md")],
    edits: &[
        Edit::Write(Local, "/edited-gone.md"),
        Edit::Remove(Remote, "/edited-gone.md"),
        Edit::Remove(Local, "/gone-edited.md"),
        Edit::Write(Remote, "/gone-edited.md"),
        Edit::WriteBoth("/equal.md"),
        Edit::Write(Local, "/here/deep/a.md"),
        Edit::Write(Remote, "/there/a.md"),
        Edit::Write(Local, "/new.md"),
        Edit::Write(Remote, "/new.md"),
        Edit::Write(Remote, "/new.conflict-1.md"),
    ],
    expected: &[
        "/edited-gone.md: 2 local /edited-gone.md",
        "/equal.md: 4 both /equal.md",
        "/gone-edited.md: 3 remote /gone-edited.md",
        "/here/",
        "/here/deep/",
        "/here/deep/a.md: 5 local /here/deep/a.md",
        "/new.conflict-1.md: 9 remote /new.conflict-1.md",
        "/new.conflict-2.md: 7 local /new.md",
        "/new.md: 8 remote /new.md",
        "/there/",
        "/there/a.md: 6 remote /there/a.md",
    ],
    conflicts: &[
        "/edited-gone.md ChangedAndRemoved { changed: Local }",
        "/gone-edited.md ChangedAndRemoved { changed: Remote }",
        "/new.md BothChanged /new.conflict-2.md",
        "/new.md Found /new.conflict-1.md",
    ],
    races: &[
        "/edited-gone.md",
        "/gone-edited.md",
        "/here",
        "/here/deep/a.md",
        "/new.md",
        "/new.conflict-2.md",
    ],
};

pub(crate) const DIRECTORIES: Scenario = Scenario {
    before: &[
        Edit::Write(Local, "/old/a.md"),
        Edit::Write(Local, "/old/deep/b.md"),
        Edit::Write(Local, "/held/a.md"),
        Edit::Write(Local, "/moved/a.md"),
        Edit::Mkdir(Local, "/empty"),
    ],
    edits: &[
        Edit::Remove(Remote, "/old"),
        Edit::Remove(Local, "/held"),
        Edit::Write(Remote, "/held/b.md"),
        Edit::Rename(Local, "/moved", "/moved-to"),
        Edit::Remove(Local, "/empty"),
        Edit::Mkdir(Remote, "/new/deep"),
    ],
    expected: &[
        "/held/",
        "/held/b.md: 4 remote /held/b.md",
        "/moved-to/",
        "/moved-to/a.md: 3 local /moved/a.md",
        "/new/",
        "/new/deep/",
    ],
    conflicts: &[],
    races: &[
        "/old",
        "/old/a.md",
        "/old/deep",
        "/old/new.md",
        "/empty",
        "/empty/new.md",
        "/held",
        "/new/deep",
    ],
};

pub(crate) const KINDS: Scenario = Scenario {
    before: &[
        Edit::Write(Local, "/becomes-dir"),
        Edit::Write(Local, "/becomes-file/a.md"),
        Edit::Write(Local, "/changed-dir"),
        Edit::Write(Local, "/changed-file/a.md"),
    ],
    edits: &[
        Edit::Mkdir(Remote, "/becomes-dir"),
        Edit::Write(Remote, "/becomes-dir/a.md"),
        Edit::Write(Remote, "/becomes-file"),
        Edit::Write(Local, "/changed-dir"),
        Edit::Mkdir(Remote, "/changed-dir"),
        Edit::Write(Local, "/changed-file/a.md"),
        Edit::Write(Remote, "/changed-file"),
        Edit::Write(Local, "/kinds"),
        Edit::Write(Remote, "/kinds/a.md"),
    ],
    expected: &[
        "/becomes-dir/",
        "/becomes-dir/a.md: 4 remote /becomes-dir/a.md",
        "/becomes-file: 5 remote /becomes-file",
        "/changed-dir/",
        "/changed-dir.conflict-1: 6 local /changed-dir",
        "/changed-file/",
        "/changed-file.conflict-1: 8 remote /changed-file",
        "/changed-file/a.md: 7 local /changed-file/a.md",
        "/kinds/",
        "/kinds.conflict-1: 9 local /kinds",
        "/kinds/a.md: 10 remote /kinds/a.md",
    ],
    conflicts: &[
        "/changed-dir FileAndDirectory { file: Local } /changed-dir.conflict-1",
        "/changed-file FileAndDirectory { file: Remote } /changed-file.conflict-1",
        "/changed-file/a.md ChangedAndRemoved { changed: Local }",
        "/kinds FileAndDirectory { file: Local } /kinds.conflict-1",
    ],
    races: &[
        "/becomes-dir",
        "/becomes-dir/a.md",
        "/becomes-file",
        "/becomes-file/new.md",
        "/changed-dir",
        "/kinds",
    ],
};

/// The first sync of two trees, with files that are written in pieces.
pub(crate) const FIRST: Scenario = Scenario {
    before: &[],
    edits: &[
        Edit::WriteLarge(Local, "/here.bin"),
        Edit::WriteLarge(Remote, "/there.bin"),
        Edit::WriteLarge(Local, "/both.bin"),
        Edit::WriteLarge(Remote, "/both.bin"),
    ],
    expected: &[
        "/both.bin: 3 remote /both.bin",
        "/both.conflict-1.bin: 2 local /both.bin",
        "/here.bin: 0 local /here.bin",
        "/there.bin: 1 remote /there.bin",
    ],
    conflicts: &["/both.bin BothChanged /both.conflict-1.bin"],
    races: &["/both.bin"],
};

pub(crate) const ALL: [&Scenario; 5] = [&FILES, &NEW, &DIRECTORIES, &KINDS, &FIRST];

impl Scenario {
    /// A world in which the trees were alike, and people have edited both since.
    fn world(&self, make: &Make) -> Result<World, String> {
        let world = World::new();
        world.edit_all(self.before);
        if !self.before.is_empty() {
            world.sync(make)?;
            world.check()?;
        }
        world.edit_all(self.edits);
        Ok(world)
    }

    /// Nobody disturbs the sync. The next one does nothing.
    pub(crate) fn settles(&self, make: &Make) -> Result<(), String> {
        let world = self.world(make)?;
        let report = world.sync(make)?;
        world.check()?;
        self.matches(&world.tree(Local))?;
        let mut told: Vec<String> = (report.conflicts.iter())
            .map(|conflict| match &conflict.kept_as {
                Some(kept_as) => format!("{} {:?} {kept_as}", conflict.path, conflict.kind),
                None => format!("{} {:?}", conflict.path, conflict.kind),
            })
            .collect();
        told.sort();
        if told != self.conflicts {
            return Err(format!("told of {told:#?}"));
        }
        let tree = world.tree(Local);
        let again = world.sync(make)?;
        if world.tree(Local) != tree || world.tree(Remote) != tree {
            return Err("a sync without changes changes something".to_owned());
        }
        if again.pulled.files + again.pushed.files + again.removed_local + again.removed_remote > 0 {
            return Err(format!("a sync without changes works: {again:?}"));
        }
        Ok(())
    }

    /// The sync is cut at each of its operations, in each way, and done again. What comes of it is what comes of one
    /// that nobody disturbs. Gives the number of cuts.
    pub(crate) fn survives_cuts(&self, make: &Make) -> Result<usize, String> {
        self.settles(make)?;
        let mut cuts = 0;
        for cut in
            [|| What::DiesBefore, || What::DiesAfter, || What::Fails, || What::Unanswered, || What::Gone]
        {
            for number in 0.. {
                let world = self.world(make)?;
                let (script, first) = world.sync_as(make, number, cut());
                if script.count() <= number {
                    break;
                }
                cuts += 1;
                let told = |error: String| format!("cut at {number}: {error}\n{}", script.log());
                let second = world.sync(make).map_err(told)?;
                world.check().map_err(told)?;
                self.matches(&world.tree(Local)).map_err(told)?;
                // What was cut right behind its last operation has died with its report.
                let ended = script.count() == number + 1 && second.pushed.files == 0;
                let all: Vec<&Conflict> =
                    first.iter().chain([&second]).flat_map(|report| report.conflicts.iter()).collect();
                for conflict in self.conflicts.iter().filter(|told| !ended && !told.contains(" Found ")) {
                    let name = conflict.rsplit(' ').next().unwrap();
                    let kept_as =
                        |told: &Conflict| told.kept_as.as_ref().is_some_and(|kept| kept.as_str() == name);
                    if name.contains(".conflict-") && !all.iter().any(|told| kept_as(told)) {
                        return Err(told(format!("{name} is not told: {all:?}")));
                    }
                }
            }
        }
        Ok(cuts)
    }

    /// Somebody edits something right before each operation of the sync. The next sync makes the trees alike, and
    /// nothing is lost. Gives the number of edits that were tried.
    pub(crate) fn survives_races(&self, make: &Make) -> Result<usize, String> {
        let mut races = 0;
        for at in self.races {
            for side in [Local, Remote] {
                for edit in [Edit::Write(side, at), Edit::Remove(side, at), Edit::Mkdir(side, at)] {
                    races += self.survives(&edit, make)?;
                }
            }
        }
        Ok(races)
    }

    fn survives(&self, edit: &Edit, make: &Make) -> Result<usize, String> {
        for number in 0.. {
            let world = self.world(make)?;
            let act = {
                let (world, edit) = (world.clone(), edit.clone());
                Box::new(move || world.edit(&edit))
            };
            let (script, _) = world.sync_as(make, number, What::Somebody(act));
            if script.count() <= number {
                return Ok(number);
            }
            let told = |error: String| format!("{edit:?} before {number}: {error}\n{}", script.log());
            world.sync(make).map_err(told)?;
            world.check().map_err(told)?;
        }
        Ok(0)
    }

    /// Another mirror of the same trees runs right before each operation of the sync. Gives the number of tries.
    pub(crate) fn survives_another(&self, make: &Make) -> Result<usize, String> {
        for number in 0.. {
            let world = self.world(make)?;
            let act = {
                let other = world.disk(&plain, &Script::nothing(), World::options());
                Box::new(move || {
                    // In memory nothing waits, and a sync that yields is cut.
                    other.sync().now_or_never();
                })
            };
            let (script, _) = world.sync_as(make, number, What::Somebody(act));
            if script.count() <= number {
                return Ok(number);
            }
            let told = |error: String| format!("another sync before {number}: {error}\n{}", script.log());
            world.sync(make).map_err(told)?;
            world.check().map_err(told)?;
        }
        Ok(0)
    }

    fn matches(&self, tree: &Tree) -> Result<(), String> {
        let lines: Vec<String> = (tree.iter())
            .map(|(path, content)| match content {
                Some(content) => format!("{path}: {}", content.split(" xx").next().unwrap()),
                None => format!("{path}/"),
            })
            .collect();
        if lines == self.expected { Ok(()) } else { Err(format!("another tree: {lines:#?}")) }
    }
}

/// All scenarios, one after the other.
pub(crate) fn all(of: impl Fn(&Scenario) -> Result<usize, String>) -> Result<usize, String> {
    ALL.iter().map(|scenario| of(scenario)).sum()
}
