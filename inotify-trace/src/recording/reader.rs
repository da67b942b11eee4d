//! Reads the files of a recording.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use inotify_trace_model::{event::BootTime, feed::Item};
use prost::Message as _;

use crate::regular;

use super::{
    Damage, Header, RecordingError,
    bounds::{self, is_moderate},
    decode::{Decoder, to_part},
    error::Extent,
    frame::{Kind, Unpacker},
    wire,
};

/// The size of the read buffer, in bytes.
const BUFFER: usize = 1 << 20;

/// Reads a file from its beginning to its end, one frame at a time.
#[derive(Debug)]
pub struct Reader<R> {
    frames: Unpacker<R>,
    header: Header,
    frame: Option<Pieces>,
    /// The last frame of the file.
    end: Option<wire::End>,
    /// Whether nothing more is read.
    is_over: bool,
}

/// The rest of a frame.
#[derive(Debug)]
struct Pieces {
    restarts: bool,
    parts: std::vec::IntoIter<wire::Part>,
    events: Decoder,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is no recording that this version understands.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let file = regular::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RecordingError::NotThere,
            _ => RecordingError::Read(error),
        })?;
        Self::new(BufReader::with_capacity(BUFFER, file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If the input cannot be read, or is no recording that this version understands.
    pub fn new(input: R) -> Result<Self, RecordingError> {
        let mut frames = Unpacker::new(input)?;
        let offset = frames.offset();
        let damaged = |what| RecordingError::NoHeader { offset, what };
        let (kind, bytes) = match frames.next() {
            Ok(first) => first.ok_or(damaged(Damage::Truncated))?,
            Err(RecordingError::Damaged { what, .. }) => return Err(damaged(what)),
            Err(error) => return Err(error),
        };
        if kind != Kind::Header {
            return Err(damaged(Damage::Nonsense));
        }
        if !is_moderate(&bytes, bounds::HEADER) {
            return Err(damaged(Damage::TooMuch));
        }
        let header = wire::Header::decode(&*bytes).map_err(|_| damaged(Damage::Nonsense))?;
        Ok(Self {
            frames,
            header: Header::from_wire(header),
            frame: None,
            end: None,
            is_over: false,
        })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The offset of the next frame, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.frames.offset()
    }

    /// Whether another file follows; None if the end of this one was not read.
    #[must_use]
    pub fn goes_on(&self) -> Option<bool> {
        self.end.as_ref().map(|end| end.goes_on)
    }

    /// The next item; None at the end of the file.
    ///
    /// # Errors
    /// If the next frame cannot be read. The next call returns what comes after the damage.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        loop {
            if let Some(item) = self.frame.as_mut().and_then(Pieces::next) {
                return Ok(Some(item));
            }
            self.frame = None;
            if self.is_over {
                return Ok(None);
            }
            let offset = self.frames.offset();
            let next = self.frames.next();
            if self.end.is_some() {
                self.is_over = true;
                return match next {
                    Ok(None) => Ok(None),
                    _ => Err(RecordingError::damaged(offset, Damage::AfterEnd)),
                };
            }
            let Some((kind, bytes)) = next? else { return Ok(None) };
            // What follows can be read, whatever is in this one.
            let left_out = Some(self.frames.offset() - offset);
            let damage = Extent { frames: 1, left_out };
            let damaged = |what| RecordingError::Damaged { offset, what, damage };
            match kind {
                Kind::Frame => {
                    if !is_moderate(&bytes, bounds::FRAME) {
                        return Err(damaged(Damage::TooMuch));
                    }
                    let mut frame =
                        wire::Frame::decode(&*bytes).map_err(|_| damaged(Damage::Nonsense))?;
                    self.frame = Some(Pieces {
                        restarts: frame.restarts,
                        parts: std::mem::take(&mut frame.parts).into_iter(),
                        events: Decoder::new(frame),
                    });
                }
                Kind::End => {
                    let end = wire::End::decode(&*bytes).map_err(|_| damaged(Damage::Nonsense))?;
                    let time = BootTime(end.time);
                    self.end = Some(end);
                    return Ok(Some(Item::End(time)));
                }
                // A second header has no meaning; unknown kinds are those of newer versions.
                Kind::Header | Kind::Unknown => {}
            }
        }
    }
}

impl Pieces {
    fn next(&mut self) -> Option<Item> {
        if std::mem::take(&mut self.restarts) {
            return Some(Item::Restart);
        }
        self.parts
            .find_map(to_part)
            .map(Item::Part)
            .or_else(|| self.events.batch().map(Item::Batch))
    }
}
