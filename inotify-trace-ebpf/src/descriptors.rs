//! The descriptors of the current process: whether it has as many as it may, and which are instances.

use core::mem::MaybeUninit;

use inotify_trace_common::record::{Full, KEPT};

use crate::{
    maps::inotify_fops,
    read::{blur, field, offset, pointer, value},
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

/// Steps of a look for instances: one for each open descriptor, and one for each 64 that the table has
/// room for.
const STEPS: u32 = 64;

/// Writes the inotify descriptors of the current process to `found`, in ascending order, and adds
/// their number to `count`; returns whether it has looked at all descriptors.
///
/// `count` must be in the ring buffer, of which the verifier knows nothing: so it walks each step once,
/// whatever was found before.
#[inline(always)]
pub(crate) fn find_instances(found: &mut [MaybeUninit<i32>; KEPT], count: &mut u32) -> bool {
    let files = value(task::current(), offset!(task_files));
    let table = value(files, offset!(files_fdt));
    let size: u32 = value(table, offset!(fdt_max_fds));
    let slots: u64 = value(table, offset!(fdt_fd));
    let open: u64 = value(table, offset!(fdt_open_fds));
    let instances = inotify_fops();
    let count = &raw mut *count;
    // The descriptors from `base` on that were not looked at, a bit each; `next` is the first behind
    // them.
    let (mut bits, mut base, mut next) = (0u64, 0u32, 0u32);
    for _ in 0..STEPS {
        next = blur(next);
        if bits == 0 {
            if next >= size {
                // Every process has a table.
                return size != 0;
            }
            bits = value(open + u64::from(next / 8), 0);
            base = next;
            next += 64;
            continue;
        }
        let fd = base + lowest_set(bits);
        bits &= bits - 1;
        let file = value(slots + u64::from(fd) * 8, 0);
        if value::<u64>(file, offset!(file_f_op)) == instances {
            // SAFETY: from a reference. Volatile, so that it stays in its place.
            let index = unsafe { count.read_volatile() } as usize;
            let Some(place) = found.get_mut(index) else { return false };
            place.write(fd as i32);
            // SAFETY: as above.
            unsafe { count.write_volatile(index as u32 + 1) };
        }
    }
    false
}

/// Any of the numbers of which each 6 bits in a row differ (a de Bruijn sequence).
const SEQUENCE: u64 = 0x03f7_9d71_b4cb_0a89;

/// By the 6 bits that are first in [`SEQUENCE`] after a shift to the left: how far it was.
static SHIFTS: [u8; 64] = {
    let (mut shifts, mut shift) = ([0; 64], 0);
    while shift < 64 {
        shifts[((SEQUENCE << shift) >> 58) as usize] = shift;
        shift += 1;
    }
    shifts
};

/// The number of zeros below the lowest bit that is set. This target has no instruction for it, and
/// what the compiler puts in its place takes the verifier many steps.
#[inline(always)]
fn lowest_set(bits: u64) -> u32 {
    let lowest = bits & bits.wrapping_neg();
    let shift = &SHIFTS[(lowest.wrapping_mul(SEQUENCE) >> 58) as usize];
    // SAFETY: a reference to a static. Volatile, so that the compiler does not see through it.
    u32::from(unsafe { core::ptr::from_ref(shift).read_volatile() })
}
