//! The limits of open files, which fail with the same words as those of inotify.

use std::{fs, path::Path};

use inotify_trace_model::event::Comm;

use super::{Process, field, numbered_entries};

/// Open files against the most that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// How many are open.
    pub used: u64,
    /// How many may be.
    pub limit: u64,
}

impl OpenFiles {
    /// Whether at least this share is used.
    #[must_use]
    pub fn reaches(self, percent: u64) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
    }
}

/// The processes that have at least `percent` of the descriptors that they may have
/// (`RLIMIT_NOFILE`, the soft limit), those with the least room first. Processes that may not be
/// read are left out.
#[must_use]
pub fn short_of_descriptors(percent: u64) -> Vec<(u32, Comm, OpenFiles)> {
    let tight = |pid: u32| Some((pid, descriptors(pid).filter(|it| it.reaches(percent))?));
    let mut all: Vec<_> = numbered_entries(Path::new("/proc")).filter_map(tight).collect();
    all.sort_by_key(|(pid, it)| (it.limit.saturating_sub(it.used), *pid));
    all.into_iter().map(|(pid, it)| (pid, Process::read(pid).comm, it)).collect()
}

/// The descriptors of a process; None if it is gone, may not be read, or has no limit.
#[must_use]
pub fn descriptors(pid: u32) -> Option<OpenFiles> {
    let limits = fs::read(format!("/proc/{pid}/limits")).ok()?;
    let limit = soft_limit(&limits)?;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(OpenFiles { used: open.count() as u64, limit })
}

/// The soft limit of open files in a `limits` file (fs/proc/base.c).
fn soft_limit(limits: &[u8]) -> Option<u64> {
    let values = std::str::from_utf8(field(limits, "Max open files")?).ok()?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

/// The open files of the machine against `fs.file-max`; None if /proc doesn't say.
#[must_use]
pub fn files_of_the_machine() -> Option<OpenFiles> {
    // Allocated, free (always 0), and the limit (fs/file_table.c).
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut numbers = text.split_ascii_whitespace().map_while(|it| it.parse().ok());
    Some(OpenFiles { used: numbers.next()?, limit: numbers.nth(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(own.used > 2 && !own.reaches(100), "{own:?}");
        assert!(files_of_the_machine().unwrap().used > 2);
        assert!(OpenFiles { used: 9, limit: 10 }.reaches(90));
        assert!(!OpenFiles { used: 8, limit: u64::MAX }.reaches(1));
    }
}
