//! Parses the records in the ring buffer.

use inotify_trace_common::{ABSENT, Kind, Record};

/// An entry of the ring buffer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack, which takes no memory")]
pub enum RawEvent<'a> {
    /// A record, its kind, and the bytes of its path (empty if it has none, None if it could not be
    /// read).
    Known(Kind, Record, Option<&'a [u8]>),
    /// A record that this version does not know.
    Unknown,
}

/// Parses one entry of the ring buffer.
#[must_use]
pub fn decode(entry: &[u8]) -> RawEvent<'_> {
    let Some((head, path)) = entry.split_at_checked(size_of::<Record>()) else {
        return RawEvent::Unknown;
    };
    // SAFETY: `head` has the size of a `Record`, which is `repr(C)`, has only integers, for which
    // any bytes are a value, and need not be aligned for this read.
    let record = unsafe { head.as_ptr().cast::<Record>().read_unaligned() };
    let Some(kind) = Kind::from_u32(record.kind) else { return RawEvent::Unknown };
    if record.path_len == ABSENT {
        return RawEvent::Known(kind, record, None);
    }
    let path_len = usize::try_from(record.path_len).unwrap_or(usize::MAX);
    match path.get(..path_len) {
        Some(path) => RawEvent::Known(kind, record, Some(path)),
        None => RawEvent::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u32, path_len: u32, path: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<Record>()];
        let put = |bytes: &mut Vec<u8>, at: usize, value: u32| {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        put(&mut bytes, std::mem::offset_of!(Record, kind), kind);
        put(&mut bytes, std::mem::offset_of!(Record, pid), 4711);
        put(&mut bytes, std::mem::offset_of!(Record, path_len), path_len);
        bytes.extend_from_slice(path);
        bytes
    }

    #[test]
    fn a_record_keeps_its_fields_and_its_path() {
        let bytes = entry(Kind::WatchAdded as u32, 4, b"/etc\0rubbish");
        let RawEvent::Known(kind, record, path) = decode(&bytes) else { panic!("not understood") };
        assert_eq!((kind, record.pid, path), (Kind::WatchAdded, 4711, Some(&b"/etc"[..])));
    }

    #[test]
    fn every_kind_is_known_and_no_other() {
        for kind in Kind::ALL {
            assert!(
                matches!(decode(&entry(kind as u32, 0, b"")), RawEvent::Known(k, ..) if k == kind)
            );
        }
        for kind in [0, Kind::ALL.len() as u32 + 1, u32::MAX] {
            assert!(matches!(decode(&entry(kind, 0, b"")), RawEvent::Unknown));
        }
    }

    #[test]
    fn nothing_shorter_than_it_says_is_understood() {
        let whole = entry(Kind::WatchAdded as u32, 4, b"/etc");
        for length in 0..whole.len() {
            assert!(matches!(decode(&whole[..length]), RawEvent::Unknown), "{length} bytes");
        }
        assert!(matches!(
            decode(&entry(Kind::WatchAdded as u32, u32::MAX - 1, b"/")),
            RawEvent::Unknown
        ));
    }
}
