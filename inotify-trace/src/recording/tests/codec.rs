//! Encoding and decoding return the same events and state.

use inotify_trace_model::{
    event::{BootTime, CgroupId, Event, EventKind, InstanceId},
    feed::{Batch, Item},
    tracker::{Lifetimes, Part, Process},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::{
    file, items, read,
    samples::{self, KINDS, which},
};

#[test]
fn every_kind_is_made() {
    let mut seen = [false; KINDS];
    let mut runner = TestRunner::deterministic();
    for _ in 0..2000 {
        let kind = samples::kind().new_tree(&mut runner).unwrap().current();
        seen[which(&kind)] = true;
    }
    assert_eq!(seen, [true; KINDS]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_is_what_is_read(
        parts in vec(samples::part(), 0..4),
        batches in vec(samples::batch(), 0..4),
    ) {
        let bytes = file(&parts, &batches);
        let (read, result) = read(&bytes);
        prop_assert!(result.is_ok(), "{result:?}");
        prop_assert_eq!(read, items(&parts, &batches));
    }

    #[test]
    fn what_is_read_is_written_the_same_way(batches in vec(samples::batch(), 0..4)) {
        let bytes = file(&[], &batches);
        let again: Vec<_> = read(&bytes).0.into_iter().filter_map(|item| match item {
            Item::Batch(batch) => Some(batch),
            _ => None,
        }).collect();
        prop_assert_eq!(file(&[], &again), bytes);
    }
}

fn exits(count: u64) -> Vec<Event> {
    let event = |time| Event { time: BootTime(time), task: None, kind: EventKind::ProcessExited };
    (0..count).map(event).collect()
}

#[test]
fn a_batch_that_is_cut_keeps_its_order_and_is_judged_at_its_end() {
    let batch = Batch { time: BootTime(7), judged: true, events: exits(50_000) };
    let (read, result) = read(&file(&[], std::slice::from_ref(&batch)));
    result.unwrap();
    let mut events = Vec::new();
    let mut judged = Vec::new();
    for item in read {
        if let Item::Batch(piece) = item {
            assert_eq!(piece.time, BootTime(7));
            judged.push(piece.judged);
            events.extend(piece.events);
        }
    }
    assert!(judged.len() > 1, "it fits into one frame");
    assert_eq!(judged.pop(), Some(true));
    assert!(!judged.contains(&true));
    assert_eq!(events, batch.events);
}

#[test]
fn however_much_a_part_or_an_event_has_it_fits_into_frames() {
    // Each could be packed alone; together they are more than a frame takes.
    let process = |pid: u32| {
        let task = inotify_trace_model::event::Task { pid, ..Default::default() };
        let descriptors =
            (0..1024).map(|fd| ((Some(u32::MAX), fd), InstanceId(u64::MAX))).collect();
        let (began, closed) = (None, Lifetimes::default());
        Part::Process(Process { task, descriptors, began, closed, shim: None, program: None })
    };
    let parts: Vec<_> = (0..600).map(process).collect();
    let failed = |time| Event {
        time: BootTime(time),
        task: None,
        kind: EventKind::CgroupCreated { cgroup: CgroupId(time), path: "x".repeat(4096).into() },
    };
    let kept = |time| Event {
        time: BootTime(time),
        task: None,
        kind: EventKind::ProcessExec { kept: Some(vec![i32::MIN; 20_000]) },
    };
    let events = (0..3000).map(failed).chain((3000..3100).map(kept)).collect();
    let batch = Batch { time: BootTime(5), judged: false, events };
    let (read, result) = read(&file(&parts, std::slice::from_ref(&batch)));
    result.unwrap();
    let (mut again, mut events) = (Vec::new(), Vec::new());
    for item in read {
        match item {
            Item::Part(part) => again.push(part),
            Item::Batch(batch) => events.extend(batch.events),
            Item::Restart | Item::Gap | Item::End(_) => {}
        }
    }
    assert!(again == parts);
    assert!(events == batch.events);
}

#[test]
fn names_that_are_equal_are_equal_whatever_the_kernel_left_behind_them() {
    let name = inotify_trace_model::event::Comm::new(*b"sh\0leftover\0\0\0\0\0");
    assert_eq!(name, "sh".into());
}
