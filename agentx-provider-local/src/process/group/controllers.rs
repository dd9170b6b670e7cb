//! Where this process may make control groups, as the kernel tells it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::getxattr;

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Processes,
    Cpu,
}

impl Controller {
    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Cpu => "cpu",
        }
    }
}

/// The two kinds of control groups, which a machine may have side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A directory in which a group can be made, and what that limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) parent: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

/// The places for these controllers.
///
/// # Errors
/// What this machine lacks, for a person.
pub(super) fn find(controllers: &[Controller]) -> Result<Vec<Place>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    find_in(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?, controllers)
}

fn find_in(groups: &str, mounts: &str, controllers: &[Controller]) -> Result<Vec<Place>, String> {
    let mut places: Vec<Place> = Vec::new();
    let mut second = Vec::new();
    for controller in controllers {
        let Some(parent) = first_version(groups, mounts, controller.name()) else {
            second.push(*controller);
            continue;
        };
        match places.iter_mut().find(|place| place.parent == parent) {
            Some(place) => place.controllers.push(*controller),
            None => places.push(Place { version: Version::One, parent, controllers: vec![*controller] }),
        }
    }
    if !second.is_empty() {
        let own = own_directory(groups, mounts, |kind, _| kind == "cgroup2", |id, _| id == "0");
        let own = own.ok_or_else(|| lack(&second, "no control groups are mounted"))?;
        let parent = second_version(&own, &second)?;
        places.push(Place { version: Version::Two, parent, controllers: second });
    }
    Ok(places)
}

/// The group of this process in the hierarchy that has a controller of the first version.
fn first_version(groups: &str, mounts: &str, name: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split(',').any(|word| word == name);
    own_directory(groups, mounts, |kind, options| kind == "cgroup" && has(options), |_, list| has(list))
}

/// The group of this process, or the one above it, where groups below may have these controllers.
fn second_version(own: &Path, controllers: &[Controller]) -> Result<PathBuf, String> {
    let enabled = |directory: &Path| words(directory, "cgroup.subtree_control");
    let missing = |enabled: &[String]| -> Vec<Controller> {
        controllers.iter().copied().filter(|it| !enabled.iter().any(|word| word == it.name())).collect()
    };
    let open = missing(&enabled(own).unwrap_or_default());
    if open.is_empty() {
        return Ok(own.to_owned());
    }
    if let Some(above) = own.parent().filter(|above| is_delegated(above)) {
        let open = missing(&enabled(above).unwrap_or_default());
        return match enable(above, &open) {
            Ok(()) => Ok(above.to_owned()),
            Err(error) => Err(lack(&open, &format!("{}: {error}", above.display()))),
        };
    }
    let lacking = missing(&words(own, "cgroup.controllers").unwrap_or_default());
    if !lacking.is_empty() {
        return Err(lack(&lacking, &format!("{} has no such controller", own.display())));
    }
    let Err(error) = enable(own, &open) else { return Ok(own.to_owned()) };
    // A group that holds processes itself can't give its controllers on. Those beside it have them already.
    match own.parent() {
        Some(above) if missing(&enabled(above).unwrap_or_default()).is_empty() => Ok(above.to_owned()),
        _ => Err(lack(&open, &format!("{}: {error}", own.display()))),
    }
}

/// Gives these controllers on to the groups below.
fn enable(directory: &Path, controllers: &[Controller]) -> io::Result<()> {
    let orders: Vec<_> = controllers.iter().map(|controller| format!("+{}", controller.name())).collect();
    if orders.is_empty() {
        Ok(())
    } else {
        fs::write(directory.join("cgroup.subtree_control"), orders.join(" "))
    }
}

/// Whether systemd leaves a group to the service that runs below it (`Delegate=`): it changes nothing there, and whoever has
/// it may.
fn is_delegated(directory: &Path) -> bool {
    let mut value = [0; 8];
    let read = getxattr(directory, "user.delegate", &mut value);
    read.is_ok_and(|length| value.get(..length) == Some(b"1"))
}

fn lack(controllers: &[Controller], why: &str) -> String {
    let names: Vec<_> = controllers.iter().map(|controller| controller.name()).collect();
    format!("the controller {} can't be used: {why}", names.join(" and "))
}

fn words(directory: &Path, file: &str) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(directory.join(file))?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

/// The directory of this process's own group, in the hierarchy whose mount (type and options) and whose line (number
/// and controllers) are the ones meant.
fn own_directory(
    groups: &str,
    mounts: &str,
    is_mount: impl Fn(&str, &str) -> bool,
    is_line: impl Fn(&str, &str) -> bool,
) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, list, path) = (fields.next()?, fields.next()?, fields.next()?);
        is_line(id, list).then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        // The fields before the dash vary in number.
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (root, point) = (unescaped(front.next()?), unescaped(front.next()?));
        let mut back = back.split(' ');
        let (kind, options) = (back.next()?, back.nth(1)?);
        let below = Path::new(path).strip_prefix(&root).ok()?;
        // Without the slash at the end that an empty rest would add.
        is_mount(kind, options).then(|| Path::new(&point).join(below).components().collect())
    })
}

