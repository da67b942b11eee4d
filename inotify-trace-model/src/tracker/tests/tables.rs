//! Threads with a descriptor table of their own.

use super::*;

/// An event of thread 11 of process 10, which has its own table.
fn by_thread(kind: EventKind) -> Event {
    let task = Task { tid: 11, table: Some(11), ..task(10) };
    Event { time: BootTime(10), task: Some(task), kind }
}

fn of_thread(event: Event) -> Event {
    by_thread(event.kind)
}

/// The holders of an instance, if it exists.
fn holders(tracker: &Tracker, id: u64) -> Option<Vec<(u32, Table, i32)>> {
    let descriptors = tracker.instance(InstanceId(id))?.descriptors().iter();
    Some(descriptors.map(|it| (it.pid, it.table, it.fd)).collect())
}

/// Descriptor 3 is one instance in the table of the process, and another in that of a thread, which
/// has another one more.
fn both() -> Tracker {
    tracker_after(&[created(10, 3, 1), of_thread(created(10, 3, 2)), of_thread(created(10, 4, 3))])
}

#[test]
fn the_same_number_is_another_descriptor_in_another_table() {
    let mut tracker = both();
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 2).unwrap(), [(10, Some(11), 3)]);
    // Both are of one process.
    assert_eq!(tracker.processes().count(), 1);
    tracker.apply(&of_thread(closed(10, 3, 2)));
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 2).unwrap(), []);
    tracker.apply(&by(10, EventKind::RangeClosed { first: 0, last: i32::MAX }));
    assert_eq!(holders(&tracker, 1).unwrap(), []);
    assert_eq!(holders(&tracker, 3).unwrap(), [(10, Some(11), 4)]);
}

#[test]
fn a_thread_that_ends_takes_its_table_and_a_process_takes_all() {
    let mut tracker = both();
    tracker.apply(&by_thread(EventKind::ProcessExited));
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 2).unwrap(), []);
    let left = tracker.instance(InstanceId(3)).unwrap().leavers[0];
    assert_eq!((left.task.table, left.how), (Some(11), Departure::Exited));
    let mut tracker = both();
    tracker.apply(&by(10, EventKind::ProcessExited));
    assert!((1..4).all(|id| holders(&tracker, id).unwrap().is_empty()));
    assert_eq!(tracker.processes().count(), 0);
}

#[test]
fn a_child_has_the_table_of_the_thread_that_forked() {
    let mut tracker = both();
    tracker.apply(&by_thread(EventKind::ProcessForked { child: 20 }));
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 2).unwrap(), [(10, Some(11), 3), (20, None, 3)]);
    tracker.apply(&by(10, EventKind::ProcessForked { child: 21 }));
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3), (21, None, 3)]);
}

#[test]
fn an_exec_keeps_the_table_of_the_thread_that_did_it() {
    let mut tracker = both();
    tracker.apply(&by_thread(EventKind::ProcessExec { kept: Some(vec![3]) }));
    assert_eq!(holders(&tracker, 1).unwrap(), []);
    assert_eq!(holders(&tracker, 2).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 3).unwrap(), []);
    assert_eq!(tracker.process(10).unwrap().task.table, None);
    let mut tracker = both();
    tracker.apply(&by(10, EventKind::ProcessExec { kept: Some(vec![3]) }));
    assert_eq!(holders(&tracker, 1).unwrap(), [(10, None, 3)]);
    assert_eq!(holders(&tracker, 2).unwrap(), []);
}

#[test]
fn a_state_keeps_tables_apart() {
    let tracker = both();
    let mut restored = Tracker::new();
    tracker.parts().into_iter().for_each(|part| restored.restore(part));
    for id in 1..4 {
        assert_eq!(holders(&restored, id), holders(&tracker, id));
    }
    assert_eq!(restored.process(10), tracker.process(10));
}
