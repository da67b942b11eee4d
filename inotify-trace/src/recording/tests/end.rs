//! How far a file goes is what reading all of it says.

use std::{fs, path::Path};

use bytes::BytesMut;
use inotify_trace_model::{
    event::BootTime,
    feed::{Batch, Item},
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::{boundaries, file, read_all, samples};
use crate::recording::{
    End, Header, RecordingError,
    encode::Encoder,
    end,
    frame::{Kind, MAGIC, Packer},
    wire,
};

/// The end of a file with these bytes.
fn end_of(directory: &Path, bytes: &[u8]) -> Result<End, RecordingError> {
    let path = directory.join("a.itrec");
    fs::write(&path, bytes).unwrap();
    end(&path)
}

/// The latest time in all that can be read; the files of these tests begin at 0.
fn latest(bytes: &[u8]) -> BootTime {
    let times = read_all(bytes).0.into_iter().filter_map(|item| match item {
        Item::Batch(batch) => Some(batch.time),
        Item::End(end) => Some(end),
        Item::Restart | Item::Part(_) | Item::Gap => None,
    });
    times.max().unwrap_or_default()
}

fn batch(time: u64) -> Batch {
    Batch { time: BootTime(time), judged: true, events: Vec::new() }
}

/// A file with a frame for each of these times, and with its end if there is one.
fn frames(times: &[Option<u64>], end: Option<u64>) -> Vec<u8> {
    let mut out = BytesMut::from(&MAGIC[..]);
    let mut packer = Packer::new().unwrap();
    packer.pack(Kind::Header, &Header::default().to_wire(), &mut out).unwrap();
    let mut runner = TestRunner::deterministic();
    for time in times {
        let mut frame = Encoder::default();
        match time {
            Some(time) => frame.batch(&mut batch(*time)),
            // State has no time.
            None => frame.part(samples::part().new_tree(&mut runner).unwrap().current()),
        }
        packer.pack(Kind::Frame, &frame.take(), &mut out).unwrap();
    }
    if let Some(time) = end {
        packer.pack(Kind::End, &wire::End { time, goes_on: false }, &mut out).unwrap();
    }
    out.to_vec()
}

#[test]
fn a_file_that_ends_anywhere_goes_as_far_as_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let times: Vec<_> = (1..=40).map(|it| (it % 7 > 2).then_some(it)).collect();
    let bytes = frames(&times, Some(99));
    let first = boundaries(&bytes)[1];
    for length in first..=bytes.len() {
        let found = end_of(directory.path(), &bytes[..length]).unwrap();
        assert_eq!(found.time, latest(&bytes[..length]), "of {length} bytes");
        assert!(!found.is_being_written);
    }
    for length in 0..first {
        assert!(end_of(directory.path(), &bytes[..length]).is_err(), "of {length} bytes");
    }
}

#[test]
fn damage_at_the_end_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = frames(&[Some(1), Some(2), Some(3)], None);
    let ends = boundaries(&bytes);
    for at in ends[3]..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let found = end_of(directory.path(), &damaged).unwrap();
            assert_eq!(found.time, BootTime(2), "{at}.{bit}");
        }
    }
}

#[test]
fn damage_before_the_end_hides_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = frames(&[Some(1), Some(2), Some(3), Some(4)], None);
    let ends = boundaries(&bytes);
    // Lengths, too, by which the last frame is found.
    for at in ends[2]..ends[3] {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let found = end_of(directory.path(), &damaged).unwrap();
            assert_eq!(found.time, BootTime(4), "{at}.{bit}");
        }
    }
}

#[test]
fn times_are_found_behind_much_state() {
    let directory = tempfile::tempdir().unwrap();
    let state = vec![None; 100];
    let time = |times: &[Option<u64>]| end_of(directory.path(), &frames(times, None)).unwrap().time;
    assert_eq!(time(&state), BootTime(0), "the beginning");
    assert_eq!(time(&[&[Some(7)], &state[..]].concat()), BootTime(7));
    assert_eq!(time(&[&state[..], &[Some(7)]].concat()), BootTime(7));
}

#[test]
fn what_is_locked_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.itrec");
    fs::write(&path, frames(&[Some(7)], None)).unwrap();
    let lock = fs::File::open(&path).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(end(&path).unwrap(), End { time: BootTime(7), is_being_written: true });
    drop(lock);
    assert_eq!(end(&path).unwrap(), End { time: BootTime(7), is_being_written: false });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_whole_file_says_itself(
        parts in vec(samples::part(), 0..5),
        batches in vec(samples::batch(), 0..5),
        time in any::<u64>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        prop_assert_eq!(end_of(directory.path(), &file(&parts, &batches)).unwrap().time, BootTime(99));
        // Numbers of every length.
        let bytes = frames(&[Some(5)], Some(time));
        prop_assert_eq!(end_of(directory.path(), &bytes).unwrap().time, BootTime(time));
        let bytes = frames(&[Some(5)], Some(time >> 40));
        prop_assert_eq!(end_of(directory.path(), &bytes).unwrap().time, BootTime(time >> 40));
    }

    #[test]
    fn other_bytes_do_not_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let directory = tempfile::tempdir().unwrap();
        let _ = end_of(directory.path(), &bytes);
        let mut bytes = [frames(&[], None), bytes].concat();
        let found = end_of(directory.path(), &bytes);
        prop_assert_eq!(found.unwrap().time, BootTime(0));
        bytes.truncate(60);
        let _ = end_of(directory.path(), &bytes);
    }
}
