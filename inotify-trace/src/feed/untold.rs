//! What a look at all descriptors adds to the records that come meanwhile. Nothing stands still: the
//! record of a call and what the call does are two moments, and the look may meet a descriptor between
//! them. The records count then.

use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

use inotify_trace_model::event::{Event, EventKind, InstanceId, Table, Task};

/// A descriptor table: the process, and the thread if it has a table of its own.
type Holder = (u32, Table);

/// Drops what was found of instances that events tell of: those until `newest`, those whose creation
/// is recorded before they are met or after, and descriptors that are just being closed. One that was
/// used since is there, whatever happened to its descriptor before: the record of its creation was
/// lost. Returns the instances of which nothing is left.
pub(super) fn keep(events: &mut Vec<Event>, newest: InstanceId) -> HashSet<InstanceId> {
    let early = met_before_their_creation(events, newest);
    let used = used(events, newest);
    let (mut created, mut told, mut dropped) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut closing = Closing::default();
    events.retain(|event| {
        closing.note(event);
        let Some(instance) = event.kind.instance() else { return true };
        let is_new = instance > newest && !created.contains(&instance);
        let is_kept = match event.kind {
            EventKind::InstanceFound { fd, .. } => {
                let is_doubtful = early.contains(&instance) || closing.contains(event.task, fd);
                is_new && (!is_doubtful || used.contains(&instance))
            }
            EventKind::WatchFound { .. } => is_new && told.contains(&instance),
            EventKind::InstanceCreated { .. } => created.insert(instance),
            // Of one that was dropped, this is the end.
            _ => !is_new || told.contains(&instance),
        };
        let _ = if is_kept { told.insert(instance) } else { dropped.insert(instance) };
        is_kept
    });
    dropped.retain(|instance| *instance > newest && !told.contains(instance));
    dropped
}

/// Instances after `newest` that a process did something with, by its descriptor.
fn used(events: &[Event], newest: InstanceId) -> HashSet<InstanceId> {
    let of_use = |event: &Event| match event.kind {
        EventKind::WatchAdded { instance, .. }
        | EventKind::WatchFailed { instance: Some(instance), .. }
        | EventKind::WatchRemoved { instance, fd: Some(_), .. }
        | EventKind::DescriptorClosed { instance, .. }
        | EventKind::InstanceReleased { instance, fd: Some(_), .. } => Some(instance),
        _ => None,
    };
    events.iter().filter_map(of_use).filter(|instance| *instance > newest).collect()
}

/// Instances after `newest` that the look met between their creation and its record: its reader takes
/// the address for one that is used again, and has the same descriptor.
fn met_before_their_creation(events: &[Event], newest: InstanceId) -> HashSet<InstanceId> {
    let place = |event: &Event, fd: i32| event.task.map(|task| (holder(task), fd));
    let mut met = HashMap::new();
    let mut early = HashSet::new();
    let mut replaced = None;
    for event in events {
        let before = replaced.take();
        match event.kind {
            EventKind::InstanceFound { instance, fd, .. } if instance > newest => {
                met.insert(instance, place(event, fd));
            }
            EventKind::InstanceReleased { instance, fd: None, .. } => replaced = Some(instance),
            EventKind::InstanceCreated { fd, .. } => early.extend(
                before.filter(|before| met.get(before).is_some_and(|it| *it == place(event, fd))),
            ),
            _ => {}
        }
    }
    early
}

fn holder(task: Task) -> Holder {
    (task.pid, task.table)
}

/// Descriptors whose close is recorded, and may be met all the same until the kernel has closed them.
#[derive(Debug, Default)]
struct Closing(HashMap<Holder, Vec<RangeInclusive<i32>>>);

impl Closing {
    fn note(&mut self, event: &Event) {
        let Some(task) = event.task else { return };
        let closed = match event.kind {
            EventKind::DescriptorClosed { fd, .. }
            | EventKind::InstanceReleased { fd: Some(fd), .. } => fd..=fd,
            EventKind::RangeClosed { first, last } => first..=last,
            EventKind::ProcessExited => 0..=i32::MAX,
            _ => return,
        };
        self.0.entry(holder(task)).or_default().push(closed);
    }

    fn contains(&self, task: Option<Task>, fd: i32) -> bool {
        let ranges = task.and_then(|task| self.0.get(&holder(task)));
        ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&fd)))
    }
}

#[cfg(test)]
mod tests {
    use inotify_trace_model::{
        event::{BootTime, CgroupId},
        testing::task,
    };

