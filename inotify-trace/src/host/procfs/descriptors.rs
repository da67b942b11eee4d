//! How many descriptors processes have, whose limit fails with the same words as those of inotify.

use std::{fs, path::Path};

use inotify_trace_model::event::{Comm, Files};

use super::{Process, field, numbered_entries, read};

/// The processes that have at least `percent` of the descriptors that they may have
/// (`RLIMIT_NOFILE`, the soft limit), those with the least room first. Processes that may not be
/// read are left out.
#[must_use]
pub fn short_of_descriptors(percent: u32) -> Vec<(u32, Comm, Files)> {
    let is_tight = |it: &Files| it.limit >= LEAST && it.reaches(percent);
    let tight = |pid: u32| Some((pid, descriptors(pid).filter(is_tight)?));
    let mut all: Vec<_> = numbered_entries(Path::new("/proc")).filter_map(tight).collect();
    all.sort_by_key(|(pid, it)| (it.limit.saturating_sub(it.used.unwrap_or_default()), *pid));
    all.into_iter().map(|(pid, it)| (pid, Process::read(pid).comm, it)).collect()
}

/// A limit below this leaves no room on purpose, as sandboxes do (`sshd` before a log-in: 0).
const LEAST: u64 = 16;

/// The descriptors of a process; None if it is gone, may not be read, or has no limit.
fn descriptors(pid: u32) -> Option<Files> {
    let limits = read(&format!("/proc/{pid}/limits")).ok()?;
    let limit = soft_limit(&limits)?;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let numbers = open.flatten().filter_map(|it| it.file_name().to_str()?.parse::<u64>().ok());
    // The limit is one of numbers: those above it were there before it was lowered, or were
    // inherited, and take no room.
    Some(Files { used: Some(numbers.filter(|&it| it < limit).count() as u64), limit })
}

/// The soft limit of open files in a `limits` file (fs/proc/base.c).
fn soft_limit(limits: &[u8]) -> Option<u64> {
    let values = std::str::from_utf8(field(limits, "Max open files")?).ok()?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn descriptors_above_the_limit_take_no_room() {
        let line = "exec 9</dev/null; ulimit -S -n 6; exec sleep 60";
        let mut child = Command::new("sh").args(["-c", line]).spawn().unwrap();
        let found = loop {
            match descriptors(child.id()) {
                Some(files) if files.limit == 6 => break files,
                _ => std::thread::yield_now(),
            }
        };
        let names = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap().flatten();
        let names: Vec<_> = names.map(|it| it.file_name().into_string().unwrap()).collect();
        let is_short = short_of_descriptors(1).iter().any(|(pid, ..)| *pid == child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(names.iter().any(|it| it == "9"), "{names:?}");
        let below = names.iter().filter(|it| ["0", "1", "2", "3", "4", "5"].contains(&it.as_str()));
        assert_eq!(found.used, Some(below.count() as u64), "{names:?}");
        assert!(!is_short, "whoever may have so few wants no more");
    }

    #[test]
    fn the_soft_limit_is_the_first_number() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units\n\
            Max processes             95932                95932                processes\n\
            Max open files            1024                 1048576              files\n";
        assert_eq!(soft_limit(text), Some(1024));
        assert_eq!(soft_limit(b"Max open files unlimited unlimited files\n"), None);
        assert_eq!(soft_limit(b""), None);
    }

    #[test]
    fn this_process_and_machine_have_some_left() {
        let own = descriptors(std::process::id()).unwrap();
        assert!(own.used > Some(2) && !own.reaches(100), "{own:?}");
        assert!(crate::host::OpenFiles::open().count().unwrap().used > Some(2));
        assert!(Files { used: Some(9), limit: 10 }.reaches(90));
        assert!(!Files { used: Some(8), limit: u64::MAX }.reaches(1));
    }
}
