//! Bounds the memory of a frame before it is decoded: an empty message has two bytes in a file, and a
//! hundred times as many in memory.

use bytes::Buf as _;
use prost::encoding::{WireType, decode_key, decode_varint, skip_field};

/// The most messages and texts in a frame. The writer stays below two thirds of that.
pub(super) const MESSAGES: usize = 1 << 17;

/// Fields, and the depth to which they have repeated messages.
type Depths = [(u32, u32)];

/// Those of a frame.
pub(super) const FRAME: &Depths = &[
    // Batches: events, their kinds, and charges.
    (3, 3),
    // Parts: their kinds, and watches.
    (4, 2),
];

/// Those of a header.
pub(super) const HEADER: &Depths = &[
    // Sysctls: files.
    (13, 1),
];

/// Whether a message is small enough to decode. Invalid messages are left to the decoder.
pub(super) fn is_moderate(message: &[u8], depths: &Depths) -> bool {
    let mut left = MESSAGES;
    let depth = |field| depths.iter().find(|(known, _)| *known == field).map_or(0, |it| it.1);
    count(message, &depth, &mut left).is_some()
}

/// Subtracts the number of messages and texts from `left`; None if it is too small.
fn count(mut bytes: &[u8], depth: &dyn Fn(u32) -> u32, left: &mut usize) -> Option<()> {
    while bytes.has_remaining() {
        let Ok((field, kind)) = decode_key(&mut bytes) else { return Some(()) };
        if kind != WireType::LengthDelimited {
            if skip_field(kind, field, &mut bytes, prost::encoding::DecodeContext::default())
                .is_err()
            {
                return Some(());
            }
            continue;
        }
        let length = decode_varint(&mut bytes).ok().and_then(|it| usize::try_from(it).ok());
        let Some((inner, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
            return Some(());
        };
        *left = left.checked_sub(1)?;
        let below = depth(field);
        if below > 0 {
            count(inner, &|_| below - 1, left)?;
        }
        bytes = rest;
    }
    Some(())
}
