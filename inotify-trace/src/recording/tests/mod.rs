//! Recordings are read as written, damage is reported, and recording continues after a full disk.

mod codec;
mod damage;
mod end;
mod evolution;
mod files;
mod fixture;
mod gaps;
mod samples;
mod schema;
mod seeds;
mod writing;

use bytes::BytesMut;
use inotify_trace_model::{
    event::BootTime,
    feed::{Batch, Item},
    tracker::Part,
};

use super::{
    Header, Reader, RecordingError,
    encode::Encoder,
    frame::{Kind, MAGIC, Packer},
    wire,
};

/// A file with these frames, as the writer makes it.
fn file(parts: &[Part], batches: &[Batch]) -> Vec<u8> {
    let mut out = BytesMut::from(&MAGIC[..]);
    let mut packer = Packer::new().unwrap();
    let header = Header { host: "here".to_owned(), ..Header::default() };
    packer.pack(Kind::Header, &header.to_wire(), &mut out).unwrap();
    let mut frame = Encoder::default();
    let mut pack = |frame: &mut Encoder| packer.pack(Kind::Frame, &frame.take(), &mut out).unwrap();
    if !parts.is_empty() {
        frame.restart();
    }
    for part in parts {
        frame.part(part.clone());
        if frame.is_full() {
            pack(&mut frame);
        }
    }
    for mut batch in batches.iter().cloned() {
        loop {
            frame.batch(&mut batch);
            if frame.is_full() {
                pack(&mut frame);
            }
            if batch.events.is_empty() {
                break;
            }
        }
    }
    pack(&mut frame);
    packer.pack(Kind::End, &wire::End { time: 99, goes_on: false }, &mut out).unwrap();
    out.to_vec()
}

/// All that can be read, and why it ends there if that is not the end of the file.
fn read(bytes: &[u8]) -> (Vec<Item>, Result<(), RecordingError>) {
    let mut items = Vec::new();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (items, Err(error)),
    };
    loop {
        match reader.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, Ok(())),
            Err(error) => return (items, Err(error)),
        }
    }
}

/// All that can be read, and all that cannot.
fn read_all(bytes: &[u8]) -> (Vec<Item>, Vec<RecordingError>) {
    let (mut items, mut errors) = (Vec::new(), Vec::new());
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (items, vec![error]),
    };
    loop {
        match reader.next_item() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, errors),
            Err(error) => errors.push(error),
        }
    }
}

/// The items of [`file`].
fn items(parts: &[Part], batches: &[Batch]) -> Vec<Item> {
    let restart = (!parts.is_empty()).then_some(Item::Restart);
    let parts = parts.iter().cloned().map(Item::Part);
    let batches = batches.iter().cloned().map(Item::Batch);
    restart.into_iter().chain(parts).chain(batches).chain([Item::End(BootTime(99))]).collect()
}

/// Where frames begin, and where the last one ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut at = MAGIC.len();
    let mut all = vec![at];
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        at += super::frame::HEAD + length as usize;
        all.push(at);
    }
    all
}
