//! Whether the kernel has closed the descriptors that a process gave up.

use std::fs;

use super::{TableId, is_inotify, numbered_entries};

/// `PF_EXITING` of `include/linux/sched.h`.
const PF_EXITING: u64 = 4;

/// Whether the threads that were seen to exit have closed the descriptors of a table by now: all threads
/// of the process, or those with this table. The kernel says that they exit before it closes them
/// (`do_exit` in `kernel/exit.c`), which can take seconds.
#[must_use]
pub fn has_exited(table: TableId) -> bool {
    let TableId { pid, owner } = table;
    let mut tasks = numbered_entries::<u32>(&TableId { pid, owner: None }.directory().join("task"))
        .filter(|&tid| owner.is_none_or(|owner| owner == tid))
        .filter_map(|tid| fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok())
        .filter_map(|stat| state_and_flags(&stat));
    // A task becomes a zombie after it has closed its descriptors. A task that is not exiting belongs
    // to another process, which got the same number.
    tasks.all(|(state, flags)| matches!(state, b'Z' | b'X') || flags & PF_EXITING == 0)
}

/// Whether the first thread of a process has ended, and others may live.
pub(super) fn has_ended(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok();
    stat.and_then(|stat| state_and_flags(&stat))
        .is_some_and(|(state, _)| matches!(state, b'Z' | b'X'))
}

/// Whether a process that was about to close a descriptor has done so by now.
#[must_use]
pub fn has_closed(table: TableId, fd: i32) -> bool {
    !is_inotify(table, fd)
}

/// Parses `/proc/PID/stat`; the command's name before these fields may contain any character.
fn state_and_flags(stat: &[u8]) -> Option<(u8, u64)> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // Parent, group, session, terminal and its group come between.
    Some((state, fields.nth(5)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn state_and_flags_come_after_the_name() {
        let stat = b"7 (a) R (b) Z 1 7 7 0 -1 4228364 0 0";
        assert_eq!(state_and_flags(stat), Some((b'Z', 4_228_364)));
        assert_eq!(state_and_flags(b"7 (a"), None);
        assert_eq!(state_and_flags(b"7 (a) Z 1"), None);
    }

    #[test]
    fn a_process_has_exited_when_only_its_status_is_left() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let is_zombie = || state_and_flags(&fs::read(&stat).unwrap()).unwrap().0 == b'Z';
        drop(child.stdin.take());
        while !is_zombie() {
            std::thread::yield_now();
        }
        assert!(has_exited(TableId { pid: child.id(), owner: None }));
        child.wait().unwrap();
        assert!(has_exited(TableId { pid: child.id(), owner: None }));
    }
}
