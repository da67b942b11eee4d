//! Reads BTF, the kernel's description of its own types.
//!
//! Only what the layout needs: where a member of a structure is, how big it is, and the values of
//! an enumeration. The format is in the kernel's `Documentation/bpf/btf.rst` and
//! `include/uapi/linux/btf.h`. The bytes are kept as they are and read in place, because a
//! kernel has 100,000 types and a run looks at some 20 of them.

use std::io;
use std::ops::Range;

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;

/// Typedefs and qualifiers to follow before a chain is taken for a cycle; real ones have under 10.
const MAX_CHAIN: usize = 32;
/// Members to look at in one lookup before unnamed structures are taken to contain themselves;
/// the kernel's largest structures have a few hundred.
const MAX_MEMBERS: usize = 10_000;

// Kinds of type, numbered as in `include/uapi/linux/btf.h`.
const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const FWD: u8 = 7;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const FLOAT: u8 = 16;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// Why BTF could not be read.
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
    /// A kind of type that is unknown, in BTF that does not say how long its records are.
    #[error("BTF type {id} is of the unknown kind {kind}: use a newer inotify-trace")]
    Kind {
        /// Which type, counted from 1.
        id: usize,
        /// The kind's number.
        kind: u8,
    },
    /// The bytes end early or contradict themselves.
    #[error("BTF is cut short or corrupt: {what} at byte {at} of {len}. Read or save it again")]
    Corrupt {
        /// What does not fit.
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
    data: Vec<u8>,
    /// Where each type's record begins in `data`. Ids count from 1, as 0 means `void`.
    types: Vec<u32>,
    /// Name hash and id of every named struct, union and enum. Scanned, not searched: comparing
    /// 15,000 integers some 50 times takes less than sorting them once.
    named: Vec<(u32, u32)>,
    strings: Range<usize>,
}

/// The part that the records of all kinds have in common.
#[derive(Clone, Copy)]
struct Record {
    kind: u8,
    /// Members, variants or parameters that follow.
    count: usize,
    /// Means "has bitfields" in a struct, "is signed" in an enum.
    flag: bool,
    name: u32,
    /// In bytes for kinds that have a size, else the id of another type.
    size_or_type: u32,
    /// Where the part that depends on the kind begins.
    body: usize,
}

impl Record {
    const LEN: usize = 12;

    fn read(data: &[u8], at: usize) -> Option<Self> {
        let info = u32_at(data, at + 4)?;
        Some(Self {
            // Linux 7 widened both fields into bits that were zero before.
            kind: (info >> 24) as u8 & 0x7f,
            count: (info & 0x00ff_ffff) as usize,
            flag: info >> 31 == 1,
            name: u32_at(data, at)?,
            size_or_type: u32_at(data, at + 8)?,
            body: at + Self::LEN,
        })
    }

    fn is_aggregate(&self) -> bool {
        matches!(self.kind, STRUCT | UNION)
    }

    fn is_enum(&self) -> bool {
        matches!(self.kind, ENUM | ENUM64)
    }
}

impl Btf {
    /// The running kernel's types.
    ///
    /// # Errors
    /// [`BtfError::Missing`] if the kernel was built without them, else as [`Btf::parse`].
    pub fn from_running_kernel() -> Result<Self, BtfError> {
        let data = std::fs::read(PATH).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BtfError::Missing,
            _ => BtfError::Read(error),
        })?;
        Self::parse(data)
    }

    /// Takes the bytes of a `.BTF` section or of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If the bytes are not complete little-endian BTF. Ids that point nowhere are not looked
    /// for: a lookup that meets one finds nothing.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let len = data.len();
        let corrupt = |what, at| BtfError::Corrupt { what, at, len };
        let header = |at| u32_at(&data, at).ok_or(corrupt("the header", at));
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
            let record = Record::read(&data, at).ok_or(corrupt("a type", at))?;
            let body_len = body_len(&record, &data[layouts.clone()])
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
        Ok(Self { data, types, named, strings })
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
            let stride = if record.kind == ENUM64 { 12 } else { 8 };
            let at = (0..record.count)
                .map(|i| record.body + i * stride)
                .find(|&at| self.is_named(u32_at(&self.data, at), variant))?;
            let low = u32_at(&self.data, at + 4)?;
            if record.kind == ENUM64 {
                let high = u32_at(&self.data, at + 8)?;
                Some((u64::from(high) << 32 | u64::from(low)) as i64)
            } else if record.flag {
                Some(i64::from(low as i32))
            } else {
                Some(i64::from(low))
            }
        })
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
                    elements = elements.checked_mul(u32_at(&self.data, record.body + 8)?)?;
                    id = u32_at(&self.data, record.body)?;
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
        self.size_of(u32_at(&self.data, record.body)?)
    }

    /// The name of what the type points to, without qualifiers: a typedef's own name rather than
    /// what it stands for, and `"void"`. `None` if the type is no pointer or its target has no
    /// name.
    pub fn pointee(&self, type_id: u32) -> Option<&str> {
        let pointer = self.record(self.resolve(type_id)?)?;
        if pointer.kind != PTR {
            return None;
        }
        match self.follow(pointer.size_or_type, |kind| kind != TYPEDEF)? {
            0 => Some("void"),
            id => {
                let name = name_at(&self.data[self.strings.clone()], self.record(id)?.name)?;
                std::str::from_utf8(name).ok().filter(|name| !name.is_empty())
            }
        }
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
                let at = record.body + i * 12;
                let member_name = u32_at(&self.data, at)?;
                let type_id = u32_at(&self.data, at + 4)?;
                let mut bits = u32_at(&self.data, at + 8)?;
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

    fn record(&self, id: u32) -> Option<Record> {
        let at = *self.types.get(id.checked_sub(1)? as usize)?;
        Record::read(&self.data, at as usize)
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

    /// What is behind typedefs and qualifiers.
    fn resolve(&self, id: u32) -> Option<u32> {
        self.follow(id, |_| true)
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

/// Bytes that follow the common part of a record. `None` for a kind that neither this code nor
/// `layouts`, the section with a pair of sizes for each kind, knows.
fn body_len(record: &Record, layouts: &[u8]) -> Option<usize> {
    let (fixed, each) = match record.kind {
        PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => (0, 0),
        INT | VAR | DECL_TAG => (4, 0),
        ARRAY => (12, 0),
        STRUCT | UNION | DATASEC | ENUM64 => (0, 12),
        ENUM | FUNC_PROTO => (0, 8),
        // 0 is "unknown" in every version, so no layout can give it a meaning.
        0 => return None,
        kind => {
            let layout = layouts.get(usize::from(kind) * 4..)?.first_chunk::<4>()?;
            (usize::from(layout[0]), usize::from(layout[1]))
        }
    };
    Some(fixed + each * record.count)
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
