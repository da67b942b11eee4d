//! Whether the kernel has closed the descriptors that a process gave up, and whether it is the process
//! that had its number before.

use super::{TableId, is_inotify, numbered_entries, read};

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
        .filter_map(|tid| read(&format!("/proc/{pid}/task/{tid}/stat")).ok())
        .filter_map(|stat| state_and_flags(&stat));
    // A task becomes a zombie after it has closed its descriptors. A task that is not exiting belongs
    // to another process, which got the same number.
    tasks.all(|(state, flags)| matches!(state, b'Z' | b'X') || flags & PF_EXITING == 0)
}

/// Whether a process runs, or would if there were a processor for it: it waits for nothing else.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let stat = read(&format!("/proc/{pid}/stat")).ok();
    stat.and_then(|stat| state_and_flags(&stat)).is_some_and(|(state, _)| state == b'R')
}

/// Whether the first thread of a process has ended, and others may live.
pub(super) fn has_ended(pid: u32) -> bool {
    let stat = read(&format!("/proc/{pid}/stat")).ok();
    stat.and_then(|stat| state_and_flags(&stat))
        .is_some_and(|(state, _)| matches!(state, b'Z' | b'X'))
}

/// Whether a process that was about to close a descriptor has done so by now.
#[must_use]
pub fn has_closed(table: TableId, fd: i32) -> bool {
    !is_inotify(table, fd)
}

/// When a process started, in clock ticks since boot: with its number it identifies a process. None if
/// it is gone.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    started(&read(&format!("/proc/{pid}/stat")).ok()?)
}

fn started(stat: &[u8]) -> Option<u64> {
    fields(stat)?.nth(19)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the command's name, which may contain any character.
fn fields(stat: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    Some(std::str::from_utf8(&stat[end_of_name + 1..]).ok()?.split_ascii_whitespace())
}

fn state_and_flags(stat: &[u8]) -> Option<(u8, u64)> {
    let mut fields = fields(stat)?;
    let state = *fields.next()?.as_bytes().first()?;
    // Parent, group, session, terminal and its group come between.
    Some((state, fields.nth(5)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn state_and_flags_come_after_the_name() {
        let stat = b"7 (a) R (b) Z 1 7 7 0 -1 4228364 0 0";
        assert_eq!(state_and_flags(stat), Some((b'Z', 4_228_364)));
        assert_eq!(state_and_flags(b"7 (a"), None);
        assert_eq!(state_and_flags(b"7 (a) Z 1"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let stat = b"7 (a) R (b) S 1 7 7 0 -1 64 0 0 0 0 0 0 0 0 20 0 1 0 4711 9 9";
        assert_eq!(started(stat), Some(4711));
        let own = start_time(std::process::id());
        assert!(own.is_some() && own == start_time(std::process::id()));
        assert_eq!(start_time(u32::MAX), None);
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
