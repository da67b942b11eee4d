//! What later versions may write, and this one must read past.

use bytes::{BufMut as _, BytesMut};
use inotify_trace_model::{
    event::{BootTime, Event, EventKind, Loss},
    feed::{Batch, Item},
};
use prost::Message as _;

use super::{boundaries, file, items, read};
use crate::recording::{RecordingError, wire};

fn batch(kind: EventKind) -> Batch {
    let event = Event { time: BootTime(5), task: None, kind };
    Batch { time: BootTime(6), judged: false, events: vec![event] }
}

/// The frame with another number.
fn numbered(frame: &[u8], number: u16) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[2..4].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&[&frame[..12], &frame[16..]].concat());
    frame[12..16].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// A file with one more frame before its last, of any kind and content.
fn with_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let bytes = file(&[], &[batch(EventKind::ProcessExited)]);
    let ends = boundaries(&bytes);
    let number = u16::try_from(ends.len() - 2).unwrap();
    let (before, end) = bytes.split_at(ends[ends.len() - 2]);
    let end = numbered(end, number + 1);
    let mut head = BytesMut::new();
    head.put_u8(kind);
    head.put_u8(0);
    head.put_u16_le(number);
    for _ in 0..2 {
        head.put_u32_le(u32::try_from(body.len()).unwrap());
    }
    let checksum = crc32fast::hash(&[&head[..], body].concat());
    head.put_u32_le(checksum);
    [before, &head, body, &end].concat()
}

#[test]
fn a_later_format_is_refused_by_number() {
    let mut bytes = file(&[], &[]);
    bytes[8..10].copy_from_slice(&2_u16.to_le_bytes());
    let error = read(&bytes).1.unwrap_err();
    assert!(matches!(error, RecordingError::Newer { version: 2, known: 1 }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("format 2") && said.contains("newer inotify-trace"), "{said}");
}

#[test]
fn frames_of_unknown_kinds_are_passed_over() {
    let expected = items(&[], &[batch(EventKind::ProcessExited)]);
    for kind in [0, 4, 200, 255] {
        let (items, result) = read(&with_frame(kind, b"whatever it is"));
        result.unwrap();
        assert_eq!(items, expected, "{kind}");
    }
}

#[test]
fn unknown_events_are_told_as_losses_and_unknown_parts_and_fields_are_passed_over() {
    // Field 99 does not exist.
    let unknown = [0x9a, 0x06, 3, b'n', b'e', b'w'];
    let mut exit = wire::Event {
        time: 7,
        kind: Some(wire::Kind::ProcessExited(wire::Nothing {})),
        ..wire::Event::default()
    }
    .encode_to_vec();
    exit.extend(unknown);
    let mut event = wire::Event { time: 1, ..wire::Event::default() }.encode_to_vec();
    event.extend(unknown);
    let mut frame = BytesMut::new();
    frame.put_slice(&unknown);
    let mut message = |number: u8, body: &[u8]| {
        frame.put_u8(number << 3 | 2);
        frame.put_u8(u8::try_from(body.len()).unwrap());
        frame.put_slice(body);
    };
    message(4, &unknown);
    let mut batch = vec![8, 9];
    for event in [&exit, &event] {
        batch.push(3 << 3 | 2);
        batch.push(u8::try_from(event.len()).unwrap());
        batch.extend(event);
    }
    message(3, &batch);
    let (items, result) = read(&with_frame(2, &frame));
    result.unwrap();
    let event = |time, kind| Event { time: BootTime(time), task: None, kind };
    let lost = EventKind::Lost { count: 1, what: Loss::Records };
    let events = vec![event(7, EventKind::ProcessExited), event(8, lost)];
    assert_eq!(items[1], Item::Batch(Batch { time: BootTime(9), judged: false, events }));
    assert_eq!(items.len(), 3);
}

#[test]
fn places_that_are_not_in_the_lists_are_nobody() {
    let event = wire::Event {
        task: 3,
        payer: u32::MAX,
        kind: Some(wire::Kind::InstanceReleased(wire::Released { fd: None })),
        ..wire::Event::default()
    };
    let batch = wire::Batch { events: vec![event], ..wire::Batch::default() };
    let frame = wire::Frame { batches: vec![batch], ..wire::Frame::default() };
    let (items, result) = read(&with_frame(2, &frame.encode_to_vec()));
    result.unwrap();
    let Item::Batch(batch) = &items[1] else { panic!("{items:?}") };
    assert_eq!((batch.events[0].task, batch.events[0].kind.quota()), (None, None));
}

#[test]
fn a_second_header_changes_nothing() {
    let header = wire::Header { host: "elsewhere".to_owned(), ..wire::Header::default() };
    let bytes = with_frame(1, &header.encode_to_vec());
    assert_eq!(read(&bytes).0, items(&[], &[batch(EventKind::ProcessExited)]));
}
