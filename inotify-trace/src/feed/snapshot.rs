//! Snapshots: instances that exist when tracing begins, and later those that were missed.

use std::collections::{HashMap, HashSet};

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Target, Task},
    text::text_of,
    tracker::{Tracker, Watch},
    usage::standings,
};

use super::{charges, intake::Intake, naming::Naming, now, untold};
use crate::{
    host::{
        Targets, Whereabouts, cgroup,
        procfs::{self, Process, TableId, WatchInfo},
    },
    kernel::{self, KernelError},
};

/// A snapshot.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Events in order; those of existing instances lack the information in /proc.
    pub(super) events: Vec<Event>,
    /// Descriptors that were closed meanwhile.
    vanished: HashSet<(TableId, i32)>,
}

/// The cgroup hierarchy.
#[derive(Debug, Default)]
pub(super) struct Hierarchy {
    by_path: HashMap<Vec<u8>, CgroupId>,
    /// All that were there at the last look.
    ids: HashSet<CgroupId>,
    /// Whether that was when the watches were already known.
    is_fresh: bool,
    mount: Option<cgroup::Mount>,
    /// Finds the paths of watches, if wanted.
    pub(super) targets: Option<Targets>,
    /// Watches that were found, if they are kept apart from other events.
    pub(super) apart: Option<Vec<WatchesFound>>,
}

/// Some of an instance's watches, oldest first. As events a million would take much more memory.
#[derive(Debug)]
pub struct WatchesFound {
    instance: InstanceId,
    time: BootTime,
    watches: Vec<(i32, Watch)>,
}

impl WatchesFound {
    /// The same as events.
    pub(super) fn into_events(self) -> impl Iterator<Item = Event> {
        let Self { instance, time, watches } = self;
        watches.into_iter().map(move |(wd, Watch { target, mask })| {
            let kind = EventKind::WatchFound { instance, wd, mask, target };
            Event { time, task: None, kind }
        })
    }
}

/// The most watches that are looked up, and later told, together.
const PIECE: usize = 1024;

/// Finds all existing cgroups, instances and watches.
pub(super) fn of_machine(intake: &mut Intake, find_paths: bool) -> Result<Vec<Event>, KernelError> {
    let (mut hierarchy, events) = Hierarchy::found(&mut intake.naming, find_paths);
    find_all(intake, &mut hierarchy, events)
}

/// The same, with the watches apart: events about them come after all others.
pub(super) fn with_watches_apart(
    intake: &mut Intake,
    find_paths: bool,
) -> Result<(Vec<Event>, Vec<WatchesFound>), KernelError> {
    let (mut hierarchy, events) = Hierarchy::found(&mut intake.naming, find_paths);
    hierarchy.apart = Some(Vec::new());
    let events = find_all(intake, &mut hierarchy, events)?;
    Ok((events, hierarchy.apart.unwrap_or_default()))
}

fn find_all(
    intake: &mut Intake,
    hierarchy: &mut Hierarchy,
    mut events: Vec<Event>,
) -> Result<Vec<Event>, KernelError> {
    let look = look(intake)?;
    look.complete(hierarchy, &mut intake.naming, &mut events);
    charges::ask(intake, &mut events)?;
    // Instances that were created between the look and the question are charged and were not seen.
    for _ in 0..AGAIN {
        if is_accounted_for(&events) {
            break;
        }
        let mut look = self::look(intake)?;
        if !look.has_found() {
            // They are not visible indeed.
            events.append(&mut look.events);
            break;
        }
        look.complete(hierarchy, &mut intake.naming, &mut events);
        charges::ask(intake, &mut events)?;
    }
    intake.left_out = hierarchy.left_out();
    Ok(events)
}

/// The most further looks for instances that are charged and were not seen.
const AGAIN: usize = 3;

/// Whether the instances found are all that their users are charged for.
fn is_accounted_for(events: &[Event]) -> bool {
    let mut tracker = Tracker::new();
    let counts = |event: &&Event| {
        let kind = &event.kind;
        matches!(kind, EventKind::InstanceFound { .. } | EventKind::Charged { .. })
    };
    events.iter().filter(counts).for_each(|event| tracker.apply(event));
    let standings = standings(&tracker);
    standings.values().all(|standing| standing.unseen_instances().unwrap_or(0) == 0)
}

/// Finds the instances whose creation was missed: those of 32-bit programs with the tracepoint
/// backend, and those lost when the ring buffer was full.
pub(super) fn find_overlooked(
    intake: &mut Intake,
    events: &mut Vec<Event>,
) -> Result<(), KernelError> {
    let newest = intake.known.newest();
    let mut look = look(intake)?;
    if !look.has_found() {
        events.append(&mut look.events);
        return Ok(());
    }
    look.complete(&mut Hierarchy::read(|_, _| ()), &mut intake.naming, events);
    charges::ask_since(intake, newest, events)
}

