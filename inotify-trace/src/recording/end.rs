//! Finds the end of a recording's file, without reading all of it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use inotify_trace_model::{event::BootTime, feed::Item};
use prost::Message as _;

use crate::regular;

use super::{
    Reader, RecordingError,
    bounds::{self, is_moderate},
    frame::{HEAD, Kind, LARGEST, Unpacker, announced},
    store, wire,
};

/// The longest body of the frame that ends a file: a number of 64 bits and a truth value, each with its
/// field's number.
const LONGEST_END: usize = 13;

/// The number of last frames that are searched for a time. A frame may be damaged, or be state, which
/// has none.
const LAST_FRAMES: usize = 16;

/// The end of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The last time in the file.
    pub time: BootTime,
    /// Whether a recorder is writing it.
    pub is_being_written: bool,
}

/// The end of a file: from its last frame if it was closed properly, otherwise from one of its last
/// frames. The whole file is read only if these have no time, or if it is damaged.
///
/// # Errors
/// If the file cannot be read, or is no recording that this version understands.
pub fn end(path: &Path) -> Result<End, RecordingError> {
    let mut file = regular::open(path).map_err(RecordingError::Read)?;
    if let Some(time) = final_frame(&mut file).map_err(RecordingError::Read)? {
        return Ok(End { time, is_being_written: false });
    }
    file.rewind().map_err(RecordingError::Read)?;
    let mut input = BufReader::new(file);
    let (started, first) = {
        let reader = Reader::new(&mut input)?;
        (reader.header().started, reader.offset())
    };
    let time = match last_time(&mut input, first).map_err(RecordingError::Read)? {
        Some(time) => time,
        None => scan(Reader::open(path)?),
    };
    Ok(End { time: time.max(started), is_being_written: store::is_being_written(path) })
}

/// The time at which the file was closed properly; None if it was not.
fn final_frame(file: &mut File) -> io::Result<Option<BootTime>> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail_length = length.min((HEAD + LONGEST_END) as u64);
    file.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    file.take(tail_length).read_to_end(&mut tail)?;
    let is_final = |bytes: &&[u8]| {
        announced(bytes).is_some_and(|(kind, body)| kind == Kind::End && HEAD + body == bytes.len())
    };
    Ok((0..tail.len()).map(|start| &tail[start..]).filter(is_final).find_map(|bytes| {
        // The checksum distinguishes it from bytes of another frame that look alike.
        let (kind, body) = Unpacker::at(bytes, 0).ok()?.next().ok()??;
        time_of(kind, &body)
    }))
}

/// The time of the last frame that has one, of the last few that begin at `first` or later; None if
/// they have none, or if frames do not follow each other up to the end of the file.
fn last_time(input: &mut BufReader<File>, first: u64) -> io::Result<Option<BootTime>> {
    let mut frames = VecDeque::new();
    let file_length = input.seek(SeekFrom::End(0))?;
    let mut at = first;
    input.seek(SeekFrom::Start(at))?;
    let mut head = Vec::new();
    loop {
        head.clear();
        input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        if head.is_empty() && at == file_length {
            break;
        }
        let Some((_, length)) = announced(&head).filter(|&(_, length)| length <= LARGEST) else {
            return Ok(None);
        };
        if frames.len() == LAST_FRAMES {
            frames.pop_front();
        }
        frames.push_back(at);
        at += (HEAD + length) as u64;
        input.seek_relative(i64::try_from(length).unwrap_or(i64::MAX))?;
    }
    for &at in frames.iter().rev() {
        input.seek(SeekFrom::Start(at))?;
        let frame = Unpacker::at(&mut *input, at).and_then(|mut frames| frames.next());
        match frame {
            Ok(Some((kind, body))) => {
                if let Some(time) = time_of(kind, &body) {
                    return Ok(Some(time));
                }
            }
            Err(RecordingError::Read(error)) => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}

/// The last time in a frame.
fn time_of(kind: Kind, body: &[u8]) -> Option<BootTime> {
    match kind {
        Kind::Frame if is_moderate(body, bounds::FRAME) => {
            let frame = wire::Frame::decode(body).ok()?;
            frame.batches.last().map(|batch| BootTime(batch.time))
        }
        Kind::End => wire::End::decode(body).ok().map(|end| BootTime(end.time)),
        _ => None,
    }
}

/// The last time in the readable part of a file.
fn scan(mut reader: Reader<BufReader<File>>) -> BootTime {
    let mut time = reader.header().started;
    loop {
        match reader.next_item() {
            Ok(Some(Item::Batch(batch))) => time = time.max(batch.time),
            Ok(Some(Item::End(end))) => time = time.max(end),
            Ok(Some(Item::Restart | Item::Part(_) | Item::Gap))
            | Err(RecordingError::Damaged { .. }) => {}
            Ok(None) | Err(_) => return time,
        }
    }
}
