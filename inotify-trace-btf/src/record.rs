//! The records that BTF consists of.

use super::u32_at;

/// Kinds of type, numbered as in the kernel's `include/uapi/linux/btf.h`.
#[expect(missing_docs, reason = "the names are the kernel's")]
pub mod kind {
    pub const INT: u8 = 1;
    pub const PTR: u8 = 2;
    pub const ARRAY: u8 = 3;
    pub const STRUCT: u8 = 4;
    pub const UNION: u8 = 5;
    pub const ENUM: u8 = 6;
    pub const FWD: u8 = 7;
    pub const TYPEDEF: u8 = 8;
    pub const VOLATILE: u8 = 9;
    pub const CONST: u8 = 10;
    pub const RESTRICT: u8 = 11;
    pub const FUNC: u8 = 12;
    pub const FUNC_PROTO: u8 = 13;
    pub const VAR: u8 = 14;
    pub const DATASEC: u8 = 15;
    pub const FLOAT: u8 = 16;
    pub const DECL_TAG: u8 = 17;
    pub const TYPE_TAG: u8 = 18;
    pub const ENUM64: u8 = 19;
}

use kind::*;

/// The part that the records of all kinds have in common.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// One of [`kind`], or a kind that is newer than this code.
    pub kind: u8,
    /// Members, variants or parameters that follow.
    pub count: usize,
    /// Means "has bitfields" in a struct, "is a union" in a forward declaration, "is signed" in an
    /// enum.
    pub flag: bool,
    /// Where its name begins in the string section; 0 if it has none.
    pub name: u32,
    /// In bytes for kinds that have a size, else the id of another type.
    pub size_or_type: u32,
    /// Where the part that depends on the kind begins.
    pub(crate) body: usize,
}

impl Record {
    /// Bytes of the common part.
    const LEN: usize = 12;

    pub(crate) fn read(data: &[u8], at: usize) -> Option<Self> {
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

    /// Whether it has members.
    #[must_use]
    pub fn is_aggregate(&self) -> bool {
        matches!(self.kind, STRUCT | UNION)
    }

    /// Whether it has variants.
    #[must_use]
    pub fn is_enum(&self) -> bool {
        matches!(self.kind, ENUM | ENUM64)
    }

    /// Bytes that follow the common part. `None` for a kind that neither this code nor `layouts`,
    /// the section with a pair of sizes for each kind, knows.
    pub(crate) fn body_len(&self, layouts: &[u8]) -> Option<usize> {
        let (fixed, each) = match self.kind {
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
        Some(fixed + each * self.count)
    }
}