/// The same, apart from the events that happened meanwhile, which come second.
pub(super) fn of_overlooked(intake: &mut Intake) -> Result<(Vec<Event>, Vec<Event>), KernelError> {
    let mut look = look(intake)?;
    let is_found = |event: &Event| {
        matches!(event.kind, EventKind::InstanceFound { .. } | EventKind::WatchFound { .. })
    };
    let (found, meanwhile) = std::mem::take(&mut look.events).into_iter().partition(is_found);
    look.events = found;
    let mut events = Vec::new();
    if look.has_found() {
        look.complete(&mut Hierarchy::read(|_, _| ()), &mut intake.naming, &mut events);
    }
    Ok((events, meanwhile))
}

/// Asks for all instances that no event has told of. Events that happen meanwhile come with the
/// answers.
fn look(intake: &mut Intake) -> Result<Look, KernelError> {
    let newest = intake.known.newest();
    let mut look = Look::default();
    match intake.programs.iterate() {
        Some(mut iteration) => {
            while iteration.step()? {
                intake.drain_all(&mut look.events);
            }
        }
        None => look_through_proc(intake, &mut look)?,
    }
    intake.drain_all(&mut look.events);
    let dropped = untold::keep(&mut look.events, newest);
    if !dropped.is_empty() {
        intake.known.retain(|instance| !dropped.contains(&instance));
    }
    Ok(look)
}

/// The most answers that wait to be read. One may have 2 kB: an instance, and four files of cgroups.
const UNREAD: usize = 64;

/// Finds all instances by copying each inotify descriptor and asking for its instance.
fn look_through_proc(intake: &mut Intake, look: &mut Look) -> Result<(), KernelError> {
    intake.programs.prepare_to_identify()?;
    let own_pid = std::process::id();
    let mut identified = 0_usize;
    for (table, fd) in procfs::inotify_descriptors().filter(|(table, _)| table.pid != own_pid) {
        let Some(copy) = kernel::copy(table, fd) else { continue };
        intake.programs.ask().identify(&copy, table, fd)?;
        // Closed meanwhile: its process does not hold the instance any more.
        if !procfs::is_inotify(table, fd) {
            look.vanished.insert((table, fd));
        }
        identified += 1;
        if identified.is_multiple_of(UNREAD) {
            intake.drain(&mut look.events);
        }
    }
    Ok(())
}

impl Look {
    fn has_found(&self) -> bool {
        self.events.iter().any(|event| matches!(event.kind, EventKind::InstanceFound { .. }))
    }

    /// Adds the events to `events`, completed with the information in /proc.
    pub(super) fn complete(
        self,
        hierarchy: &mut Hierarchy,
        naming: &mut Naming,
        events: &mut Vec<Event>,
    ) {
        let Self { events: mut found, vanished } = self;
        let first = events.len();
        let mut cgroups_watched = HashMap::new();
        found.retain(|event| match &event.kind {
            // Only the target's cgroup: fdinfo has the rest of the watch.
            EventKind::WatchFound { instance, wd, target, .. } => {
                cgroups_watched.insert((*instance, *wd), target.clone());
                false
            }
            _ => true,
        });
        let mut tasks = HashMap::new();
        let mut described = HashSet::new();
        for mut event in found {
            let EventKind::InstanceFound { instance, fd, ref mut flags, .. } = event.kind else {
                events.push(event);
                continue;
            };
            let Task { pid, table: owner, .. } = event.task.unwrap_or_default();
            let table = TableId { pid, owner };
            if vanished.contains(&(table, fd)) {
                // The instance still exists, for a moment at least.
                event.task = None;
                events.push(event);
                continue;
            }
            let task = *tasks.entry(table).or_insert_with(|| hierarchy.describe(table));
            event.task = Some(task);
            // A descriptor that is closed now has its own event later.
            let info = procfs::inotify_info(table, fd);
            let was_read = info.is_ok();
            let info = info.unwrap_or_default();
            *flags = info.flags;
            let time = event.time;
            events.push(event);
            if was_read && described.insert(instance) {
                let mut left = info.watches;
                while !left.is_empty() {
                    // The kernel lists the newest watch first.
                    let oldest = left.split_off(left.len().saturating_sub(PIECE));
                    let places = hierarchy.places(&oldest, pid);
                    let watches = oldest.into_iter().zip(places).rev().map(|(watch, place)| {
                        let told = cgroups_watched.remove(&(instance, watch.wd));
                        let target = hierarchy.target(&watch, told, place);
                        (watch.wd, Watch { target, mask: watch.mask })
                    });
                    let found = WatchesFound { instance, time, watches: watches.collect() };
                    match &mut hierarchy.apart {
                        Some(apart) => apart.push(found),
                        None => events.extend(found.into_events()),
                    }
                }
            }
        }
        hierarchy.search(&mut events[first..]);
        naming.identify_shims(first, events);
    }
}

