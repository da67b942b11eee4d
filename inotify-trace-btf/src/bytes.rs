//! The bytes of a file, mapped where that is possible.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// Bytes that are read, or mapped.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// In memory of our own.
    Read(Vec<u8>),
    /// In the kernel's.
    Mapped(Mmap),
}

impl Bytes {
    /// The content of the kernel's own file of types. From Linux 6.16 on it can be mapped, which
    /// takes no time and no memory; others hand it out by pages.
    pub(crate) fn of(mut file: File) -> io::Result<Self> {
        // SAFETY: the file is a part of the kernel's image that nothing changes or cuts short.
        // (The kernel wants the mapping to be private and read-only, which this one is.)
        if let Ok(mapped) = unsafe { MmapOptions::new().map_copy_read_only(&file) } {
            return Ok(Self::Mapped(mapped));
        }
        let mut data = Vec::new();
        file.read_to_end(&mut data)?;
        Ok(Self::Read(data))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(data) => data,
            Self::Mapped(data) => data,
        }
    }
}