/// The kernel writes blanks, line ends and backslashes of a path in octal digits.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    const ALL: [Controller; 3] = [Controller::Memory, Controller::Processes, Controller::Cpu];

    #[test]
    fn a_machine_of_the_first_version_has_a_place_for_each_hierarchy() {
        let groups = "8:pids:/\n4:memory:/a b/c\n1:cpu,cpuacct:/user\n0::/\n";
        let mounts = "\
            32 31 0:29 /user /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory\\040x rw,relatime - cgroup cgroup rw,memory\n\
            39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let places = find_in(groups, mounts, &ALL).unwrap();
        let found: Vec<_> =
            places.iter().map(|place| (place.version, place.parent.to_str().unwrap())).collect();
        let expected = ["/sys/fs/cgroup/memory x/a b/c", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/cpu"]
            .map(|at| (Version::One, at));
        assert_eq!(found, expected);
    }

    #[test]
    fn controllers_that_are_mounted_together_share_a_group() {
        let mounts = "1 2 0:1 / /cg rw - cgroup cgroup rw,memory,pids\n";
        let places = find_in("3:memory,pids:/x\n", mounts, &ALL[..2]).unwrap();
        assert_eq!(places.len(), 1);
        assert_eq!((places[0].parent.to_str(), places[0].controllers.len()), (Some("/cg/x"), 2));
    }

    /// Directories in place of the second version's, whose files the kernel would answer from.
    fn second(
        own: &[(&str, &str)],
        above: &[(&str, &str)],
    ) -> (tempfile::TempDir, Result<Vec<Place>, String>) {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("a/b");
        fs::create_dir_all(&place).unwrap();
        for (directory, files) in [(&place, own), (&root.path().join("a"), above)] {
            for (name, text) in files {
                fs::write(directory.join(name), text).unwrap();
            }
        }
        let mounts = format!("1 2 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let found = find_in("0::/a/b\n", &mounts, &ALL);
        (root, found)
    }

    #[test]
    fn a_group_that_gives_its_controllers_on_is_the_place() {
        let (root, found) = second(&[("cgroup.subtree_control", "cpu memory pids")], &[]);
        let place = &found.unwrap()[0];
        assert_eq!((place.version, &place.parent), (Version::Two, &root.path().join("a/b")));
    }

    #[test]
    fn a_group_that_can_gives_them_on() {
        let files = [("cgroup.subtree_control", "memory"), ("cgroup.controllers", "cpu io memory pids")];
        let (root, found) = second(&files, &[]);
        let parent = found.unwrap().remove(0).parent;
        assert_eq!(parent, root.path().join("a/b"));
        assert_eq!(fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap(), "+pids +cpu");
    }

    /// A service of systemd's runs in a group of its own below the one that it was given.
    #[test]
    fn a_group_that_was_delegated_is_the_place_of_whoever_is_below() {
        let root = tempfile::tempdir().unwrap();
        let (service, own) = (root.path().join("a"), root.path().join("a/server"));
        fs::create_dir_all(&own).unwrap();
        for (place, controllers) in [(&service, "cpu io memory pids"), (&own, "")] {
            fs::write(place.join("cgroup.controllers"), controllers).unwrap();
            fs::write(place.join("cgroup.subtree_control"), "").unwrap();
        }
        let mounts = format!("1 2 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let find = || find_in("0::/a/server\n", &mounts, &ALL);
        // It is somebody else's until it is said.
        assert!(find().is_err());
        if let Err(errno) = setxattr(&service, "user.delegate", b"1", XattrFlags::empty()) {
            return println!("LEFT OUT: {} ({errno})", service.display());
        }
        assert_eq!(find().unwrap()[0].parent, service);
        let ordered = fs::read_to_string(service.join("cgroup.subtree_control")).unwrap();
        assert_eq!(ordered, "+memory +pids +cpu");
        // What was given on before is not asked for again.
        fs::write(service.join("cgroup.subtree_control"), "cpu memory").unwrap();
        find().unwrap();
        let ordered = fs::read_to_string(service.join("cgroup.subtree_control")).unwrap();
        assert_eq!(ordered, "+pids");
    }

    #[test]
    fn what_is_lacking_is_named() {
        let (_root, found) = second(&[("cgroup.controllers", "memory"), ("cgroup.subtree_control", "")], &[]);
        let why = found.unwrap_err();
        assert!(why.contains("pids and cpu") && why.contains("no such controller"), "{why}");
        let why = find_in("0::/\n", "", &ALL).unwrap_err();
        assert!(why.contains("memory and pids and cpu") && why.contains("mounted"), "{why}");
    }
}
