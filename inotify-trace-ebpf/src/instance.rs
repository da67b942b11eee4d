//! Finds the instance of a descriptor.

use core::hint::black_box;

use inotify_trace_common::{Quota, Record};

use crate::{
    cgroup,
    maps::inotify_fops,
    queue::Queue,
    quota::{self, Counted},
    read::{blur_address, field, offset, pointer, read, value},
    task,
};

/// An open instance: the `struct file` it was reached through, and its group.
#[derive(Clone, Copy)]
pub(crate) struct Instance {
    /// Address of the `struct file`.
    pub(crate) file: u64,
    /// Address of the `fsnotify_group`.
    pub(crate) group: u64,
}

impl Instance {
    /// The instance of a descriptor of the current task; None if it is another kind of file.
    #[inline(always)]
    pub(crate) fn of_descriptor(fd: i32) -> Option<Self> {
        Self::of_file(file_of_descriptor(fd)?)
    }

    /// The instance of a `struct file`; None if it is another kind of file.
    #[inline(always)]
    pub(crate) fn of_file(file: u64) -> Option<Self> {
        let operations = pointer(file, offset!(file_f_op))?;
        if operations != inotify_fops() {
            return None;
        }
        Some(Self { file, group: pointer(file, offset!(file_private_data))? })
    }

    /// The same instance, whichever way it was found: see [`blur`].
    #[inline(always)]
    pub(crate) fn blurred(self) -> Self {
        Self { file: blur_address(self.file), group: blur_address(self.group) }
    }

    /// References to the file: descriptors, and calls in progress in other threads.
    #[inline(always)]
    pub(crate) fn references(self) -> u32 {
        // Without a branch, as in `quota::tightest`: none where nothing can be read, and of a file
        // that is released, which `f_ref` marks by a negative value (`include/linux/file_ref.h`).
        let (count, unreadable) = read::<i64>(self.file, offset!(file_refs));
        let known = black_box(!((count | unreadable) >> 63));
        (count as u32).wrapping_add(offset!(file_refs_bias)) & known as u32
    }

    /// The counters of the user charged for it.
    #[inline(always)]
    pub(crate) fn payer(self) -> Option<u64> {
        pointer(self.group, offset!(group_ucounts))
    }

    /// The v2 cgroup that its creator's memory was charged to; 0 if unknown.
    #[inline(always)]
    pub(crate) fn creator_cgroup(self) -> u64 {
        let memcg = value(self.group, offset!(group_memcg));
        cgroup::id(value(memcg, offset!(memcg_cgroup)))
    }

    /// What the kernel knows about it now. Ask before the record is reserved: the verifier walks
    /// what comes after that once for each way of getting there.
    #[inline(always)]
    pub(crate) fn look(self, counted: Counted) -> Seen {
        let payer = blur_address(self.payer().unwrap_or(0));
        let (refs, queue) = (self.references(), Queue::of(self.group));
        Seen { instance: self, payer, refs, queue, quota: quota::of(payer, counted) }
    }
}

/// An instance at one moment.
pub(crate) struct Seen {
    instance: Instance,
    payer: u64,
    /// See [`Instance::references`].
    refs: u32,
    queue: Queue,
    /// The charge of what was asked for.
    quota: Quota,
}

impl Seen {
    /// Sets the instance's fields in `record`.
    #[inline(always)]
    pub(crate) fn describe(&self, record: &mut Record) {
        record.group = self.instance.group;
        record.file = self.instance.file;
        record.payer = self.payer;
        record.refs = self.refs;
        record.quota = self.quota;
        self.queue.describe(record);
    }
}

/// The `struct file` behind a descriptor of the current task; None if it is not open.
#[inline(always)]
pub(crate) fn file_of_descriptor(fd: i32) -> Option<u64> {
    let files = pointer(task::current(), offset!(task_files))?;
    let table = pointer(files, offset!(files_fdt))?;
    let size = field::<u32>(table, offset!(fdt_max_fds))?;
    // A negative descriptor is a huge unsigned one.
    if fd as u32 >= size {
        return None;
    }
    let slots = pointer(table, offset!(fdt_fd))?;
    // Slots are pointers, so the address is computed in full: an offset has only 32 bits.
    pointer(slots + u64::from(fd as u32) * 8, 0)
}

/// Address of the file operations behind a descriptor of the current task.
pub(crate) fn operations_of_descriptor(fd: i32) -> Option<u64> {
    pointer(file_of_descriptor(fd)?, offset!(file_f_op))
}
