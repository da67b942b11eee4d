//! The descriptors of a process that runs, as far as there is time to look at them.

use std::{fs::File, mem::MaybeUninit, os::unix::fs::OpenOptionsExt as _};

use rustix::fs::RawDir;

use super::{TableId, is_inotify};

/// Bytes of entries that are read at once. The kernel looks up each file of them, so that a larger
/// buffer would cost more than what is needed of it.
const BUFFER: usize = 2048;

/// The inotify descriptors of a process with one thread. None if it has ended, when it has none in any
/// case, and if `may_read` says so: it is called with the number of descriptors before each is looked
/// at.
#[must_use]
pub fn inotify_descriptors_of_living(
    pid: u32,
    mut may_read: impl FnMut(usize) -> bool,
) -> Option<Vec<i32>> {
    let table = TableId { pid, owner: None };
    let open = |path| File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    let directory = open(table.directory().join("fd")).ok()?;
    // The number of descriptors, since Linux 6.2; 0 before.
    let size = directory.metadata().map_or(0, |it| it.len());
    if !may_read(usize::try_from(size).unwrap_or(usize::MAX)) {
        return None;
    }
    let (mut found, mut count) = (Vec::new(), 0);
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let Some(fd) = entry.ok()?.file_name().to_str().ok().and_then(|name| name.parse().ok())
        else {
            continue;
        };
        count += 1;
        if !may_read(count) {
            return None;
        }
        if is_inotify(table, fd) {
            found.push(fd);
        }
    }
    // Read last: if the process runs now, it ran while its descriptors were listed. A process that
    // has ended has no executable, even before its parent waits for it.
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_as_long_as_they_may_be() {
        let pid = std::process::id();
        let own = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::empty()).unwrap();
        let files: Vec<_> = (0..300).map(|_| File::open("/").unwrap()).collect();
        let all = inotify_descriptors_of_living(pid, |_| true).unwrap();
        assert!(all.contains(&std::os::fd::AsRawFd::as_raw_fd(&own)), "{all:?}");
        let mut asked = Vec::new();
        let few = inotify_descriptors_of_living(pid, |count| {
            asked.push(count);
            count <= 100
        });
        assert_eq!(few, None);
        // At once where the kernel tells the number.
        assert!(asked.len() == 1 || asked.last() == Some(&101), "{asked:?}");
        drop(files);
        assert_eq!(inotify_descriptors_of_living(u32::MAX, |_| true), None);
    }
}