    use super::*;

    /// Process 7, which has the descriptor.
    const PID: u32 = 7;
    const FD: i32 = 3;

    fn event(pid: u32, kind: EventKind) -> Event {
        Event { time: BootTime(1), task: Some(task(pid, "tail")), kind }
    }

    fn found(pid: u32, id: u64) -> Event {
        let instance = InstanceId(id);
        let (flags, creator_cgroup, queued, quota) = (0, CgroupId::default(), 0, None);
        let kind =
            EventKind::InstanceFound { instance, fd: FD, flags, creator_cgroup, queued, quota };
        event(pid, kind)
    }

    fn created(id: u64) -> Event {
        let (instance, flags, quota) = (InstanceId(id), 0, None);
        event(PID, EventKind::InstanceCreated { instance, fd: FD, flags, quota })
    }

    fn closed(id: u64) -> Event {
        let (instance, fd, quota) = (InstanceId(id), Some(FD), None);
        event(PID, EventKind::InstanceReleased { instance, fd, quota })
    }

    /// The end of an instance whose address another one has.
    fn replaced(id: u64) -> Event {
        let (instance, fd, quota) = (InstanceId(id), None, None);
        let kind = EventKind::InstanceReleased { instance, fd, quota };
        Event { task: None, ..event(PID, kind) }
    }

    /// What is left of a look's events, as names and instances, and the instances that are dropped; the
    /// first five were known.
    fn kept(mut events: Vec<Event>) -> (Vec<(&'static str, u64)>, Vec<u64>) {
        let dropped = keep(&mut events, InstanceId(5));
        let name = |event: &Event| {
            (event.kind.name().as_str(), event.kind.instance().map_or(0, |instance| instance.0))
        };
        (events.iter().map(name).collect(), dropped.into_iter().map(|it| it.0).collect())
    }

    #[test]
    fn an_instance_that_no_record_tells_of_is_found() {
        let told = kept(vec![found(PID, 4), found(PID, 6), closed(6)]);
        assert_eq!(told, (vec![("found", 6), ("release", 6)], vec![]));
    }

    #[test]
    fn a_creation_that_is_recorded_is_not_found_as_well() {
        let told = kept(vec![created(6), found(PID, 6), found(8, 6)]);
        assert_eq!(told, (vec![("create", 6)], vec![]));
        // Met between the call and its record.
        let told = kept(vec![found(PID, 6), replaced(6), created(7), found(PID, 7)]);
        assert_eq!(told, (vec![("create", 7)], vec![6]));
        // The same address, and another descriptor.
        let told = kept(vec![found(8, 6), replaced(6), created(7)]);
        assert_eq!(told, (vec![("found", 6), ("release", 6), ("create", 7)], vec![]));
    }

    #[test]
    fn a_descriptor_that_is_being_closed_is_not_found() {
        let told = kept(vec![closed(4), found(PID, 6), found(8, 7)]);
        assert_eq!(told, (vec![("release", 4), ("found", 7)], vec![6]));
        // Its place is taken before it was told.
        let told = kept(vec![closed(4), found(PID, 6), replaced(6), created(7)]);
        assert_eq!(told, (vec![("release", 4), ("create", 7)], vec![6]));
        let range = event(PID, EventKind::RangeClosed { first: FD, last: FD });
        let told = kept(vec![range, found(PID, 6), found(8, 6)]);
        assert_eq!(told, (vec![("range-close", 0), ("found", 6)], vec![]));
        let told = kept(vec![event(PID, EventKind::ProcessExited), found(PID, 6)]);
        assert_eq!(told, (vec![("exit", 0)], vec![6]));
    }
    #[test]
    fn an_instance_that_is_used_is_there_whatever_its_descriptor_was_before() {
        let told = kept(vec![created(6), closed(6), found(PID, 7), closed(7)]);
        let all = vec![("create", 6), ("release", 6), ("found", 7), ("release", 7)];
        assert_eq!(told, (all, vec![]));
        // Its end is lost, too, and another one is at its address.
        let instance = InstanceId(7);
        let refused = EventKind::WatchFailed {
            instance: Some(instance),
            fd: FD,
            path: None,
            mask: 0,
            errno: 28,
            quota: None,
        };
        let told = kept(vec![found(PID, 7), event(PID, refused), replaced(7), created(8)]);
        let all = vec![("found", 7), ("watch-failed", 7), ("release", 7), ("create", 8)];
        assert_eq!(told, (all, vec![]));
    }
}
