//! Reads BTF, the kernel's description of its own types.
//!
//! Only what inotify-trace needs: where a member of a structure is, how big it is, the values of an
//! enumeration, the ids of functions, and the records themselves. The format is in the kernel's
//! `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`. The bytes stay where the kernel
//! has them, if it lets them be mapped, and are read in place: a kernel has 100,000 types, and a run
//! looks at some 20 of them.

use std::ops::Range;
use std::{fs::File, io};

mod bytes;
mod record;

use bytes::Bytes;
pub use record::{Record, kind};

use kind::*;

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;

/// The longest chain of typedefs and qualifiers; longer ones are cycles. Real ones have under 10.
const MAX_CHAIN: usize = 32;
/// Members to look at in one lookup before unnamed structures are taken to contain themselves;
/// the kernel's largest structures have a few hundred.
const MAX_MEMBERS: usize = 10_000;

/// The errors of reading BTF.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel was built without BTF, or `/sys` is not mounted here.
    #[error(
        "the kernel does not describe its structures: there is no {PATH}. Use a kernel built with \
         CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are; in a container, mount /sys"
    )]
    Missing,
    /// The file is there but reading it failed.
    #[error("cannot read {PATH}: {0}. It needs no privilege: look for a sandbox that forbids it")]
    Read(#[source] io::Error),
    /// The first two bytes are not BTF's.
    #[error("not BTF: it begins with {0:#06x} instead of {MAGIC:#06x}")]
    Magic(u16),
    /// BTF of a big-endian kernel.
    #[error("BTF of a big-endian kernel: only little-endian machines are supported")]
    BigEndian,
    /// A version of the format that did not exist when this was written.
    #[error("BTF version {0} is unknown (1 is): use a newer inotify-trace")]
    Version(u8),
    /// An unknown kind of type, in BTF without a section of record sizes.
    #[error("BTF type {id} is of the unknown kind {kind}: use a newer inotify-trace")]
    Kind {
        /// The type's id, counted from 1.
        id: usize,
        /// The kind's number.
        kind: u8,
    },
    /// The bytes end early or contradict themselves.
    #[error("BTF is cut short or corrupt: {what} at byte {at} of {len}. Read or save it again")]
    Corrupt {
        /// The part that does not fit.
        what: &'static str,
        /// Where it should be, in bytes from the start.
        at: usize,
        /// How many bytes there are.
        len: usize,
    },
}

/// A member of a structure, found by [`Btf::member`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost structure.
    pub offset: u32,
    /// Bytes it takes; 0 for a flexible array.
    pub size: u32,
    /// Its type, for [`Btf::element_size`] and [`Btf::pointee`].
    pub type_id: u32,
}

/// A kernel's types.
#[derive(Debug)]
pub struct Btf {
    data: Bytes,
    /// Where each type's record begins in `data`. Ids count from 1, as 0 means `void`.
    types: Vec<u32>,
    /// Name hash and id of every named struct, union and enum. Scanned, not searched: comparing
    /// 15,000 integers some 50 times takes less than sorting them once.
    named: Vec<(u32, u32)>,
    strings: Range<usize>,
}

