//! The limits behind failures: several limits give the same errno.

use std::borrow::Cow;

use serde::Serialize;

use inotify_trace_model::event::{EventKind, Quota};

/// The limit that made a call fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// `fs.inotify.max_user_instances`.
    InotifyInstances,
    /// `fs.inotify.max_user_watches`.
    InotifyWatches,
    /// Open files of the process.
    RlimitNofile,
    /// Open files of the machine.
    FileMax,
    /// `InotifyInstances` or `RlimitNofile`: the user's count is not known.
    InstancesOrNofile,
}

/// The limit that made this event a failure; None if it is no failure, or no limit was hit.
pub(crate) fn limit(kind: &EventKind) -> Option<Limit> {
    match *kind {
        EventKind::CreateFailed { errno, quota, .. } => {
            match errno {
                // Both limits give EMFILE (fs/notify/inotify/inotify_user.c); the count shows which
                // was hit.
                libc::EMFILE => Some(match quota.as_ref().map(Quota::is_full) {
                    Some(true) => Limit::InotifyInstances,
                    Some(false) => Limit::RlimitNofile,
                    None => Limit::InstancesOrNofile,
                }),
                libc::ENFILE => Some(Limit::FileMax),
                _ => None,
            }
        }
        EventKind::WatchFailed { errno, .. } => {
            (errno == libc::ENOSPC).then_some(Limit::InotifyWatches)
        }
        _ => None,
    }
}

/// The name of an errno, as in `ENOENT`. A recording may have any number here, and rustix accepts
/// only valid ones.
pub(crate) fn errno_name(errno: i32) -> Cow<'static, str> {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EEXIST => "EEXIST",
        libc::ENOTDIR => "ENOTDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ELOOP => "ELOOP",
        _ => return Cow::Owned(format!("errno {errno}")),
    };
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    fn create_failed(errno: Errno, quota: Option<(u32, u32)>) -> EventKind {
        let quota = quota.map(|(used, limit)| Quota { used, limit, uid: 0, userns: 1, level: 0 });
        EventKind::CreateFailed { flags: 0, errno: errno.raw_os_error(), quota }
    }

    #[test]
    fn emfile_is_told_apart_by_the_kernels_count() {
        let emfile = |quota| limit(&create_failed(Errno::MFILE, quota));
        assert_eq!(emfile(Some((128, 128))), Some(Limit::InotifyInstances));
        // The limit was lowered below the number in use.
        assert_eq!(emfile(Some((200, 128))), Some(Limit::InotifyInstances));
        assert_eq!(emfile(Some((127, 128))), Some(Limit::RlimitNofile));
        assert_eq!(emfile(None), Some(Limit::InstancesOrNofile));
        assert_eq!(limit(&create_failed(Errno::NFILE, Some((1, 128)))), Some(Limit::FileMax));
        assert_eq!(limit(&create_failed(Errno::NOMEM, Some((128, 128)))), None);
    }

    #[test]
    fn numbers_that_are_no_errnos_are_shown_as_they_are() {
        for errno in [0, -1, 4096, i32::MIN, i32::MAX] {
            assert_eq!(errno_name(errno), format!("errno {errno}"));
            let quota = None;
            assert_eq!(limit(&EventKind::CreateFailed { flags: 0, errno, quota }), None);
            let path = None;
            let failed =
                EventKind::WatchFailed { instance: None, fd: 0, path, mask: 0, errno, quota };
            assert_eq!(limit(&failed), None);
        }
        for (errno, name) in [(Errno::NOENT, "ENOENT"), (Errno::LOOP, "ELOOP")] {
            assert_eq!(errno_name(errno.raw_os_error()), name);
        }
    }
}
