//! Keeps room in the ring buffer for those who send little. When it is nearly full, each process may
//! send only a few records more until the agent has read as much as there was room: so a process that
//! floods it loses events of its own rather than those of others.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS, BPF_RB_RING_SIZE},
    macros::map,
    maps::Array,
};

use crate::{maps::EVENTS, task};

/// The part of the ring buffer that is kept.
const ROOM: u64 = 8;

/// The bytes of the ring buffer for each record that a process may send into that room: sixteen
/// processes with records of half a KiB can fill it.
const BYTES_EACH: u64 = ROOM * 16 * 512;

/// Processes are counted in as many places, by their ids. Two in the same place share.
const PLACES: u32 = 4096;

/// Records sent into the room: the upper half is when (how often the agent has read as much as the
/// room), the lower half how many.
#[map]
static SENT: Array<u64> = Array::with_max_entries(PLACES, 0);

/// Whether the current process has to leave what room there is to others.
#[inline(always)]
pub(crate) fn is_used_up() -> bool {
    let size = EVENTS.query(BPF_RB_RING_SIZE.into());
    let room = size / ROOM;
    if EVENTS.query(BPF_RB_AVAIL_DATA.into()) < size - room {
        return false;
    }
    let Some(sent) = SENT.get_ptr_mut(task::pid() % PLACES) else { return false };
    let Some(now) = EVENTS.query(BPF_RB_CONS_POS.into()).checked_div(room) else { return false };
    // SAFETY: a live map value. Threads on several processors may count too little, which gives
    // them a few records more.
    let (then, count) = unsafe { (*sent >> 32, *sent & u64::from(u32::MAX)) };
    let count = if then == now & u64::from(u32::MAX) { count } else { 0 };
    if count >= size / BYTES_EACH {
        return true;
    }
    // SAFETY: as above.
    unsafe { *sent = now << 32 | (count + 1) };
    false
}