impl Btf {
    /// The running kernel's types.
    ///
    /// # Errors
    /// [`BtfError::Missing`] if the kernel was built without them, else as [`Btf::parse`].
    pub fn from_running_kernel() -> Result<Self, BtfError> {
        let data = File::open(PATH).and_then(Bytes::of).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BtfError::Missing,
            _ => BtfError::Read(error),
        })?;
        Self::parse_bytes(data)
    }

    /// Takes the bytes of a `.BTF` section or of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If the bytes are not complete little-endian BTF. Ids that point nowhere are not looked
    /// for: a lookup that meets one finds nothing.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        Self::parse_bytes(Bytes::Read(data))
    }

    fn parse_bytes(bytes: Bytes) -> Result<Self, BtfError> {
        let data: &[u8] = &bytes;
        let len = data.len();
        let corrupt = |what, at| BtfError::Corrupt { what, at, len };
        let header = |at| u32_at(data, at).ok_or(corrupt("the header", at));
        let section = |what, offset_field| {
            let start = (header(4)? as usize).saturating_add(header(offset_field)? as usize);
            let end = start.saturating_add(header(offset_field + 4)? as usize);
            // Positions are kept as `u32`.
            let fits = end <= len && u32::try_from(end).is_ok();
            if fits { Ok(start..end) } else { Err(corrupt(what, start)) }
        };

        let first = header(0)?;
        match first as u16 {
            MAGIC => {}
            magic if magic.swap_bytes() == MAGIC => return Err(BtfError::BigEndian),
            magic => return Err(BtfError::Magic(magic)),
        }
        match (first >> 16) as u8 {
            1 => {}
            version => return Err(BtfError::Version(version)),
        }
        let type_section = section("the types", 8)?;
        let strings = section("the names", 16)?;
        if strings.is_empty() || data[strings.end - 1] != 0 {
            return Err(corrupt("the end of the names", strings.end));
        }
        // From Linux 7 the header may be longer and say how big records of each kind are.
        let layouts = if header(4)? >= 32 { section("the layouts", 24)? } else { 0..0 };

        // Kernels come to 25 bytes a type.
        let mut types = Vec::with_capacity(type_section.len() / 24);
        let mut named = Vec::new();
        let mut at = type_section.start;
        while at < type_section.end {
            let id = types.len() + 1;
            let record = Record::read(data, at).ok_or(corrupt("a type", at))?;
            let body_len = record
                .body_len(&data[layouts.clone()])
                .ok_or(BtfError::Kind { id, kind: record.kind })?;
            if body_len > type_section.end.saturating_sub(record.body) {
                return Err(corrupt("a type", at));
            }
            if record.name != 0 && (record.is_aggregate() || record.is_enum()) {
                let name = name_at(&data[strings.clone()], record.name)
                    .ok_or(corrupt("the name of a type", at))?;
                named.push((hash(name), id as u32));
            }
            types.push(at as u32);
            at = record.body + body_len;
        }
        // A header alone at the very end is longer than what is left, yet has no body to check.
        if at != type_section.end {
            return Err(corrupt("the end of the types", type_section.end));
        }
        Ok(Self { data: bytes, types, named, strings })
    }

    /// Finds a member by its path, such as `"ns.inum"`, in the struct or union of that name.
    /// As in C, the members of an unnamed struct or union belong to the one it is in.
    ///
    /// `None` if there is no such member, or it is a bitfield.
    pub fn member(&self, structure: &str, path: &str) -> Option<Member> {
        // Unrelated structures may share a name, so one of them lacking the path proves nothing.
        self.named(structure).filter(Record::is_aggregate).find_map(|mut record| {
            let mut found = (0, 0);
            for (depth, name) in path.split('.').enumerate() {
                if depth > 0 {
                    record = self.record(self.resolve(found.1)?)?;
                }
                let (bits, type_id) = self.find_in(record, name)?;
                found = (bits.checked_add(found.0)?, type_id);
            }
            let (bits, type_id) = found;
            let offset = bits.is_multiple_of(8).then_some(bits / 8)?;
            Some(Member { offset, size: self.size_of(type_id)?, type_id })
        })
    }

    /// The value of `variant` in `enum name`.
    pub fn enum_value(&self, name: &str, variant: &str) -> Option<i64> {
        self.named(name).filter(Record::is_enum).find_map(|record| {
            let stride = if record.kind == ENUM64 { 3 } else { 2 };
            let at = (0..record.count)
                .map(|i| i * stride)
                .find(|&at| self.is_named(self.word(&record, at), variant))?;
            let low = self.word(&record, at + 1)?;
            if record.kind == ENUM64 {
                let high = self.word(&record, at + 2)?;
                Some((u64::from(high) << 32 | u64::from(low)) as i64)
            } else if record.flag {
                Some(i64::from(low as i32))
            } else {
                Some(i64::from(low))
            }
        })
    }

    /// The ids of these functions, in ascending order. Those that the kernel lacks, or inlines
    /// everywhere, are left out; of several with one name it is the first.
    pub fn functions<'a>(&self, names: &[&'a str]) -> Vec<(u32, &'a str)> {
        let mut wanted: Vec<_> = names.iter().map(|name| (hash(name.as_bytes()), *name)).collect();
        let strings = &self.data[self.strings.clone()];
        let mut found = Vec::with_capacity(wanted.len());
        for (id, record) in self.types().filter(|(_, record)| record.kind == FUNC) {
            let Some(hash) = name_at(strings, record.name).map(hash) else { continue };
            let is_it =
                |&(its, name): &(u32, &str)| its == hash && self.is_named(Some(record.name), name);
            if let Some(at) = wanted.iter().position(is_it) {
                found.push((id, wanted.swap_remove(at).1));
            }
            if wanted.is_empty() {
                break;
            }
        }
        found
    }

    /// Bytes that a value of this type takes. `None` for `void`, functions and incomplete types.
    pub fn size_of(&self, type_id: u32) -> Option<u32> {
        let mut elements: u32 = 1;
        let mut id = type_id;
        for _ in 0..MAX_CHAIN {
            let record = self.record(self.resolve(id)?)?;
            match record.kind {
                INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => {
                    return elements.checked_mul(record.size_or_type);
                }
                // Only 64-bit kernels run the programs.
                PTR => return elements.checked_mul(8),
                ARRAY => {
                    elements = elements.checked_mul(self.word(&record, 2)?)?;
                    id = self.word(&record, 0)?;
                }
                _ => return None,
            }
        }
        None
    }

    /// Bytes of one element, if the type is an array.
    pub fn element_size(&self, type_id: u32) -> Option<u32> {
        let record = self.record(self.resolve(type_id)?)?;
        if record.kind != ARRAY {
            return None;
        }
        self.size_of(self.word(&record, 0)?)
    }

    /// The name of a pointer's target type, without qualifiers: a typedef's own name, not that of
    /// the type behind it, and `"void"`. `None` if the type is no pointer or its target has no
    /// name.
    pub fn pointee(&self, type_id: u32) -> Option<&str> {
        let pointer = self.record(self.resolve(type_id)?)?;
        if pointer.kind != PTR {
            return None;
        }
        match self.follow(pointer.size_or_type, |kind| kind != TYPEDEF)? {
            0 => Some("void"),
            id => self.name(self.record(id)?.name).filter(|name| !name.is_empty()),
        }
    }

    /// All types and their ids, which count from 1.
    pub fn types(&self) -> impl Iterator<Item = (u32, Record)> {
        (1..)
            .zip(&self.types)
            .filter_map(|(id, &at)| Some((id, Record::read(&self.data, at as usize)?)))
    }

    /// The type with this id. `None` for `void`, which is 0, and ids that point nowhere.
    pub fn record(&self, id: u32) -> Option<Record> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        Record::read(&self.data, at as usize)
    }

    /// The id of the type behind typedefs and qualifiers; 0 for `void`.
    pub fn resolve(&self, id: u32) -> Option<u32> {
        self.follow(id, |_| true)
    }

    /// The word at `index` in the part of a record that depends on its kind.
    pub fn word(&self, record: &Record, index: usize) -> Option<u32> {
        u32_at(&self.data, index.checked_mul(4)?.checked_add(record.body)?)
    }

    /// The name at `offset` of the string section, if it is UTF-8.
    pub fn name(&self, offset: u32) -> Option<&str> {
        std::str::from_utf8(name_at(&self.data[self.strings.clone()], offset)?).ok()
    }

    /// Where in the bytes that were parsed the name at `offset` of the string section is.
    pub fn name_range(&self, offset: u32) -> Option<Range<usize>> {
        let name = name_at(&self.data[self.strings.clone()], offset)?;
        let start = self.strings.start + offset as usize;
        Some(start..start + name.len())
    }

    /// The first member of this name: its offset in bits and its type.
    fn find_in(&self, record: Record, name: &str) -> Option<(u32, u32)> {
        let mut looked_at = 0;
        let mut pending = vec![(record, 0u32)];
        while let Some((record, base)) = pending.pop() {
            if !record.is_aggregate() {
                continue;
            }
            for i in 0..record.count {
                looked_at += 1;
                if looked_at > MAX_MEMBERS {
                    return None;
                }
                let member_name = self.word(&record, i * 3)?;
                let type_id = self.word(&record, i * 3 + 1)?;
                let mut bits = self.word(&record, i * 3 + 2)?;
                let bitfield = record.flag && bits >> 24 != 0;
                if record.flag {
                    bits &= 0x00ff_ffff;
                }
                let bits = base.checked_add(bits)?;
                if self.is_named(Some(member_name), "") {
                    // The type may have a name all the same, as in `struct ns_common` of Linux 7.
                    pending.extend(
                        self.resolve(type_id).and_then(|id| self.record(id)).map(|r| (r, bits)),
                    );
                } else if self.is_named(Some(member_name), name) {
                    return (!bitfield).then_some((bits, type_id));
                }
            }
        }
        None
    }

    fn named(&self, name: &str) -> impl Iterator<Item = Record> {
        let wanted = hash(name.as_bytes());
        self.named
            .iter()
            .filter(move |(hash, _)| *hash == wanted)
            .filter_map(|(_, id)| self.record(*id))
            .filter(move |record| self.is_named(Some(record.name), name))
    }

    fn is_named(&self, offset: Option<u32>, name: &str) -> bool {
        let strings = &self.data[self.strings.clone()];
        offset
            .and_then(|offset| strings.get(offset as usize..)?.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Steps through typedefs and qualifiers as long as their kind passes.
    fn follow(&self, mut id: u32, pass: impl Fn(u8) -> bool) -> Option<u32> {
        for _ in 0..MAX_CHAIN {
            if id == 0 {
                return Some(0);
            }
            let record = self.record(id)?;
            match record.kind {
                TYPEDEF | CONST | VOLATILE | RESTRICT | TYPE_TAG if pass(record.kind) => {
                    id = record.size_or_type;
                }
                _ => return Some(id),
            }
        }
        None
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn name_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    strings.get(offset as usize..)?.split(|&byte| byte == 0).next()
}

/// FNV-1a, which is short and good enough to tell names apart.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
