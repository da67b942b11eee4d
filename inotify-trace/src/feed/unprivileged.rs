//! What can be found without asking the kernel: for users who may not load programs.

use inotify_trace_model::{
    event::{CgroupId, Event, EventKind, InstanceId, Task},
    feed::Item,
};

use super::{
    looked,
    naming::Naming,
    now,
    snapshot::{Hierarchy, Look},
};
use crate::{host::procfs, host::runtimes::Registry};

/// `KCMP_FILE` of `enum kcmp_type` (kcmp(2)).
const KCMP_FILE: libc::c_long = 0;

/// A descriptor of a process.
type Descriptor = (u32, i32);

/// What a user without privileges can see.
#[derive(Debug)]
pub struct Survey {
    /// Cgroups, instances and watches. Who is charged is not known.
    pub found: Item,
    /// Processes that may not be looked at.
    pub hidden: usize,
}

/// Looks at the descriptors of those processes that this one may look at.
#[must_use]
pub fn survey(find_paths: bool, registry: &Registry) -> Survey {
    let mut naming = Naming::new(registry.clone());
    let (mut hierarchy, mut events) = Hierarchy::found(&mut naming, find_paths);
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
        let (pid, fd) = descriptor;
        let task = Some(Task { pid, tid: pid, ..Task::default() });
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
    look.complete(&mut hierarchy, &mut events);
    naming.wait(&mut events);
    Survey { found: looked(events), hidden: procfs::hidden_processes() }
}

/// How the kernel orders the files behind two descriptors (kcmp(2)): equal ones are one file. Where
/// it does not tell, because one has just been closed, they are taken for two.
fn compare((pid, fd): Descriptor, other: Descriptor) -> std::cmp::Ordering {
    // SAFETY: only numbers are passed.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, pid, other.0, KCMP_FILE, fd, other.1) };
    match result {
        0 => std::cmp::Ordering::Equal,
        1 => std::cmp::Ordering::Less,
        2 => std::cmp::Ordering::Greater,
        _ => (pid, fd).cmp(&other),
    }
}
