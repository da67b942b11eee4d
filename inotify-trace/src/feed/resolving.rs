//! Resolves the paths that only the process that gave them understands, while it is where it was.

use std::{
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::{Event, EventKind},
    text::text_of,
};

use crate::host::{
    helper::{Helper, Request},
    procfs::{self, Asked},
};

/// How long a batch may take: paths that are left stay as they were given.
const LONGEST: Duration = Duration::from_millis(5);

/// Resolves the paths of new watches in `events` from `first` on. The helper asks the file systems of
/// devices for those that the kernel does not have in memory.
pub(super) fn resolve(first: usize, events: &mut [Event], helper: &mut Helper) {
    let mut deadline = None;
    for event in events.get_mut(first..).unwrap_or_default() {
        let (Some(task), EventKind::WatchAdded { target, .. }) = (event.task, &mut event.kind)
        else {
            continue;
        };
        let Some(path) = target.path.as_deref().filter(|path| procfs::is_private(path)) else {
            continue;
        };
        let now = Instant::now();
        if now >= *deadline.get_or_insert(now + LONGEST) {
            return;
        }
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
