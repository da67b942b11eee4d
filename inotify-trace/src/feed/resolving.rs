//! Resolves the paths that only the process that gave them understands, while it is where it was.

use std::{
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{Event, EventKind, Task},
    text::text_of,
};

use crate::host::{
    helper::{Helper, Request},
    procfs::{self, Asked},
};

/// How long a batch may take: paths that are left stay as they were given.
const LONGEST: Duration = Duration::from_millis(5);

/// Resolves the paths of new watches in `events` from `first` on. The helper asks the file systems of
/// devices for those that the kernel does not have in memory. A watch that failed has no file: its
/// path begins at the root instead of where its process is.
pub(super) fn resolve(first: usize, events: &mut [Event], helper: &mut Helper) {
    let mut deadline = None;
    for event in events.get_mut(first..).unwrap_or_default() {
        let Some(task) = event.task else { continue };
        let given = match &event.kind {
            EventKind::WatchAdded { target, .. } => target.path.as_deref(),
            EventKind::WatchFailed { path, .. } => path.as_deref().filter(|it| is_relative(it)),
            _ => None,
        };
        if !given.is_some_and(procfs::is_private) {
            continue;
        }
        let now = Instant::now();
        if now >= *deadline.get_or_insert(now + LONGEST) {
            return;
        }
        let target = match &mut event.kind {
            EventKind::WatchAdded { target, .. } => target,
            EventKind::WatchFailed { path, .. } => {
                if let Some(relative) = path {
                    *path = Some(from_root(relative, task));
                }
                continue;
            }
            _ => continue,
        };
        let Some(path) = target.path.as_deref() else { continue };
        let asked = Asked { pid: task.pid, tid: task.tid, dev: target.dev, inode: target.inode };
        target.resolved = match procfs::resolve_cached(path, asked) {
            Ok(found) => found.map(|path| text_of(path.as_os_str().as_bytes()).into()),
            Err(_) => {
                let request = Request::Resolve { path: path.to_owned(), asked };
                let found = helper.ask::<Option<Box<str>>>(&request, Duration::ZERO);
                found.ok().flatten()
            }
        };
    }
}

fn is_relative(path: &str) -> bool {
    !path.starts_with('/')
}

/// A relative path from the root, if the process can still be asked where it is.
fn from_root(path: &str, task: Task) -> Box<str> {
    let Some(directory) = procfs::working_directory(task.pid, task.tid) else { return path.into() };
    let directory = text_of(directory.as_os_str().as_bytes());
    format!("{}/{path}", directory.trim_end_matches('/')).into()
}
