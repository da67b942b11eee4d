//! What this process takes.

use std::fs;

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What this process takes; None where it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnUse {
    /// Seconds of all processors.
    pub cpu: f64,
    /// Bytes of memory.
    pub resident: Option<u64>,
    /// Bytes of address space.
    pub virtual_memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// The most descriptors that it may have; None if there is no limit.
    pub most_descriptors: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl OwnUse {
    /// At this moment.
    #[must_use]
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        // The sizes of address space and memory, in pages: proc(5).
        let mut pages = statm
            .split_whitespace()
            .map(|number| Some(number.parse::<u64>().ok()? * rustix::param::page_size() as u64));
        let (virtual_memory, resident) = (pages.next().flatten(), pages.next().flatten());
        let count = |directory| Some(fs::read_dir(directory).ok()?.flatten().count() as u64);
        Self {
            cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident,
            virtual_memory,
            // Without the one that reads the directory.
            descriptors: count("/proc/self/fd").map(|it| it.saturating_sub(1)),
            most_descriptors: getrlimit(Resource::Nofile).current,
            threads: count("/proc/self/task"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something() {
        let own = OwnUse::now();
        assert!(own.cpu > 0.0);
        assert!(own.resident.unwrap() < own.virtual_memory.unwrap());
        assert!(own.descriptors.unwrap() >= 3 && own.threads.unwrap() >= 1);
    }
}