impl Hierarchy {
    /// Reads all cgroups; the events have their paths, and the names of containers.
    pub(super) fn found(naming: &mut Naming, find_paths: bool) -> (Self, Vec<Event>) {
        let mut events = Vec::new();
        let mut hierarchy = Self::read(|cgroup, path| {
            events.push(now(EventKind::CgroupFound { cgroup, path: path.into() }));
        });
        naming.name(0, &mut events);
        hierarchy.targets = find_paths.then(Targets::default);
        (hierarchy, events)
    }

    /// Reads all cgroups, and calls `each` with each.
    pub(super) fn read(mut each: impl FnMut(CgroupId, &str)) -> Self {
        let Some(mount_point) = cgroup::mount_point() else { return Self::default() };
        let mut by_path = HashMap::new();
        cgroup::walk(&mount_point, &mut |id, path| {
            by_path.insert(path.to_vec(), CgroupId(id));
            each(CgroupId(id), &text_of(path));
        });
        let ids = by_path.values().copied().collect();
        let mount = cgroup::Mount::open(&mount_point);
        Self { by_path, ids, is_fresh: false, mount, targets: None, apart: None }
    }

    /// The number of watches that were not looked up for lack of time.
    pub(super) fn left_out(&self) -> usize {
        self.targets.as_ref().map_or(0, Targets::left_out)
    }

    /// An existing process, or the thread with that table, as the task of the events about its
    /// instances.
    fn describe(&self, table: TableId) -> Task {
        let TableId { pid, owner } = table;
        let Process { comm, euid: uid, cgroup } = Process::read(pid);
        let cgroup = cgroup.and_then(|path| self.by_path.get(&path).copied()).unwrap_or_default();
        let thread = owner.and_then(|tid| procfs::thread_name(pid, tid));
        let thread = thread.filter(|&thread| thread != comm);
        Task { pid, tid: owner.unwrap_or(pid), uid, comm, thread, table: owner, cgroup }
    }

    /// Whether a cgroup may exist; true if there is none.
    fn may_exist(&mut self, cgroup: CgroupId) -> bool {
        if self.mount.is_none() || cgroup.known().is_none() || self.ids.contains(&cgroup) {
            return true;
        }
        // It may be younger than the last look.
        if !std::mem::replace(&mut self.is_fresh, true) {
            let ids = &mut self.ids;
            if let Some(mount_point) = cgroup::mount_point() {
                cgroup::walk(&mount_point, &mut |id, _| _ = ids.insert(CgroupId(id)));
            }
        }
        self.ids.contains(&cgroup)
    }

    /// Adds the paths that take a search.
    fn search(&mut self, events: &mut [Event]) {
        let found = self.targets.as_mut().map(Targets::search).unwrap_or_default();
        if found.is_empty() {
            return;
        }
        let of_event = |event| match event {
            &mut Event { kind: EventKind::WatchFound { ref mut target, .. }, .. } => Some(target),
            _ => None,
        };
        let apart = self.apart.iter_mut().flatten().flat_map(|it| &mut it.watches);
        let all = events.iter_mut().filter_map(of_event);
        for target in all.chain(apart.map(|(_, watch)| &mut watch.target)) {
            if target.path.is_none()
                && !target.is_gone
                && let Some(path) = found.get(&(target.dev, target.inode))
            {
                match path {
                    Ok(path) => target.path = Some(path.as_str().into()),
                    Err(silence) => target.silence = Some(*silence),
                }
            }
        }
    }

    /// The places of these watches' targets, if they are wanted.
    fn places(&mut self, watches: &[WatchInfo], holder: u32) -> Vec<Option<Whereabouts>> {
        match &mut self.targets {
            Some(targets) => targets.find(watches, holder).into_iter().map(Some).collect(),
            None => vec![None; watches.len()],
        }
    }

    /// The target of a watch from fdinfo. For an instance's newest watches the kernel programs have read the
    /// cgroup, even a removed one; for all others the file system resolves it.
    fn target(
        &mut self,
        watch: &WatchInfo,
        told: Option<Target>,
        found: Option<Whereabouts>,
    ) -> Target {
        let asked = || {
            let handle = watch.handle.as_ref()?;
            self.mount.as_ref()?.cgroup_of(watch.dev, handle).map(CgroupId)
        };
        let Target { cgroup, file, .. } = told
            .unwrap_or_else(|| Target { cgroup: asked().unwrap_or_default(), ..Target::default() });
        // Linux 5.10 still opens the files of removed cgroups.
        let is_lost = found == Some(Whereabouts::Unknown(None)) && !self.may_exist(cgroup);
        let is_gone = is_lost || matches!(found, Some(Whereabouts::Gone(_)));
        let (path, silence) = match found {
            Some(Whereabouts::Path(path) | Whereabouts::Gone(Some(path))) => {
                (Some(path.into()), None)
            }
            Some(Whereabouts::Unknown(silence)) => (None, silence),
            Some(Whereabouts::Gone(None)) | None => (None, None),
        };
        let (inode, dev) = (watch.inode, watch.dev);
        Target { path, silence, is_gone, inode, dev, cgroup, file, ..Target::default() }
    }
}
