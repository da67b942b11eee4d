//! Whatever happened to a file: a clear error, and all that can be read before it and after it.

use bytes::BytesMut;
use inotify_trace_model::{
    event::BootTime,
    feed::{Batch, Item},
};
use proptest::{
    collection::vec, strategy::Strategy as _, strategy::ValueTree as _, test_runner::TestRunner,
};

use super::{boundaries, file, read, read_all, samples};
use crate::recording::{
    Damage, Extent, Reader, RecordingError,
    encode::Encoder,
    frame::{HEAD, Kind, LARGEST, MAGIC, Packer},
    wire,
};

/// A few frames of all sorts, small enough to try every bit.
fn small() -> Vec<u8> {
    let mut runner = TestRunner::deterministic();
    let mut some = |strategy: &dyn Fn(&mut TestRunner) -> Vec<u8>| strategy(&mut runner);
    some(&|runner| {
        let parts = vec(samples::part(), 3).new_tree(runner).unwrap().current();
        let batches = vec(samples::batch(), 3)
            .prop_filter("small", |it| format!("{it:?}").len() < 6000)
            .new_tree(runner)
            .unwrap()
            .current();
        file(&parts, &batches)
    })
}

/// How many items there are in the frames that end before `length`.
fn items_before(bytes: &[u8], length: usize) -> Vec<Item> {
    let ends = boundaries(bytes);
    let end = *ends.iter().rfind(|&&end| end <= length).unwrap();
    if end == MAGIC.len() { Vec::new() } else { read(&bytes[..end]).0 }
}

#[test]
fn a_file_that_ends_anywhere_is_read_up_to_its_last_whole_frame() {
    let bytes = small();
    let ends = boundaries(&bytes);
    assert!(ends.len() >= 4 && bytes.len() < 20_000, "{} bytes", bytes.len());
    for length in 0..=bytes.len() {
        let (items, result) = read(&bytes[..length]);
        match result {
            Ok(()) => assert!(ends[1..].contains(&length), "{length} bytes are no whole frames"),
            Err(RecordingError::Empty) => assert_eq!(length, 0),
            Err(RecordingError::Damaged { offset, what: Damage::Truncated, .. })
            | Err(RecordingError::NoHeader { offset, what: Damage::Truncated }) => {
                let begun = ends.iter().rfind(|&&end| end <= length).copied().unwrap_or(0);
                assert_eq!(offset, begun as u64, "of {length} bytes");
            }
            Err(other) => panic!("{length} bytes: {other}"),
        }
        if length >= MAGIC.len() {
            assert!(items == items_before(&bytes, length), "{length} bytes");
        }
    }
}

#[test]
fn a_flipped_bit_costs_its_frame_and_is_told() {
    let bytes = small();
    let ends = boundaries(&bytes);
    let items_of = |frames: &[usize]| {
        let (begin, header) = (MAGIC.len(), ends[1]);
        let kept: Vec<_> = frames.iter().flat_map(|&at| &bytes[ends[at]..ends[at + 1]]).collect();
        let kept: Vec<u8> = kept.into_iter().copied().collect();
        // Their numbers have gaps, which are told and change nothing.
        read_all(&[&bytes[..begin], &bytes[begin..header], &kept].concat()).0
    };
    let frames: Vec<_> = (1..ends.len() - 1).collect();
    let expected: Vec<_> = frames
        .iter()
        .map(|damaged| {
            let others: Vec<_> = frames.iter().copied().filter(|it| it != damaged).collect();
            items_of(&others)
        })
        .collect();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let (items, errors) = read_all(&damaged);
            let [error] = &errors[..] else { panic!("{at}.{bit}: {errors:?}") };
            if at < 8 {
                assert!(matches!(error, RecordingError::NotOurs), "{at}.{bit}: {error}");
            } else if at < MAGIC.len() {
                let is_said = matches!(
                    error,
                    RecordingError::Newer { .. } | RecordingError::Damaged { offset: 0, .. }
                );
                assert!(is_said, "{at}.{bit}: {error}");
            } else if at < ends[1] {
                let begins = MAGIC.len() as u64;
                let is_said =
                    matches!(error, RecordingError::NoHeader { offset, .. } if *offset == begins);
                assert!(is_said && items.is_empty(), "{at}.{bit}: {error}");
            } else {
                let frame = ends.iter().rposition(|&end| end <= at).unwrap();
                let RecordingError::Damaged { offset, damage, .. } = error else {
                    panic!("{at}.{bit}: {error}")
                };
                assert_eq!(*offset, ends[frame] as u64, "{at}.{bit}");
                let length = (ends[frame + 1] - ends[frame]) as u64;
                let left_out = (frame + 2 < ends.len()).then_some(length);
                assert_eq!(*damage, Extent { frames: 1, left_out }, "{at}.{bit}");
                assert!(items == expected[frame - 1], "{at}.{bit}");
            }
        }
    }
}

