//! Frames: the pieces of a recording, each of which can be checked by itself.
//!
//! A file begins with [`MAGIC`]. Each frame has a head of sixteen bytes, all numbers little-endian:
//! its kind (one byte), its compression (one byte), two zero bytes, the length of the body, its
//! unpacked length, and the CRC-32 (IEEE 802.3) of all of these and of the body.

use std::io::{self, Read};

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message;

use super::{Damage, RecordingError};

/// The first bytes of each file: the signature (with bytes that a transfer as text changes), and the
/// version of the format in the last two.
pub(super) const MAGIC: [u8; 10] = *b"\x89inotrc\n\x01\x00";

/// The length of the signature.
const SIGNATURE: usize = 8;

/// The version of the format. Higher versions cannot be read.
const VERSION: u16 = 1;

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
    let mut rest = head.get(..HEAD)?;
    let kind = Kind::from_number(rest.get_u8());
    rest.advance(3);
    Some((kind, rest.get_u32_le() as usize))
}

/// Packs frames.
pub(super) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    plain: BytesMut,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { compressor, plain: BytesMut::new() })
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
        out.put_u16_le(0);
        out.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
        out.put_u32_le(u32::try_from(self.plain.len()).map_err(io::Error::other)?);
        out.put_u32_le(checksum(&out[head..head + CHECKED], body));
        out.put_slice(body);
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
    /// The offset of the next frame.
    offset: u64,
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
            return Err(RecordingError::Damaged { offset: 0, what: Damage::Truncated });
        };
        let version = version.get_u16_le();
        if version == 0 {
            return Err(RecordingError::Damaged { offset: 0, what: Damage::Nonsense });
        }
        if version > VERSION {
            return Err(RecordingError::Newer { version, known: VERSION });
        }
        Self::at(input, length)
    }

    /// Continues at a frame, `offset` bytes from the beginning of the file.
    pub(super) fn at(input: R, offset: u64) -> Result<Self, RecordingError> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(RecordingError::Read)?;
        Ok(Self { input, decompressor, offset })
    }

    /// The offset of the next frame, in bytes from the beginning of the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, unpacked; None at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, RecordingError> {
        let offset = self.offset;
        let damaged = |what| RecordingError::Damaged { offset, what };
        let head = self.read(HEAD)?;
        if head.is_empty() {
            return Ok(None);
        }
        if head.len() < HEAD {
            return Err(damaged(Damage::Truncated));
        }
        let mut rest = head.as_slice();
        let kind = Kind::from_number(rest.get_u8());
        let packing = rest.get_u8();
        rest.advance(2);
        let (length, plain_length) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
        let expected = rest.get_u32_le();
        if length > LARGEST || plain_length > LARGEST {
            return Err(damaged(Damage::Nonsense));
        }
        let body = self.read(length)?;
        if body.len() < length {
            return Err(damaged(Damage::Truncated));
        }
        if checksum(&head[..CHECKED], &body) != expected {
            return Err(damaged(Damage::Checksum));
        }
        let plain = match packing {
            0 => body,
            1 => {
                let plain = self.decompressor.decompress(&body, plain_length);
                plain.map_err(|_| damaged(Damage::Nonsense))?
            }
            _ => return Err(damaged(Damage::Nonsense)),
        };
        if plain.len() != plain_length {
            return Err(damaged(Damage::Nonsense));
        }
        self.offset += (HEAD + length) as u64;
        Ok(Some((kind, plain)))
    }

    /// Reads at most `length` bytes: memory is allocated for the bytes that exist, not for the length
    /// that the file claims.
    fn read(&mut self, length: usize) -> Result<Vec<u8>, RecordingError> {
        let mut bytes = Vec::new();
        let mut part = self.input.by_ref().take(length as u64);
        part.read_to_end(&mut bytes).map_err(RecordingError::Read)?;
        Ok(bytes)
    }
}
