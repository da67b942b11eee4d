//! Frames: the pieces of a recording, each of which can be checked by itself.
//!
//! A file begins with [`MAGIC`]. Each frame has a head of sixteen bytes, all numbers little-endian:
//! its kind (one byte), its compression (one byte), its number in the file (two bytes), the length
//! of the body, its unpacked length, and the CRC-32 (IEEE 802.3) of all of these and of the body.
//!
//! A damaged frame costs itself: the reader searches for the next one. Numbers show how many are
//! missing, also if they were cut out without a trace.

use std::io::{self, Read};

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message;

use super::{Damage, RecordingError, error::Extent};

/// The first bytes of each file: the signature (with bytes that a transfer as text changes), and the
/// version of the format in the last two.
pub(super) const MAGIC: [u8; 10] = *b"\x89inotrc\n\x01\x00";

/// The length of the signature.
const SIGNATURE: usize = 8;

/// The version of the format. Higher versions cannot be read.
pub const VERSION: u16 = 1;

/// Bytes in front of a frame.
pub(super) const HEAD: usize = 16;

/// The largest frame, packed and unpacked, in bytes: this tool writes no larger ones.
pub(super) const LARGEST: usize = 4 << 20;

/// Frames below this many bytes do not become smaller.
const WORTH_PACKING: usize = 64;

/// zstd's own default: higher levels gain a tenth in size, and cost several times as much.
const LEVEL: i32 = 3;

/// The number of bytes before the checksum in a frame's head.
const CHECKED: usize = 12;

/// How many bytes of frames the search after damage may check in a file: a file made for it could
/// have what looks like a head at every sixteenth byte. Files of this tool have next to none.
const SEARCHED: usize = 1 << 30;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The first frame, about the machine and the run.
    Header,
    /// Events and state.
    Frame,
    /// The last frame of a file that was closed properly.
    End,
    /// A kind of a newer version; readers skip it.
    Unknown,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Header => 1,
            Self::Frame => 2,
            Self::End => 3,
        }
    }

    fn from_number(number: u8) -> Self {
        let all = [Self::Header, Self::Frame, Self::End];
        all.into_iter().find(|kind| kind.number() == number).unwrap_or(Self::Unknown)
    }
}

/// The kind of the frame that begins with `head`, and the length of its body in bytes. The head may
/// be damaged: its checksum is not checked. None if it is incomplete.
pub(super) fn announced(head: &[u8]) -> Option<(Kind, usize)> {
    let head = Head::read(head)?;
    Some((head.kind, head.length))
}

/// The head of a frame.
struct Head {
    kind: Kind,
    packing: u8,
    number: u16,
    length: usize,
    plain_length: usize,
    checksum: u32,
}

impl Head {
    /// None if it is incomplete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.get(..HEAD)?;
        Some(Self {
            kind: Kind::from_number(rest.get_u8()),
            packing: rest.get_u8(),
            number: rest.get_u16_le(),
            length: rest.get_u32_le() as usize,
            plain_length: rest.get_u32_le() as usize,
            checksum: rest.get_u32_le(),
        })
    }

    /// Whether this tool may have written it. Its lengths have zero bytes, and so no name or path
    /// that a container chose can be taken for a head.
    fn is_plausible(&self) -> bool {
        let is_right_size = match self.packing {
            0 => self.length == self.plain_length,
            1 => self.length < self.plain_length,
            _ => false,
        };
        self.kind != Kind::Unknown && is_right_size && self.plain_length <= LARGEST
    }
}

