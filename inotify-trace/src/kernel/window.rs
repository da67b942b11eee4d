//! Maps that agent and kernel programs share as memory.
//!
//! A system call that reads or changes a map keeps the kernel from running kprobe and tracepoint
//! programs on that CPU for its duration (`bpf_disable_instrumentation`); if it is preempted, events
//! of other processes there are missed. So the maps that the agent uses all the time are mapped into
//! memory.

use std::{
    io,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{Ebpf, maps::Map};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::KernelError;

/// The values of an array map of 64-bit numbers, as memory.
#[derive(Debug)]
pub(super) struct Window {
    words: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: the memory is the mapping's for as long as this lives, and is used through atomics only.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Maps the array `name`, which must be mappable (`BPF_F_MMAPABLE`, Linux 5.5) and have `length`
    /// values.
    pub(super) fn open(ebpf: &mut Ebpf, name: &str, length: usize) -> Result<Self, KernelError> {
        let Some(Map::Array(map)) = ebpf.map(name) else {
            return Err(KernelError::Object(format!("no array {name}")));
        };
        Self::map(map.fd().as_fd(), 0, length, ProtFlags::READ | ProtFlags::WRITE)
            .map_err(|source| KernelError::Window { name: name.to_owned(), source })
    }

    /// Maps `length` values that begin at an offset in bytes, to read them only.
    pub(super) fn read_only(fd: impl AsFd, offset: u64, length: usize) -> io::Result<Self> {
        Self::map(fd, offset, length, ProtFlags::READ)
    }

    fn map(fd: impl AsFd, offset: u64, length: usize, access: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping, of which the kernel chooses the place; the kernel checks that the
        // array is long enough.
        let address = unsafe {
            mmap(std::ptr::null_mut(), length * 8, access, MapFlags::SHARED, fd, offset)?
        };
        let words = NonNull::new(address.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { words, length })
    }

    /// The values.
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: `length` numbers are mapped there, aligned to a page, until this is dropped.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length) }
    }

    /// The first value; 0 if there is none.
    pub(super) fn get(&self) -> u64 {
        self.words().first().map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Sets the first value. The window must not be read-only.
    pub(super) fn set(&self, value: u64) {
        if let Some(word) = self.words().first() {
            word.store(value, Ordering::SeqCst);
        }
    }

    /// The sum of the values at `first`, and every `step` from there.
    pub(super) fn sum(&self, first: usize, step: usize) -> u64 {
        self.words().iter().skip(first).step_by(step).map(|it| it.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nothing borrows from it any more. It can't fail
        // for a range that is mapped.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.length * 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn values_are_set_and_summed_where_they_are() {
        let file = memfd_create("window", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 4096).unwrap();
        let writable = || Window::map(&file, 0, 6, ProtFlags::READ | ProtFlags::WRITE).unwrap();
        let (ours, theirs) = (writable(), writable());
        ours.set(7);
        theirs.words()[3].store(5, Ordering::Relaxed);
        theirs.words()[4].store(100, Ordering::Relaxed);
        assert_eq!((ours.sum(0, 3), ours.sum(1, 3), ours.sum(2, 3)), (12, 100, 0));
        assert_eq!(Window::read_only(&file, 0, 1).unwrap().get(), 7);
    }
}
