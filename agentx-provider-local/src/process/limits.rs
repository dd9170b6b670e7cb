use std::time::Duration;

use agentx_resource::ResourceLimits;
use rustix::process::{Resource, getrlimit};

/// The system's numbers of the resources, which are the same on all machines that a helper is built for.
const CPU: u32 = 0;
const FSIZE: u32 = 1;
const NPROC: u32 = 6;
const NOFILE: u32 = 7;
const AS: u32 = 9;

/// The limits as the system takes them: number, soft, hard. None is above what the host itself may have, and what is
/// not limited is as the host's own of open files is now: the helper has another one.
pub(super) fn of_request(limits: &ResourceLimits) -> Vec<(u32, u64, u64)> {
    let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let wanted = [
        (AS, Resource::As, limits.memory),
        (CPU, Resource::Cpu, limits.cpu_time.map(seconds)),
        (FSIZE, Resource::Fsize, limits.file_size),
        (NOFILE, Resource::Nofile, limits.open_files),
        (NPROC, Resource::Nproc, limits.processes),
    ];
    let limit = |(number, resource, value): (u32, Resource, Option<u64>)| {
        let value = value?.min(getrlimit(resource).maximum.unwrap_or(u64::MAX));
        Some((number, value, value))
    };
    let mut limits: Vec<_> = wanted.into_iter().filter_map(limit).collect();
    if limits.iter().all(|(number, ..)| *number != NOFILE) {
        let own = getrlimit(Resource::Nofile);
        limits.push((NOFILE, own.current.unwrap_or(u64::MAX), own.maximum.unwrap_or(u64::MAX)));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_one() {
        let limits = ResourceLimits::default().with_cpu_time(Duration::from_millis(1001)).with_file_size(7);
        let own = getrlimit(Resource::Nofile);
        let files = (NOFILE, own.current.unwrap_or(u64::MAX), own.maximum.unwrap_or(u64::MAX));
        assert_eq!(of_request(&limits), [(CPU, 2, 2), (FSIZE, 7, 7), files]);
        assert_eq!(of_request(&ResourceLimits::default()), [files]);
    }

    #[test]
    fn nothing_is_raised_above_the_hosts_own() {
        let own = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let limits = ResourceLimits::default().with_open_files(u64::MAX);
        assert_eq!(of_request(&limits), [(NOFILE, own, own)]);
    }
}
