//! The limits behind failures: several limits give the same errno.

use serde::Serialize;

use inotify_trace_model::{
    event::{Event, EventKind, Files, Quota},
    findings::Remedy,
};

/// The limit that made a call fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// `fs.inotify.max_user_instances`, or `user.max_inotify_instances` of a user namespace.
    InotifyInstances,
    /// `fs.inotify.max_user_watches`, or `user.max_inotify_watches` of a user namespace.
    InotifyWatches,
    /// Open files of the process.
    RlimitNofile,
    /// Open files of the machine.
    FileMax,
    /// `InotifyInstances` or `RlimitNofile`: neither count is known.
    InstancesOrNofile,
    /// Neither of the two was reached when the call returned: something else refused it, such as a
    /// seccomp filter, or room was made meanwhile.
    Neither,
    /// One of the two was not reached, and of the other nothing is known.
    NotKnown,
}

/// The limit that made this event a failure; None if it is no failure, or no limit was hit.
pub(crate) fn limit(kind: &EventKind) -> Option<Limit> {
    match *kind {
        EventKind::CreateFailed { errno, quota, files, .. } => match errno {
            // Both limits give EMFILE (fs/notify/inotify/inotify_user.c), and the kernel looks at
            // that of instances first; the counts show which was hit.
            libc::EMFILE => Some(
                match (quota.as_ref().map(Quota::is_full), files.as_ref().map(Files::is_full)) {
                    (Some(true), _) => Limit::InotifyInstances,
                    (_, Some(true)) => Limit::RlimitNofile,
                    (Some(false), Some(false)) => Limit::Neither,
                    (None, None) => Limit::InstancesOrNofile,
                    (Some(false), None) | (None, Some(false)) => Limit::NotKnown,
                },
            ),
            libc::ENFILE => Some(Limit::FileMax),
            _ => None,
        },
        EventKind::WatchFailed { errno, .. } => {
            (errno == libc::ENOSPC).then_some(Limit::InotifyWatches)
        }
        _ => None,
    }
}

/// The open files at a failure for lack of them.
pub(crate) fn files(kind: &EventKind) -> Option<Files> {
    let is_about_files = matches!(limit(kind), Some(Limit::RlimitNofile | Limit::FileMax));
    match *kind {
        EventKind::CreateFailed { files, .. } if is_about_files => files,
        _ => None,
    }
}

/// What to do about a limit that is no user's quota; `pid` is the process that was refused.
pub(crate) fn remedy(limit: Limit, pid: Option<u32>) -> Option<Remedy> {
    match limit {
        Limit::RlimitNofile => Some(Remedy::RaiseDescriptors { pid }),
        Limit::FileMax => Some(Remedy::RaiseFiles),
        _ => None,
    }
}

/// The same for a failure.
pub(crate) fn remedy_of(event: &Event) -> Option<Remedy> {
    remedy(limit(&event.kind)?, event.task.map(|task| task.pid))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn create_failed(errno: Errno, quota: Option<(u32, u32)>, files: Option<Files>) -> EventKind {
        let quota = quota.map(|(used, limit)| Quota::own(used, limit, 0, 1));
        EventKind::CreateFailed { flags: 0, errno: errno.raw_os_error(), quota, files }
    }

    #[test]
    fn emfile_is_told_apart_by_what_is_counted() {
        let full = Some(Files { used: Some(1024), limit: 1024 });
        let free = Some(Files { used: None, limit: 1024 });
        let emfile = |quota, files| limit(&create_failed(Errno::MFILE, quota, files));
        for (quota, files, expected) in [
            (Some((128, 128)), free, Limit::InotifyInstances),
            // The limit was lowered below the number in use.
            (Some((200, 128)), free, Limit::InotifyInstances),
            // The kernel looks at this one first.
            (Some((128, 128)), full, Limit::InotifyInstances),
            (Some((128, 128)), None, Limit::InotifyInstances),
            (Some((127, 128)), full, Limit::RlimitNofile),
            (None, full, Limit::RlimitNofile),
            (Some((127, 128)), free, Limit::Neither),
            (Some((127, 128)), None, Limit::NotKnown),
            (None, free, Limit::NotKnown),
            (None, None, Limit::InstancesOrNofile),
        ] {
            assert_eq!(emfile(quota, files), Some(expected), "{quota:?} {files:?}");
        }
        let of = |errno| limit(&create_failed(errno, Some((128, 128)), None));
        assert_eq!(of(Errno::NFILE), Some(Limit::FileMax));
        assert_eq!(of(Errno::NOMEM), None);
    }

    #[test]
    fn only_failures_for_lack_of_files_show_these() {
        let full = Some(Files { used: Some(1024), limit: 1024 });
        assert_eq!(files(&create_failed(Errno::MFILE, Some((1, 128)), full)), full);
        assert_eq!(files(&create_failed(Errno::MFILE, Some((128, 128)), full)), None);
    }

    #[test]
    fn numbers_that_are_no_errnos_are_no_limit() {
        for errno in [0, -1, 4096, i32::MIN, i32::MAX] {
            let (quota, files) = (None, None);
            assert_eq!(limit(&EventKind::CreateFailed { flags: 0, errno, quota, files }), None);
            let path = None;
            let failed =
                EventKind::WatchFailed { instance: None, fd: 0, path, mask: 0, errno, quota };
            assert_eq!(limit(&failed), None);
        }
    }
}
