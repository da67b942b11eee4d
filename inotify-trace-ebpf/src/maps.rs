//! The BPF maps: state of the programs, and the ring buffer.

use aya_ebpf::{
    bindings::{
        BPF_F_MMAPABLE, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE,
    },
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, LruHashMap, RingBuf},
};
use inotify_trace_common::{
    Kind,
    record::{self, CPUS, Loss},
};

/// The ring buffer of `Record`s, some with a path. The loader may change its size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Whether the agent rests after a batch, and must not be woken; it sets this itself, through
/// mapped memory.
#[map]
static RESTING: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Whether the agent should read before more is written.
#[inline(always)]
pub(crate) fn is_half_full() -> bool {
    EVENTS.query(BPF_RB_AVAIL_DATA.into()) > EVENTS.query(BPF_RB_RING_SIZE.into()) / 2
}

/// Flags for submitting a record. An agent at rest is woken by nothing but a ring buffer that is
/// half full; otherwise by the first record after it has read all (the kernel's default).
#[inline(always)]
pub(crate) fn wake_up(kind: Kind) -> u64 {
    // A new container's name must be read while the container exists.
    if matches!(kind, Kind::CgroupCreated) {
        return u64::from(BPF_RB_FORCE_WAKEUP);
    }
    if RESTING.get(0).copied().unwrap_or(0) == 0 {
        return 0;
    }
    let (filled, size) =
        (EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)), EVENTS.query(u64::from(BPF_RB_RING_SIZE)));
    // Only while crossing the middle: once is enough, and waking is expensive.
    let middle = size / 2;
    if filled >= middle && filled < middle + CROSSING {
        u64::from(BPF_RB_FORCE_WAKEUP)
    } else {
        u64::from(BPF_RB_NO_WAKEUP)
    }
}

/// Bytes from the middle within which some record is sure to end, and few are.
const CROSSING: u64 = 8 << 10;

/// Processes (tgid) that may hold an instance; the value says nothing. A process that is not in the
/// map costs one look-up for each `close` and nothing more.
#[map]
pub(crate) static HOLDERS: HashMap<u32, u32> = HashMap::with_max_entries(record::HOLDERS, 0);

/// A user: a user namespace's address and a uid in the initial namespace.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct User {
    /// Address of the `user_namespace`.
    pub(crate) ns: u64,
    /// Effective uid.
    pub(crate) uid: u32,
    /// Keeps the size a multiple of the alignment.
    pub(crate) pad: u32,
}

/// Address of the `ucounts` that a user's instances were last charged to: a failed creation leaves
/// no group to find it through.
#[map]
pub(crate) static PAYERS: LruHashMap<User, u64> = LruHashMap::with_max_entries(record::PAYERS, 0);

/// Address of the kernel's `inotify_fops`, which identifies the `file` of an instance. Learned from
/// an instance of the agent's own, since not every kernel lists data symbols.
#[map]
static INOTIFY_FOPS: Array<u64> = Array::with_max_entries(1, 0);

/// The address in [`INOTIFY_FOPS`]; 0 before it is learned.
#[inline(always)]
pub(crate) fn inotify_fops() -> u64 {
    learned(&INOTIFY_FOPS)
}

/// Sets what [`inotify_fops`] answers.
pub(crate) fn learn_inotify_fops(address: u64) {
    learn(&INOTIFY_FOPS, address);
}

/// Address of the kernel's `inotify_fsnotify_ops`, which identifies the group of an instance: those
/// of fanotify share the functions that queue events. Learned together with [`INOTIFY_FOPS`].
#[map]
static INOTIFY_OPERATIONS: Array<u64> = Array::with_max_entries(1, 0);

/// The address in [`INOTIFY_OPERATIONS`]; 0 before it is learned.
#[inline(always)]
pub(crate) fn inotify_operations() -> u64 {
    learned(&INOTIFY_OPERATIONS)
}

/// Sets what [`inotify_operations`] answers.
pub(crate) fn learn_inotify_operations(address: u64) {
    learn(&INOTIFY_OPERATIONS, address);
}

/// An address that the agent has the programs learn; 0 before that.
#[inline(always)]
fn learned(address: &Array<u64>) -> u64 {
    address.get(0).copied().unwrap_or(0)
}

/// Sets what [`learned`] answers.
#[inline(always)]
fn learn(place: &Array<u64>, address: u64) {
    if let Some(slot) = place.get_ptr_mut(0) {
        // SAFETY: a live map value of this type; the agent learns before it attaches anything.
        unsafe { *slot = address };
    }
}

/// Losses since load: for each CPU one counter for each [`Loss`], which only ever grows. No per-CPU
/// map: the agent maps this one.
#[map]
static LOST: Array<u64> = Array::with_max_entries(CPUS * Loss::ALL.len() as u32, BPF_F_MMAPABLE);

/// Counts a loss.
#[inline(always)]
pub(crate) fn lost(loss: Loss) {
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } % CPUS;
    if let Some(counter) = LOST.get_ptr_mut(cpu * Loss::ALL.len() as u32 + loss as u32) {
        // SAFETY: a live map value that only this CPU writes, on machines with up to `CPUS`. A
        // program that is preempted between the read and the write hides the losses of others until
        // it goes on, never invents one. (Rust has no atomic addition for this target.)
        unsafe { *counter += 1 };
    }
}

/// Adds a process to the holders.
#[inline(always)]
pub(crate) fn hold(pid: u32) {
    if HOLDERS.insert(pid, 1, 0).is_err() {
        lost(Loss::HoldersFull);
    }
}

/// Whether a process is one of the holders.
#[inline(always)]
pub(crate) fn may_hold(pid: u32) -> bool {
    // SAFETY: only whether there is a value counts; it is not read.
    unsafe { HOLDERS.get(pid) }.is_some()
}
