//! Where a measurement was taken.

use std::{fs, path::Path};

use serde::Serialize;

/// The facts that a reader needs to judge a table. What can't be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Environment {
    /// The kernel's release.
    pub kernel: String,
    /// The model of the processor.
    pub processor: String,
    /// How many of its cores this process may use.
    pub cores: usize,
    /// The type of the file system that temporary files are on.
    pub file_system: String,
    /// How many tasks were running or waiting before the row, over one, five and fifteen minutes.
    pub load: String,
    /// Whether the program was compiled with optimisations.
    pub optimised: bool,
}

impl Environment {
    /// This machine, now.
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: processor(&read("/proc/cpuinfo")),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            file_system: file_system(&read("/proc/self/mounts"), &std::env::temp_dir()),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            optimised: !cfg!(debug_assertions),
        }
    }
}

fn processor(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}

/// The type of the mount that holds `path`: of those above it, the one with the longest path; of equals, the last.
fn file_system(mounts: &str, path: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounts.filter(|(point, _)| path.starts_with(point));
    holding.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_mount_holds_a_path() {
        let mounts = "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n\
                      overlay /tmp overlay rw 0 0\nx /tmpx xfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/a")), "overlay");
        assert_eq!(file_system(mounts, Path::new("/var/tmp")), "ext4");
        assert_eq!(file_system("", Path::new("/")), "");
    }

    #[test]
    fn a_processor_has_a_name() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Big Chip @ 3 GHz\n"), "Big Chip @ 3 GHz");
        assert_eq!(processor("nothing"), "");
    }
}
