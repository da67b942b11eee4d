//! What exists already: when tracing begins, and what was overlooked since.

use std::collections::{HashMap, HashSet};

use inotify_trace_model::event::{CgroupId, Event, EventKind, InstanceId, Target, Task};

use super::{
    live::{BATCH, Live},
    naming::Naming,
    now, shims,
};
use crate::{
    host::cgroup,
    host::procfs::{self, Process, Targets, WatchInfo, Whereabouts},
    kernel::{self, KernelError},
};

/// What a look at the machine finds.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Records in order; of what exists, without what only /proc tells.
    pub(super) events: Vec<Event>,
    /// Descriptors closed while they were looked at.
    vanished: HashSet<(u32, i32)>,
}

/// The cgroups there are.
#[derive(Debug, Default)]
pub(super) struct Hierarchy {
    by_path: HashMap<String, CgroupId>,
    mount: Option<cgroup::Mount>,
    /// Where targets are, if that is asked for.
    pub(super) targets: Option<Targets>,
}

impl Live {
    /// Finds the cgroups, instances and watches that exist already.
    pub(super) fn snapshot(&mut self) -> Result<Vec<Event>, KernelError> {
        let (mut hierarchy, mut events) = Hierarchy::found(&mut self.naming, self.find_paths);
        let look = self.look()?;
        look.complete(&mut hierarchy, &mut events);
        self.ask_charges(&mut events)?;
        Ok(events)
    }

    /// Finds the instances whose beginning was overlooked: those of 32-bit programs by the
    /// tracepoint backend, and what was lost when the ring buffer was full.
    pub(super) fn find_overlooked(&mut self, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let newest = self.known.newest();
        let mut look = self.look()?;
        look.events.retain(|event| match event.kind {
            EventKind::InstanceFound { instance, .. } | EventKind::WatchFound { instance, .. } => {
                instance > newest
            }
            _ => true,
        });
        let found = |event: &Event| matches!(event.kind, EventKind::InstanceFound { .. });
        if !look.events.iter().any(found) {
            events.append(&mut look.events);
            return Ok(());
        }
        look.complete(&mut Hierarchy::read(|_, _| ()), events);
        Ok(())
    }

    /// Asks for every instance there is. What happens meanwhile comes with the answers.
    fn look(&mut self) -> Result<Look, KernelError> {
        let mut look = Look::default();
        match self.programs.iterate() {
            Some(mut iteration) => {
                while iteration.step()? {
                    self.drain_all(&mut look.events);
                }
            }
            None => self.look_through_proc(&mut look)?,
        }
        self.drain_all(&mut look.events);
        Ok(look)
    }

    /// Finds every instance by copying each inotify descriptor and asking what is behind it.
    fn look_through_proc(&mut self, look: &mut Look) -> Result<(), KernelError> {
        self.programs.prepare_to_identify()?;
        let own_pid = std::process::id();
        let mut identified = 0_usize;
        for (pid, fd) in procfs::inotify_descriptors().filter(|&(pid, _)| pid != own_pid) {
            let Some(copy) = kernel::copy(pid, fd) else { continue };
            self.programs.ask().identify(&copy, pid, fd)?;
            // Closed while it was looked at: then its holder does not hold it any more.
            if !procfs::is_inotify(pid, fd) {
                look.vanished.insert((pid, fd));
            }
            identified += 1;
            if identified.is_multiple_of(BATCH) {
                self.drain(&mut look.events);
            }
        }
        Ok(())
    }
}

impl Look {
    /// Adds the events to `events`, with what /proc tells of what was found.
    pub(super) fn complete(self, hierarchy: &mut Hierarchy, events: &mut Vec<Event>) {
        let Self { events: mut found, vanished } = self;
        let first = events.len();
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
            let task = *processes.entry(pid).or_insert_with(|| hierarchy.describe(pid));
            event.task = Some(task);
            // A descriptor that goes now is told by its own event later.
            let info = procfs::inotify_info(pid, fd).unwrap_or_default();
            *flags = info.flags;
            let time = event.time;
            events.push(event);
            if described.insert(instance) {
                // The kernel lists the newest watch first.
                events.extend(info.watches.into_iter().rev().map(|watch| {
                    let told = cgroups_watched.get(&(instance, watch.wd)).copied();
                    let kind = hierarchy.watch_found(instance, &watch, told, pid);
                    Event { time, task: None, kind }
                }));
            }
        }
        shims::identify(first, events);
    }
}

impl Hierarchy {
    /// Looks at every cgroup there is, and tells of each, with the names of containers.
    pub(super) fn found(naming: &mut Naming, find_paths: bool) -> (Self, Vec<Event>) {
        let mut events = Vec::new();
        let mut hierarchy = Self::read(|cgroup, path| {
            events.push(now(EventKind::CgroupFound { cgroup, path: path.into() }));
        });
        naming.name(0, &mut events);
        hierarchy.targets = find_paths.then(Targets::default);
        (hierarchy, events)
    }

    /// Looks at every cgroup there is; each is passed on.
    pub(super) fn read(mut each: impl FnMut(CgroupId, &str)) -> Self {
        let Some(mount_point) = cgroup::mount_point() else { return Self::default() };
        let mut by_path = HashMap::new();
        cgroup::walk(&mount_point, &mut |id, path| {
            by_path.insert(path.to_owned(), CgroupId(id));
            each(CgroupId(id), path);
        });
        Self { by_path, mount: cgroup::Mount::open(&mount_point), targets: None }
    }

    /// A process that exists already, as the doer of what is found.
    fn describe(&self, pid: u32) -> Task {
        let process = Process::read(pid);
        let cgroup = process.cgroup.and_then(|path| self.by_path.get(&path).copied());
        let (uid, comm) = (process.euid, process.comm);
        Task { pid, tid: pid, uid, comm, cgroup: cgroup.unwrap_or_default() }
    }

    /// A watch from fdinfo. The kernel programs tell of an instance's newest watches which cgroup
    /// they are on, even if that is gone; of all others the file system can still be asked.
    fn watch_found(
        &mut self,
        instance: InstanceId,
        watch: &WatchInfo,
        told: Option<CgroupId>,
        holder: u32,
    ) -> EventKind {
        let asked = || {
            let handle = watch.handle.as_ref()?;
            self.mount.as_ref()?.cgroup_of(watch.dev, handle).map(CgroupId)
        };
        let cgroup = told.or_else(asked).unwrap_or_default();
        let found = self.targets.as_mut().map(|targets| targets.find(watch, holder));
        let is_gone = found == Some(Whereabouts::Gone);
        let path = match found {
            Some(Whereabouts::Path(path)) => Some(path.to_string_lossy().into()),
            _ => None,
        };
        let target = Target { path, is_gone, inode: watch.inode, dev: watch.dev, cgroup };
        EventKind::WatchFound { instance, wd: watch.wd, mask: watch.mask, target }
    }
}
