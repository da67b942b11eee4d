//! What exists already when tracing begins.

use std::collections::{HashMap, HashSet};

use super::{
    live::{BATCH, Live},
    now,
};
use crate::{
    cgroup,
    event::{CgroupId, Event, EventKind, Target, Task},
    kernel::{self, KernelError},
    procfs::{self, Process},
};

impl Live {
    /// Finds the cgroups, instances and watches that exist already.
    pub(super) fn snapshot(&mut self) -> Result<Vec<Event>, KernelError> {
        let mut events = Vec::new();
        let mut cgroups = HashMap::new();
        if let Some(mount_point) = cgroup::mount_point() {
            cgroup::walk(&mount_point, &mut |id, path| {
                cgroups.insert(path.to_owned(), CgroupId(id));
                let cgroup = CgroupId(id);
                events.push(now(EventKind::CgroupFound { cgroup, path: path.into() }));
            });
        }
        let mut found = Vec::new();
        let mut vanished = HashSet::new();
        if let Err(error) = self.programs.iterate() {
            log::info!("looking through /proc for what exists: {error}");
            self.look_through_proc(&mut found, &mut vanished)?;
        }
        self.drain_all(&mut found);
        let mut cgroups_watched = HashMap::new();
        found.retain(|event| match &event.kind {
            // Only half of a watch: fdinfo has the rest.
            EventKind::WatchFound { instance, wd, target, .. } => {
                cgroups_watched.insert((*instance, *wd), target.cgroup);
                false
            }
            _ => true,
        });
        let mut processes = HashMap::new();
        let mut described = HashSet::new();
        for mut event in found {
            let EventKind::InstanceFound { instance, fd, ref mut flags, .. } = event.kind else {
                events.push(event);
                continue;
            };
            let pid = event.task.map(|task| task.pid).unwrap_or_default();
            if vanished.contains(&(pid, fd)) {
                // Still an instance, if only for a moment more.
                event.task = None;
                events.push(event);
                continue;
            }
            let task = *processes.entry(pid).or_insert_with(|| describe(pid, &cgroups));
            event.task = Some(task);
            // A descriptor that goes now is told by its own event later.
            let info = procfs::inotify_info(pid, fd).unwrap_or_default();
            *flags = info.flags;
            let time = event.time;
            events.push(event);
            if described.insert(instance) {
                // The kernel lists the newest watch first.
                events.extend(info.watches.into_iter().rev().map(|watch| {
                    Event {
                        time,
                        task: None,
                        kind: EventKind::WatchFound {
                            instance,
                            wd: watch.wd,
                            mask: watch.mask,
                            target: Target {
                                path: None,
                                inode: watch.inode,
                                dev: watch.dev,
                                cgroup: cgroups_watched
                                    .get(&(instance, watch.wd))
                                    .copied()
                                    .unwrap_or_default(),
                            },
                        },
                    }
                }));
            }
        }
        Ok(events)
    }

    /// Finds every instance by copying each inotify descriptor and asking what is behind it. Those
    /// closed meanwhile are `vanished`.
    fn look_through_proc(
        &mut self,
        found: &mut Vec<Event>,
        vanished: &mut HashSet<(u32, i32)>,
    ) -> Result<(), KernelError> {
        let own_pid = std::process::id();
        let mut identified = 0_usize;
        for (pid, fd) in procfs::inotify_descriptors().filter(|&(pid, _)| pid != own_pid) {
            let Some(copy) = kernel::copy(pid, fd) else { continue };
            self.programs.ask().identify(&copy, pid, fd)?;
            // Closed while it was looked at: then its holder does not hold it any more.
            if !procfs::is_inotify(pid, fd) {
                vanished.insert((pid, fd));
            }
            identified += 1;
            if identified.is_multiple_of(BATCH) {
                self.drain(found);
            }
        }
        Ok(())
    }
}

/// A process that exists already, as the doer of what is found.
fn describe(pid: u32, cgroups: &HashMap<String, CgroupId>) -> Task {
    let process = Process::read(pid);
    let cgroup = process.cgroup.and_then(|path| cgroups.get(&path).copied()).unwrap_or_default();
    Task { pid, tid: pid, uid: process.euid, comm: process.comm, cgroup }
}
