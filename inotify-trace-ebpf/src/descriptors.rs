//! Whether the current process has as many descriptors as it may.

use inotify_trace_common::record::Full;

use crate::{
    read::{field, offset, pointer, value},
    task,
};

/// The error of a process without a free descriptor: `EMFILE` of errno(3), which a full inotify
/// quota gives too.
const EMFILE: i32 = -24;

/// Descriptors that one word of `full_fds_bits` stands for: 64 words of 64 bits.
const EACH: u64 = 64 * 64;

/// Words that are read together.
const GROUP: u64 = 8;

/// Groups of words that are looked at: enough for 1,048,576 descriptors, the kernel's default of the
/// most that a process can be given (`fs.nr_open`).
const GROUPS: u64 = 32;

/// The descriptors that the current process may have (0 if unknown), and whether all of them are
/// open. Only looked at if a call failed with `EMFILE`.
///
/// The kernel refuses a descriptor if the lowest free one is not below `RLIMIT_NOFILE` (`alloc_fd`
/// in `fs/file.c`).
#[inline(always)]
pub(crate) fn in_use(error: i32) -> (u32, Full) {
    if error != EMFILE {
        return (0, Full::Unknown);
    }
    let task = task::current();
    let Some(limit) = pointer(task, offset!(task_signal))
        .and_then(|signal| field::<u64>(signal, offset!(signal_nofile)))
    else {
        return (0, Full::Unknown);
    };
    let told = if limit > u64::from(u32::MAX) { u32::MAX } else { limit as u32 };
    let Some(table) =
        pointer(task, offset!(task_files)).and_then(|files| pointer(files, offset!(files_fdt)))
    else {
        return (told, Full::Unknown);
    };
    (told, is_full(table, limit))
}

/// Whether the first `limit` descriptors of this `fdtable` are all open.
#[inline(always)]
fn is_full(table: u64, limit: u64) -> Full {
    if limit > u64::from(value::<u32>(table, offset!(fdt_max_fds))) {
        return Full::No;
    }
    let (Some(full), Some(open)) =
        (pointer(table, offset!(fdt_full_fds_bits)), pointer(table, offset!(fdt_open_fds)))
    else {
        return Full::Unknown;
    };
    if limit > GROUPS * GROUP * EACH {
        return Full::Unknown;
    }
    // Those that must have all bits set, in groups, and then one by one.
    let words = limit / EACH;
    for group in 0..GROUPS {
        if (group + 1) * GROUP > words {
            break;
        }
        let read = value::<[u64; GROUP as usize]>(full + group * GROUP * 8, 0);
        if read.iter().fold(u64::MAX, |all, word| all & word) != u64::MAX {
            return Full::No;
        }
    }
    let first = words / GROUP * GROUP;
    for word in 0..GROUP {
        if first + word < words && value::<u64>(full + (first + word) * 8, 0) != u64::MAX {
            return Full::No;
        }
    }
    // The last word of each, of which only the lowest bits count.
    let rest = lowest(limit / 64 % 64);
    let last = lowest(limit % 64);
    let has_rest = value::<u64>(full + words * 8, 0) & rest == rest;
    let has_last = value::<u64>(open + limit / 64 * 8, 0) & last == last;
    if (rest == 0 || has_rest) && (last == 0 || has_last) { Full::Yes } else { Full::No }
}

/// A word with the lowest `bits` bits set, of which there are fewer than 64.
#[inline(always)]
fn lowest(bits: u64) -> u64 {
    (1 << (bits % 64)) - 1
}
