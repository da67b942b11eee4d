//! Sends records to the agent.

use core::mem::MaybeUninit;

use aya_ebpf::{
    cty::c_void,
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user_str},
};
use inotify_trace_common::{
    ABSENT, Kind, Quota, Record,
    record::{Followed, Full, KEPT, LEVELS, LONG_PATH, Level, Loss, SHORT_PATH},
};

use crate::{
    descriptors,
    maps::{EVENTS, lost, wake_up},
    quota, share, task,
};

/// The memory that a path is read from.
#[derive(Clone, Copy)]
pub(crate) enum Path {
    /// The address space of the current task.
    User(u64),
    /// Kernel memory.
    Kernel(u64),
}

/// Sends a record about the current task; `fill` sets the event's fields.
#[inline(always)]
pub(crate) fn emit(kind: Kind, fill: impl FnOnce(&mut Record)) {
    // Answers are the agent's, and about others.
    let is_answer = matches!(
        kind,
        Kind::InstanceFound | Kind::InstanceGone | Kind::InstanceHeld | Kind::QueueRead
    );
    if !is_answer && is_refused() {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Record>(0) else {
        lost(Loss::RingFull);
        return;
    };
    fill(start(kind, &mut entry));
    entry.submit(wake_up(kind));
}

/// Sends a record with a path about the current task; `fill` sets the event's fields.
#[inline(always)]
pub(crate) fn emit_with_path(kind: Kind, path: Path, fill: impl Fn(&mut Record)) {
    if is_refused() {
        return;
    }
    // Nearly every path fits the small entry. One that fills it to the brim may have been cut:
    // it is read again into an entry for the longest path there can be.
    if !emit_sized::<SHORT_PATH>(kind, path, &fill, SHORT_PATH - 2) {
        emit_sized::<LONG_PATH>(kind, path, &fill, LONG_PATH);
    }
}

/// Whether the current process must send no more, which is a loss.
#[inline(always)]
fn is_refused() -> bool {
    let is_used_up = share::is_used_up();
    if is_used_up {
        lost(Loss::RingFull);
    }
    is_used_up
}

/// Sends a record with a file's name about the current task; `fill` sets the event's fields. The name
/// is at `name` in kernel memory; an address that nothing can be read at means none.
#[inline(always)]
pub(crate) fn emit_with_name(kind: Kind, name: u64, fill: impl Fn(&mut Record)) {
    // A name takes 255 bytes at most (`NAME_MAX`).
    emit_sized::<SHORT_PATH>(kind, Path::Kernel(name), &fill, SHORT_PATH);
}

/// Sends the record unless its path is longer than `longest`; returns whether it is done.
#[inline(always)]
fn emit_sized<const N: usize>(
    kind: Kind,
    path: Path,
    fill: &impl Fn(&mut Record),
    longest: usize,
) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Followed<[u8; N]>>(0) else {
        lost(Loss::RingFull);
        return true;
    };
    let (record, bytes) = parts(&mut entry);
    let bytes = bytes.as_mut_ptr();
    // SAFETY: the helpers check the address they read from, and write at most `N` bytes.
    let read = unsafe {
        match path {
            Path::User(from) => {
                bpf_probe_read_user_str(bytes.cast(), N as u32, from as *const c_void)
            }
            Path::Kernel(from) => {
                bpf_probe_read_kernel_str(bytes.cast(), N as u32, from as *const c_void)
            }
        }
    };
    // They return how many bytes they wrote, the terminating zero included, or an error.
    // Linux 5.10 returns 0 for an empty path.
    let length = if read >= 0 { Some((read as usize).saturating_sub(1)) } else { None };
    if length.is_some_and(|length| length > longest) {
        entry.discard(0);
        return false;
    }
    let record = start(kind, record);
    record.path_len = length.map_or(ABSENT, |length| length as u32);
    fill(record);
    entry.submit(wake_up(kind));
    true
}

/// Sends the counters of `payer` at every level of user namespaces.
#[inline(always)]
pub(crate) fn emit_levels(payer: u64) {
    let Some(mut entry) = EVENTS.reserve::<Followed<[Level; LEVELS]>>(0) else {
        lost(Loss::RingFull);
        return;
    };
    let (record, levels) = parts(&mut entry);
    // SAFETY: none of an array of what is not initialised need be.
    let levels = unsafe { &mut *levels.as_mut_ptr().cast::<[MaybeUninit<Level>; LEVELS]>() };
    let record = start(Kind::Charged, record);
    record.payer = payer;
    record.path_len = size_of::<[Level; LEVELS]>() as u32;
    quota::fill(levels, payer);
    entry.submit(wake_up(Kind::Charged));
}

/// Sends that the current process executed a program, as its thread `old_tid`, and with which inotify
/// descriptors. Returns their number, if that is known.
#[inline(always)]
pub(crate) fn emit_exec(old_tid: i32) -> Option<u32> {
    if is_refused() {
        return None;
    }
    let Some(mut entry) = EVENTS.reserve::<Followed<[i32; KEPT]>>(0) else {
        lost(Loss::RingFull);
        return None;
    };
    let (record, kept) = parts(&mut entry);
    // SAFETY: as above.
    let kept = unsafe { &mut *kept.as_mut_ptr().cast::<[MaybeUninit<i32>; KEPT]>() };
    let record = start(Kind::ProcessExec, record);
    record.result = old_tid;
    let is_complete = descriptors::find_instances(kept, &mut record.path_len);
    let count = is_complete.then_some(record.path_len);
    record.path_len = count.map_or(ABSENT, |count| count * size_of::<i32>() as u32);
    entry.submit(wake_up(Kind::ProcessExec));
    count
}

/// The record of an entry, and what follows it.
#[inline(always)]
fn parts<T>(
    entry: &mut MaybeUninit<Followed<T>>,
) -> (&mut MaybeUninit<Record>, &mut MaybeUninit<T>) {
    let whole = entry.as_mut_ptr();
    // SAFETY: the fields are within the entry, apart from each other, and nothing here says that their
    // memory is initialised.
    unsafe { (&mut *(&raw mut (*whole).record).cast(), &mut *(&raw mut (*whole).rest).cast()) }
}

/// Initialises a record with its kind, the time and the current task.
#[inline(always)]
fn start(kind: Kind, record: &mut MaybeUninit<Record>) -> &mut Record {
    zero(record);
    // SAFETY: it is all zeros now, which is a value of each of its fields, integers and bytes.
    let record = unsafe { record.assume_init_mut() };
    record.kind = kind as u32;
    record.quota = Quota::UNKNOWN;
    record.fd = -1;
    record.wd = -1;
    record.nofile_full = Full::Unknown as u32;
    task::describe(record);
    record
}

/// Sets all bytes to zero, by one instruction for each word. The compiler would make it a loop over
/// the bytes, which the verifier walks byte by byte: half of all its work.
#[inline(always)]
fn zero(record: &mut MaybeUninit<Record>) {
    const WORDS: usize = size_of::<Record>() / size_of::<u64>();
    const { assert!(size_of::<Record>().is_multiple_of(size_of::<u64>())) };
    let words = record.as_mut_ptr().cast::<u64>();
    for index in 0..WORDS {
        // SAFETY: within the record, which is aligned as its largest field, a `u64`.
        unsafe { words.add(index).write_volatile(0) };
    }
}
