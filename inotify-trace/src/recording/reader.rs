//! Reads the files of a recording.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use inotify_trace_model::{event::BootTime, feed::Item};

use crate::regular;

use super::{
    Damage, Header, RecordingError,
    bounds::{self, is_moderate},
    decode::{Decoder, to_part},
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
        let file = regular::open(path).map_err(RecordingError::Read)?;
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
        let damaged = |what| RecordingError::Damaged { offset, what };
        let (kind, bytes) = frames.next()?.ok_or(damaged(Damage::Truncated))?;
        if kind != Kind::Header {
            return Err(damaged(Damage::Nonsense));
        }
        if !is_moderate(&bytes, bounds::HEADER) {
            return Err(damaged(Damage::TooMuch));
        }
        let header = decode::<wire::Header>(&bytes, offset)?;
        Ok(Self { frames, header: Header::from_wire(header), frame: None })
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

    /// The next item; None at the end of the file.
    ///
    /// # Errors
    /// If the next frame cannot be read. No frame after it can.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        loop {
            if let Some(item) = self.frame.as_mut().and_then(Pieces::next) {
                return Ok(Some(item));
            }
            self.frame = None;
            let offset = self.frames.offset();
            let Some((kind, bytes)) = self.frames.next()? else { return Ok(None) };
            match kind {
                Kind::Frame => {
                    if !is_moderate(&bytes, bounds::FRAME) {
                        let what = Damage::TooMuch;
                        return Err(RecordingError::Damaged { offset, what });
                    }
                    let mut frame = decode::<wire::Frame>(&bytes, offset)?;
                    self.frame = Some(Pieces {
                        restarts: frame.restarts,
                        parts: std::mem::take(&mut frame.parts).into_iter(),
                        events: Decoder::new(frame),
                    });
                }
                Kind::End => {
                    let wire::End { time } = decode(&bytes, offset)?;
                    return Ok(Some(Item::End(BootTime(time))));
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

fn decode<M: prost::Message + Default>(bytes: &[u8], offset: u64) -> Result<M, RecordingError> {
    M::decode(bytes).map_err(|_| RecordingError::Damaged { offset, what: Damage::Nonsense })
}
