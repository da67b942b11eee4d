//! The queues of instances, and their overflows.

use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};
use inotify_trace_common::{Kind, Record};

use crate::{
    emit::emit,
    maps::inotify_operations,
    read::{offset, one_if_any, pointer, value},
};

/// What `fsnotify_insert_event` returns for an event that is dropped (`fs/notify/notification.c`).
pub(crate) const DROPPED: i32 = 2;

/// Groups whose overflow was recorded. Until its owner has read of it, no further one is. An entry
/// that is pushed out costs one more record, of which the agent takes no notice.
#[map]
static TOLD: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4 << 10, 0);

/// Groups whose queue is full, by the `pid_tgid` that adds an event: a kretprobe has no arguments.
#[map]
static ADDING: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1 << 10, 0);

/// A queue at one moment.
pub(crate) struct Queue {
    queued: u32,
    limit: u32,
    overflowed: u32,
}

impl Queue {
    #[inline(always)]
    pub(crate) fn of(group: u64) -> Self {
        Self {
            queued: value(group, offset!(group_q_len)),
            limit: value(group, offset!(group_max_events)),
            overflowed: overflowed(group),
        }
    }

    /// Sets the queue's fields in `record`.
    #[inline(always)]
    pub(crate) fn describe(&self, record: &mut Record) {
        record.queued = self.queued;
        record.queue_limit = self.limit;
        record.overflowed = self.overflowed;
    }
}

/// 1 if the queue holds the event that says that others were dropped, and 0 if not.
#[inline(always)]
fn overflowed(group: u64) -> u32 {
    // A list's head leads to itself if the list is empty. 0 is read where nothing can be.
    let event: u64 = value(group, offset!(group_overflow_event));
    one_if_any(value::<u64>(event, 0) ^ event)
}

/// Whether the queue holds the event that says that others were dropped.
#[inline(always)]
fn is_overflowed(group: u64) -> bool {
    overflowed(group) != 0
}

/// An event of `group` was dropped: recorded once, until the owner has read of it. Groups of
/// fanotify pass as well, and those that end, for which no event is queued any more.
#[inline(always)]
pub(crate) fn dropped(group: u64) {
    let is_ending = value::<u8>(group, offset!(group_shutdown)) != 0;
    if is_ending || pointer(group, offset!(group_ops)) != Some(inotify_operations()) {
        return;
    }
    // SAFETY: only whether there is a value counts.
    if unsafe { TOLD.get(group) }.is_none() {
        tell(0, group);
    }
}

fn tell(file: u64, group: u64) {
    // Without an entry there is one more record, of which the agent takes no notice.
    let _ = TOLD.insert(group, 1, 0);
    emit(Kind::QueueOverflowed, |record| {
        record.file = file;
        record.group = group;
        Queue::of(group).describe(record);
    });
}

/// A group ends, and its address may be that of another one soon.
#[inline(always)]
pub(crate) fn forget(group: u64) {
    // Nearly always there is no entry.
    let _ = TOLD.remove(group);
}

/// The agent asks about the queue of an instance.
#[inline(always)]
pub(crate) fn look(file: u64, group: u64, tell_read: bool) {
    if !is_overflowed(group) {
        // Forgotten first: an event that is dropped in between is recorded, here or by its hook.
        forget(group);
        if !is_overflowed(group) {
            if tell_read {
                emit(Kind::QueueRead, |record| {
                    record.file = file;
                    record.group = group;
                    Queue::of(group).describe(record);
                });
            }
            return;
        }
    }
    tell(file, group);
}

/// An event is about to be added to the queue of `group`: kept if there is no room for it.
#[inline(always)]
pub(crate) fn adding(group: u64) {
    let queued: u32 = value(group, offset!(group_q_len));
    if queued >= value(group, offset!(group_max_events)) {
        // Without an entry, the next event that is dropped makes the record.
        let _ = ADDING.insert(bpf_get_current_pid_tgid(), group, 0);
    }
}

/// The event was added, or dropped.
#[inline(always)]
pub(crate) fn added(result: i32) {
    if result != DROPPED {
        return;
    }
    let task = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    if let Some(group) = unsafe { ADDING.get(task) }.copied() {
        let _ = ADDING.remove(task);
        dropped(group);
    }
}