/// The frames of a file with its beginning, of which `order` says which come and in which order.
fn rearranged(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let ends = boundaries(bytes);
    let frames = order.iter().flat_map(|&at| &bytes[ends[at]..ends[at + 1]]).copied();
    bytes[..ends[1]].iter().copied().chain(frames).collect()
}

#[test]
fn frames_that_are_missing_twice_there_or_moved_are_told() {
    let batches: Vec<_> =
        (1..=9000).map(|time| Batch { time: BootTime(time), ..Batch::default() }).collect();
    let bytes = frames_of(&batches);
    let all: Vec<_> = (1..boundaries(&bytes).len() - 1).collect();
    assert_eq!(all.len(), 10, "nine, and the end");
    assert_eq!(rearranged(&bytes, &all), bytes);
    let damages = |order: &[usize]| {
        let (items, errors) = read_all(&rearranged(&bytes, order));
        let what = errors.into_iter().map(|error| match error {
            RecordingError::Damaged { what, damage, .. } => (what, damage.frames),
            other => panic!("{other}"),
        });
        (items.len(), what.collect::<Vec<_>>())
    };
    assert_eq!(damages(&[1, 4, 5, 6, 7, 8, 9, 10]), (7001, vec![(Damage::Missing(2), 2)]));
    assert_eq!(damages(&[1, 2, 3, 10]), (3001, vec![(Damage::Missing(6), 6)]));
    let twice = [1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    assert_eq!(damages(&twice), (9001, vec![(Damage::Repeated, 0)]));
    let moved = [1, 3, 2, 4, 5, 6, 7, 8, 9, 10];
    let expected = vec![(Damage::Missing(1), 1), (Damage::Repeated, 0)];
    assert_eq!(damages(&moved), (8001, expected));
    assert_eq!(damages(&[&all[..], &[10]].concat()), (9001, vec![(Damage::AfterEnd, 1)]));
}

/// A file with a frame for each thousand of the batches.
fn frames_of(batches: &[Batch]) -> Vec<u8> {
    let mut out = BytesMut::from(&MAGIC[..]);
    let mut packer = Packer::new().unwrap();
    packer.pack(Kind::Header, &wire::Header::default(), &mut out).unwrap();
    for some in batches.chunks(1000) {
        let mut frame = Encoder::default();
        some.iter().cloned().for_each(|mut batch| frame.batch(&mut batch));
        packer.pack(Kind::Frame, &frame.take(), &mut out).unwrap();
    }
    packer.pack(Kind::End, &wire::End { time: 9001, goes_on: false }, &mut out).unwrap();
    out.to_vec()
}

#[test]
fn rubbish_between_frames_costs_no_frame() {
    let batches: Vec<_> =
        (1..=3000).map(|time| Batch { time: BootTime(time), ..Batch::default() }).collect();
    let bytes = frames_of(&batches);
    let at = boundaries(&bytes)[2];
    // Also of the size of a frame, and what looks like a head.
    let like_a_head = [2_u8, 0, 2, 0, 9, 0, 0, 0, 9, 0, 0, 0, 1, 2, 3, 4].repeat(100);
    for rubbish in [&b"\n"[..], &[0; 100], &[0xff; 5 << 20], &like_a_head] {
        let (items, errors) = read_all(&[&bytes[..at], rubbish, &bytes[at..]].concat());
        assert_eq!(items, read(&bytes).0);
        let damage = Extent { frames: 0, left_out: Some(rubbish.len() as u64) };
        let is_told = |it: &RecordingError| matches!(it, RecordingError::Damaged { damage: it, .. } if *it == damage);
        assert!(errors.len() == 1 && errors.iter().all(is_told), "{errors:?}");
    }
}

#[test]
fn a_search_without_end_is_given_up() {
    // What looks like the head of a large frame, again and again.
    let length = 4_000_000_u32.to_le_bytes();
    let head = [&[2, 0, 0, 0][..], &length, &length, &[0; 4]].concat();
    let good = file(&[], &[]);
    let bytes = [&good[..boundaries(&good)[1]], &head.repeat(1 << 19)].concat();
    let (items, errors) = read_all(&bytes);
    assert_eq!((items.len(), errors.len()), (0, 1));
    let is_all =
        matches!(errors[0], RecordingError::Damaged { damage: Extent { left_out: None, .. }, .. });
    assert!(is_all, "{errors:?}");
}

#[test]
fn other_programs_files_are_refused() {
    let others: [&[u8]; 9] = [
        b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        b"\x28\xb5\x2f\xfd\x04\x00",
        b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00",
        b"PAR1\x15\x04\x15\x00",
        b"{\"event\":\"create\"}\n",
        b"just text\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"x",
    ];
    for bytes in others {
        let error = Reader::new(bytes).expect_err("it is no recording");
        assert!(matches!(error, RecordingError::NotOurs), "{bytes:?}: {error}");
        assert!(error.to_string().contains("inotify-trace record"), "says what would be one");
    }
    // What a transfer in text mode makes of ours.
    let bytes = small();
    let text = bytes.iter().flat_map(|&it| if it == b'\n' { vec![b'\r', it] } else { vec![it] });
    let text: Vec<_> = text.collect();
    assert!(matches!(read(&text).1, Err(RecordingError::NotOurs)));
    assert!(matches!(read(b"").1, Err(RecordingError::Empty)));
}

/// A frame by hand, with a checksum that fits.
fn frame(kind: u8, packing: u8, plain_length: u32, body: &[u8]) -> Vec<u8> {
    // The second one of its file.
    let mut bytes = vec![kind, packing, u8::from(kind != 1), 0];
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend(plain_length.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(body);
    bytes.extend(hasher.finalize().to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The error of a file whose second frame is this.
fn problem(frame: &[u8]) -> (u64, Damage) {
    let good = file(&[], &[]);
    let second = boundaries(&good)[1];
    let bytes = [&good[..second], frame].concat();
    match read(&bytes).1 {
        Err(RecordingError::Damaged { offset, what, .. }) => {
            assert_eq!(offset, second as u64);
            (offset, what)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn lengths_that_are_lies_take_no_memory() {
    // As much as fits into the field, with nothing behind it.
    let mut head = frame(2, 0, 0, b"");
    head[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(problem(&head).1, Damage::Nonsense);
    // The largest there may be, of which there are ten bytes.
    head[4..8].copy_from_slice(&u32::try_from(LARGEST).unwrap().to_le_bytes());
    head.extend([0; 10]);
    assert_eq!(problem(&head).1, Damage::Truncated);
}

#[test]
fn what_unpacks_to_more_than_it_says_is_not_unpacked() {
    let plain = vec![0; 256 << 20];
    let bomb = zstd::bulk::compress(&plain, 3).unwrap();
    drop(plain);
    assert!(bomb.len() < LARGEST);
    for said in [0, 100, u32::try_from(LARGEST).unwrap()] {
        assert_eq!(problem(&frame(2, 1, said, &bomb)).1, Damage::Nonsense, "{said}");
    }
    assert_eq!(problem(&frame(2, 1, u32::MAX, &bomb)).1, Damage::Nonsense);
    // Less than it says is as wrong, and so is what is not packed at all, or in another way.
    let short = zstd::bulk::compress(&[0; 100], 3).unwrap();
    assert_eq!(problem(&frame(2, 1, 101, &short)).1, Damage::Nonsense);
    assert_eq!(problem(&frame(2, 1, 5, b"plain")).1, Damage::Nonsense);
    assert_eq!(problem(&frame(2, 0, 6, b"plain")).1, Damage::Nonsense);
    assert_eq!(problem(&frame(2, 2, 5, b"plain")).1, Damage::Nonsense);
}

#[test]
fn what_is_in_a_frame_must_make_sense() {
    // A field of a length that the frame does not have.
    assert_eq!(problem(&frame(2, 0, 2, b"\x1a\x7f")).1, Damage::Nonsense);
    assert_eq!(problem(&frame(3, 0, 1, b"\x08")).1, Damage::Nonsense);
    // More messages than would ever be written, each of which takes more memory than bytes.
    let empty = [0x22, 0].repeat(LARGEST / 2);
    assert_eq!(
        problem(&frame(2, 0, u32::try_from(empty.len()).unwrap(), &empty)).1,
        Damage::TooMuch
    );
}

fn varint(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number as u64, &mut bytes);
    bytes
}

#[test]
fn a_file_that_does_not_begin_with_a_header_is_damaged_there() {
    let mut out = BytesMut::from(&MAGIC[..]);
    let mut packer = Packer::new().unwrap();
    packer.pack(Kind::Frame, &wire::Frame::default(), &mut out).unwrap();
    let begins = MAGIC.len() as u64;
    let is_there = |bytes: &[u8], expected| match read(bytes).1 {
        Err(RecordingError::NoHeader { offset, what }) => {
            assert_eq!((offset, what), (begins, expected));
        }
        other => panic!("{other:?}"),
    };
    is_there(&out, Damage::Nonsense);
    // Users, and files of sysctls, that take far more memory than bytes.
    let files = |count: usize| [&[0x6a][..], &varint(2 * count), &[0x22, 0].repeat(count)].concat();
    for many in [[0x62, 0].repeat(LARGEST / 2), files(LARGEST / 2 - 8)] {
        let length = u32::try_from(many.len()).unwrap();
        is_there(&[&MAGIC[..], &frame(1, 0, length, &many)].concat(), Damage::TooMuch);
    }
    is_there(&MAGIC, Damage::Truncated);
    is_there(&[&MAGIC[..], &[0; HEAD]].concat(), Damage::Checksum);
}
