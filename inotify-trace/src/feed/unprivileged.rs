//! A snapshot from /proc alone, for users who may not load kernel programs.

use std::iter;

use inotify_trace_model::{
    event::{CgroupId, Event, EventKind, InstanceId, Task},
    feed::Item,
    story::Story,
};

use super::{
    batch_now,
    naming::Naming,
    now,
    snapshot::{Hierarchy, Look, WatchesFound},
};
use crate::host::{
    procfs::{self, TableId},
    runtimes::Registry,
};

/// `KCMP_FILE` of `enum kcmp_type` (kcmp(2)).
const KCMP_FILE: libc::c_long = 0;

/// A descriptor in a table.
type Descriptor = (TableId, i32);

/// A snapshot without tracing.
#[derive(Debug)]
pub struct Survey {
    /// Cgroups and instances, perhaps without the charged users.
    found: Item,
    /// The watches.
    watches: Vec<WatchesFound>,
    /// The number of processes that may not be read.
    pub hidden: usize,
    /// The number of watches that were not looked up for lack of time.
    pub left_out: usize,
}

impl Survey {
    pub(super) fn new(
        events: Vec<Event>,
        watches: Vec<WatchesFound>,
        hidden: usize,
        left_out: usize,
    ) -> Self {
        Self { found: batch_now(events), watches, hidden, left_out }
    }

    /// Tells a story what was found, and frees it meanwhile.
    pub fn tell(self, story: &mut Story) {
        let watches = self.watches.into_iter().map(|some| batch_now(some.into_events().collect()));
        for item in iter::once(self.found).chain(watches) {
            let Ok(()) = story.take(item, &mut ());
        }
    }
}

/// Reads the descriptors of all processes that this one may read.
#[must_use]
pub fn survey(find_paths: bool, registry: &Registry) -> Survey {
    let mut naming = Naming::new(registry.clone());
    let (mut hierarchy, mut events) = Hierarchy::found(&mut naming, find_paths);
    hierarchy.apart = Some(Vec::new());
    let mut look = Look::default();
    // One descriptor of each instance, in the kernel's order of its files.
    let mut known: Vec<(Descriptor, InstanceId)> = Vec::new();
    for descriptor in procfs::inotify_descriptors() {
        let instance = match known.binary_search_by(|(other, _)| compare(*other, descriptor)) {
            Ok(at) => known[at].1,
            Err(at) => {
                let id = InstanceId(known.len() as u64 + 1);
                known.insert(at, (descriptor, id));
                id
            }
        };
        let (TableId { pid, owner }, fd) = descriptor;
        let tid = owner.unwrap_or(pid);
        let task = Some(Task { pid, tid, table: owner, ..Task::default() });
        let kind = EventKind::InstanceFound {
            instance,
            fd,
            flags: 0,
            creator_cgroup: CgroupId::default(),
            queued: 0,
            quota: None,
        };
        look.events.push(Event { task, ..now(kind) });
    }
    look.complete(&mut hierarchy, &mut naming, &mut events);
    naming.wait(&mut events);
    let left_out = hierarchy.left_out();
    let watches = hierarchy.apart.unwrap_or_default();
    Survey::new(events, watches, procfs::hidden_processes(), left_out)
}

/// The kernel's order of the files of two descriptors (kcmp(2)): equal ones are the same file. If the
/// call fails, because one has just been closed, they count as different.
fn compare(one: Descriptor, other: Descriptor) -> std::cmp::Ordering {
    let [(tid, fd), (other_tid, other_fd)] =
        [one, other].map(|(table, fd)| (table.owner.unwrap_or(table.pid), fd));
    // SAFETY: only numbers are passed.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, tid, other_tid, KCMP_FILE, fd, other_fd) };
    match result {
        0 => std::cmp::Ordering::Equal,
        1 => std::cmp::Ordering::Less,
        2 => std::cmp::Ordering::Greater,
        _ => (tid, fd).cmp(&(other_tid, other_fd)),
    }
}
