//! Who ended an instance: what follows from what its holders did, whenever the end is noticed.

use super::*;

/// Long after everything else: an answer must not depend on it.
const LATE: BootTime = BootTime(3_600_000_000_000);

fn forked(pid: u32, child: u32) -> Event {
    by(pid, EventKind::ProcessForked { child })
}

fn executed(pid: u32, kept: &[i32]) -> Event {
    by(pid, EventKind::ProcessExec { kept: Some(kept.to_vec()) })
}

fn exited(pid: u32) -> Event {
    by(pid, EventKind::ProcessExited)
}

/// Instance 1 still exists, without a known holder.
fn still_held() -> Event {
    let kind = EventKind::InstanceHeld { instance: InstanceId(1), left: 1, quota: None };
    Event { time: LATE, task: None, kind }
}

fn noticed() -> Event {
    Event { time: LATE, ..gone(1) }
}

/// As an exact backend reports it: the process, without how.
fn told_by(pid: u32) -> Event {
    let kind = EventKind::InstanceReleased { instance: InstanceId(1), fd: None, quota: None };
    Event { time: LATE, ..by(pid, kind) }
}

/// Who ended instance 1, which `end` tells, with which descriptor, and how.
fn end_of(story: &[Event], end: Event) -> Option<(u32, Option<i32>, Departure)> {
    let mut tracker = tracker_after(story);
    tracker.apply(&end);
    assert_eq!(tracker.instance(InstanceId(1)), None);
    let ended_by = tracker.subject(&end).unwrap().ended_by;
    ended_by.map(|leaver| (leaver.task.pid, leaver.fd, leaver.how))
}

const CLOSED: Departure = Departure::Closed;
const EXECUTED: Departure = Departure::Executed;
const EXITED: Departure = Departure::Exited;

#[test]
fn the_last_of_the_holders_to_leave_ended_it() {
    let both_left = [created(10, 3, 1), forked(10, 11), exited(10), executed(11, &[])];
    assert_eq!(end_of(&both_left, noticed()), Some((11, Some(3), EXECUTED)));
    let both_left = [created(10, 3, 1), forked(10, 11), executed(11, &[]), exited(10)];
    assert_eq!(end_of(&both_left, noticed()), Some((10, Some(3), EXITED)));
    let alone = [created(10, 3, 1), by(10, EventKind::RangeClosed { first: 3, last: 9 })];
    assert_eq!(end_of(&alone, noticed()), Some((10, Some(3), CLOSED)));
}

#[test]
fn it_ended_when_its_last_holder_left() {
    let mut tracker = tracker_after(&[created(10, 3, 1), exited(10)]);
    tracker.apply(&noticed());
    let instance = tracker.subject(&noticed()).unwrap();
    assert_eq!(instance.ended(&noticed()), exited(10).time);
}

#[test]
fn what_outlives_its_holders_was_ended_by_nobody_known() {
    let alone = [created(10, 3, 1), exited(10), still_held()];
    assert_eq!(end_of(&alone, noticed()), None);
    // A process seen to hold it afterwards may end it again.
    let mut again = alone.to_vec();
    again.extend([found(12, 5, 1), exited(12)]);
    assert_eq!(end_of(&again, noticed()), Some((12, Some(5), EXITED)));
}

#[test]
fn a_close_that_leaves_references_does_not_end_it() {
    let closed_once = [created(10, 3, 1), closed(10, 3, 1)];
    assert_eq!(end_of(&closed_once, noticed()), None);
    // Another process that left at the same time may have held it a moment longer.
    let other = [created(10, 3, 1), forked(10, 11), exited(11), closed(10, 3, 1)];
    assert_eq!(end_of(&other, noticed()), Some((11, Some(3), EXITED)));
}

#[test]
fn the_only_holder_that_did_not_leave_closed_it_unseen() {
    let one = [created(10, 3, 1)];
    assert_eq!(end_of(&one, noticed()), Some((10, Some(3), CLOSED)));
    let twice = [created(10, 3, 1), found(10, 4, 1)];
    assert_eq!(end_of(&twice, noticed()), Some((10, None, CLOSED)));
}

#[test]
fn of_several_who_may_have_ended_it_nobody_is_named() {
    let two = [created(10, 3, 1), forked(10, 11)];
    assert_eq!(end_of(&two, noticed()), None);
    // One left, and the other, who did not, closed it unseen: before that, or after.
    let one_of_two = [created(10, 3, 1), forked(10, 11), executed(11, &[])];
    assert_eq!(end_of(&one_of_two, noticed()), None);
}

#[test]
fn a_descriptor_that_is_used_again_was_closed_unseen() {
    let reused = [created(10, 3, 1), created(10, 3, 2)];
    assert_eq!(end_of(&reused, noticed()), Some((10, Some(3), CLOSED)));
}

#[test]
fn an_end_that_the_kernel_tells_is_by_its_own_task() {
    assert_eq!(end_of(&[created(10, 3, 1)], told_by(10)), Some((10, None, CLOSED)));
    let left = [created(10, 3, 1), exited(10)];
    assert_eq!(end_of(&left, told_by(10)), Some((10, Some(3), EXITED)));
    // Somebody who was not known to hold it.
    assert_eq!(end_of(&left, told_by(11)), Some((11, None, CLOSED)));
}

#[test]
fn of_processes_killed_together_it_is_the_one_the_kernel_names() {
    let killed = [created(10, 3, 1), forked(10, 11), exited(10), exited(11)];
    assert_eq!(end_of(&killed, told_by(10)), Some((10, Some(3), EXITED)));
    assert_eq!(end_of(&killed, told_by(11)), Some((11, Some(3), EXITED)));
}

#[test]
fn a_program_that_kept_a_descriptor_closes_it_itself() {
    let kept = [created(10, 3, 1), found(10, 4, 1), executed(10, &[4])];
    assert_eq!(end_of(&kept, told_by(10)), Some((10, None, CLOSED)));
}

#[test]
fn few_of_many_that_left_are_remembered() {
    let mut story = vec![created(10, 3, 1)];
    for child in 100..200 {
        story.extend([forked(10, child), executed(child, &[])]);
    }
    let tracker = tracker_after(&story);
    assert!(tracker.instance(InstanceId(1)).unwrap().leavers.len() <= 16);
    story.push(exited(10));
    assert_eq!(end_of(&story, noticed()), Some((10, Some(3), EXITED)));
}