/// Packs frames.
pub(super) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    plain: BytesMut,
    /// The number of the next frame in its file; after the highest it begins with 0 again.
    pub(super) number: u16,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { compressor, plain: BytesMut::new(), number: 0 })
    }

    /// Adds a frame to `out`.
    ///
    /// # Errors
    /// If it is larger than [`LARGEST`].
    pub(super) fn pack(
        &mut self,
        kind: Kind,
        message: &impl Message,
        out: &mut BytesMut,
    ) -> io::Result<()> {
        self.plain.clear();
        self.plain.reserve(message.encoded_len());
        message.encode(&mut self.plain).map_err(io::Error::other)?;
        if self.plain.len() > LARGEST {
            return Err(io::Error::other("more at once than fits into a recording"));
        }
        let packed = if self.plain.len() < WORTH_PACKING {
            None
        } else {
            let packed = self.compressor.compress(&self.plain)?;
            (packed.len() < self.plain.len()).then_some(packed)
        };
        let body = packed.as_deref().unwrap_or(&self.plain);
        let head = out.len();
        out.put_u8(kind.number());
        out.put_u8(u8::from(packed.is_some()));
        out.put_u16_le(self.number);
        out.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
        out.put_u32_le(u32::try_from(self.plain.len()).map_err(io::Error::other)?);
        out.put_u32_le(checksum(&out[head..head + CHECKED], body));
        out.put_slice(body);
        self.number = self.number.wrapping_add(1);
        Ok(())
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Reads frames, and keeps the offset.
pub(super) struct Unpacker<R> {
    input: R,
    decompressor: zstd::bulk::Decompressor<'static>,
    /// Bytes that are read; those before `start` are used.
    ahead: Vec<u8>,
    start: usize,
    /// The offset of the next frame.
    offset: u64,
    /// The number of the next frame; None if it may have any.
    number: Option<u16>,
    /// How many bytes a search may still check.
    searched: usize,
}

impl<R> std::fmt::Debug for Unpacker<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpacker").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<R: Read> Unpacker<R> {
    /// Reads the beginning of a file.
    pub(super) fn new(mut input: R) -> Result<Self, RecordingError> {
        let mut magic = Vec::new();
        let length = MAGIC.len() as u64;
        input.by_ref().take(length).read_to_end(&mut magic).map_err(RecordingError::Read)?;
        if magic.is_empty() {
            return Err(RecordingError::Empty);
        }
        if !magic.starts_with(&MAGIC[..SIGNATURE.min(magic.len())]) {
            return Err(RecordingError::NotOurs);
        }
        let Some(mut version) = magic.get(SIGNATURE..).filter(|it| it.len() == 2) else {
            return Err(RecordingError::damaged(0, Damage::Truncated));
        };
        let version = version.get_u16_le();
        if version == 0 {
            return Err(RecordingError::damaged(0, Damage::Nonsense));
        }
        if version > VERSION {
            return Err(RecordingError::Newer { version, known: VERSION });
        }
        let number = Some(0);
        Ok(Self { number, ..Self::at(input, length)? })
    }

    /// Continues at a frame, `offset` bytes from the beginning of the file.
    pub(super) fn at(input: R, offset: u64) -> Result<Self, RecordingError> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(RecordingError::Read)?;
        let (ahead, start, number, searched) = (Vec::new(), 0, None, SEARCHED);
        Ok(Self { input, decompressor, ahead, start, offset, number, searched })
    }

    /// The offset of the next frame, in bytes from the beginning of the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, unpacked; None at the end of the file.
    ///
    /// # Errors
    /// If it is damaged, or frames before it are missing. The next call continues behind that.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, RecordingError> {
        if self.fill(HEAD)?.is_empty() {
            return Ok(None);
        }
        let offset = self.offset;
        let (head, plain) = match self.check()? {
            Ok(frame) => frame,
            Err(what) => {
                let damage = self.search()?;
                return Err(RecordingError::Damaged { offset, what, damage });
            }
        };
        let length = HEAD + head.length;
        let missing = self.number.map_or(0, |number| head.number.wrapping_sub(number));
        if missing >= 1 << 15 {
            self.advance(length);
            let (frames, left_out) = (0, Some(length as u64));
            let damage = Extent { frames, left_out };
            return Err(RecordingError::Damaged { offset, what: Damage::Repeated, damage });
        }
        if missing > 0 {
            self.number = Some(head.number);
            let (frames, left_out) = (missing, Some(0));
            let damage = Extent { frames, left_out };
            return Err(RecordingError::Damaged { offset, what: Damage::Missing(missing), damage });
        }
        self.advance(length);
        self.number = Some(head.number.wrapping_add(1));
        Ok(Some((head.kind, plain)))
    }

    /// The frame that begins here, unpacked, or its damage.
    fn check(&mut self) -> Result<Result<(Head, Vec<u8>), Damage>, RecordingError> {
        let Some(head) = Head::read(self.fill(HEAD)?) else { return Ok(Err(Damage::Truncated)) };
        if head.length > LARGEST || head.plain_length > LARGEST {
            return Ok(Err(Damage::Nonsense));
        }
        let length = HEAD + head.length;
        self.fill(length)?;
        let bytes = &self.ahead[self.start..];
        let Some((bytes, body)) = bytes.get(..length).map(|frame| frame.split_at(HEAD)) else {
            return Ok(Err(Damage::Truncated));
        };
        if checksum(&bytes[..CHECKED], body) != head.checksum {
            return Ok(Err(Damage::Checksum));
        }
        let plain = match head.packing {
            0 => Some(body.to_vec()),
            1 => self.decompressor.decompress(body, head.plain_length).ok(),
            _ => None,
        };
        let plain = plain.filter(|plain| plain.len() == head.plain_length);
        Ok(plain.map(|plain| (head, plain)).ok_or(Damage::Nonsense))
    }

    /// Goes on to the next frame that is whole, or to the end of the file, and returns what is lost
    /// by that.
    fn search(&mut self) -> Result<Extent, RecordingError> {
        let begin = self.offset;
        self.advance(1);
        loop {
            let read = self.fill(LARGEST)?;
            let plausible = read
                .windows(HEAD)
                .position(|bytes| Head::read(bytes).is_some_and(|head| head.is_plausible()));
            let (at, is_end) = (plausible.unwrap_or(read.len()), read.len() < LARGEST);
            let Some(at) = plausible else {
                // The head of the next one may be there in part.
                self.advance(if is_end { at } else { at - HEAD + 1 });
                if is_end {
                    return Ok(Extent { frames: 1, left_out: None });
                }
                continue;
            };
            self.advance(at);
            let Some(head) = Head::read(&self.ahead[self.start..]) else { continue };
            let Some(left) = self.searched.checked_sub(head.length) else {
                // Nothing more is read.
                self.number = None;
                while !self.fill(LARGEST)?.is_empty() {
                    self.advance(self.ahead.len() - self.start);
                }
                return Ok(Extent { frames: 1, left_out: None });
            };
            self.searched = left;
            if self.check()?.is_ok() {
                let missing = self.number.map_or(1, |number| head.number.wrapping_sub(number));
                let frames = if missing < 1 << 15 {
                    self.number = Some(head.number);
                    missing
                } else {
                    0
                };
                let left_out = Some(self.offset - begin);
                return Ok(Extent { frames, left_out });
            }
            self.advance(1);
        }
    }

    /// Reads until there are `length` bytes ahead, and returns those that there are. Memory is
    /// allocated for the bytes that exist, not for the length that the file claims.
    fn fill(&mut self, length: usize) -> Result<&[u8], RecordingError> {
        let known = self.ahead.len() - self.start;
        if known < length {
            self.ahead.drain(..self.start);
            self.start = 0;
            let mut part = self.input.by_ref().take((length - known) as u64);
            part.read_to_end(&mut self.ahead).map_err(RecordingError::Read)?;
        }
        let end = self.ahead.len().min(self.start + length);
        Ok(&self.ahead[self.start..end])
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }
}
