//! Why inotify said no: which of the limits that answer alike it was.

use std::borrow::Cow;

use rustix::io::Errno;
use serde::Serialize;

use crate::event::{EventKind, Quota};

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
    /// One of the first and the third: the count is not known.
    InstancesOrNofile,
}

impl Limit {
    /// A few words for a line.
    pub fn words(self) -> &'static str {
        match self {
            Self::InotifyInstances => "inotify instance limit",
            Self::InotifyWatches => "inotify watch limit",
            Self::RlimitNofile => "RLIMIT_NOFILE",
            Self::FileMax => "fs.file-max",
            Self::InstancesOrNofile => "instance limit or RLIMIT_NOFILE",
        }
    }
}

/// The limit that made this event a failure; None if it is none, or failed for something else.
pub(crate) fn limit(kind: &EventKind) -> Option<Limit> {
    match *kind {
        EventKind::CreateFailed { errno, quota, .. } => {
            match Errno::from_raw_os_error(errno) {
                // Both limits answer EMFILE (fs/notify/inotify/inotify_user.c); the count tells.
                Errno::MFILE => Some(match quota.as_ref().map(Quota::is_full) {
                    Some(true) => Limit::InotifyInstances,
                    Some(false) => Limit::RlimitNofile,
                    None => Limit::InstancesOrNofile,
                }),
                Errno::NFILE => Some(Limit::FileMax),
                _ => None,
            }
        }
        EventKind::WatchFailed { errno, .. } => {
            (Errno::from_raw_os_error(errno) == Errno::NOSPC).then_some(Limit::InotifyWatches)
        }
        _ => None,
    }
}

/// The name of an errno, as in `ENOENT`.
pub(crate) fn errno_name(errno: i32) -> Cow<'static, str> {
    let name = match Errno::from_raw_os_error(errno) {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::BADF => "EBADF",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::EXIST => "EEXIST",
        Errno::NOTDIR => "ENOTDIR",
        Errno::INVAL => "EINVAL",
        Errno::NFILE => "ENFILE",
        Errno::MFILE => "EMFILE",
        Errno::NOSPC => "ENOSPC",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::LOOP => "ELOOP",
        _ => return Cow::Owned(format!("errno {errno}")),
    };
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create_failed(errno: Errno, quota: Option<(u32, u32)>) -> EventKind {
        let quota = quota.map(|(used, limit)| Quota { used, limit, uid: 0, userns: 1, level: 0 });
        EventKind::CreateFailed { flags: 0, errno: errno.raw_os_error(), quota }
    }

    #[test]
    fn emfile_is_told_apart_by_the_kernels_count() {
        let emfile = |quota| limit(&create_failed(Errno::MFILE, quota));
        assert_eq!(emfile(Some((128, 128))), Some(Limit::InotifyInstances));
        // The limit was lowered below what is used.
        assert_eq!(emfile(Some((200, 128))), Some(Limit::InotifyInstances));
        assert_eq!(emfile(Some((127, 128))), Some(Limit::RlimitNofile));
        assert_eq!(emfile(None), Some(Limit::InstancesOrNofile));
        assert_eq!(limit(&create_failed(Errno::NFILE, Some((1, 128)))), Some(Limit::FileMax));
        assert_eq!(limit(&create_failed(Errno::NOMEM, Some((128, 128)))), None);
    }
}
