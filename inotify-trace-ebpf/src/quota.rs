//! The kernel's own counts and limits (`kernel/ucount.c`).

use core::{hint::black_box, mem::MaybeUninit};

use inotify_trace_common::{
    ABSENT, Quota,
    record::{LEVELS, Level},
};

use crate::{
    maps::{PAYERS, User},
    read::{blur, field, offset, pointer, read, value},
    task,
};

/// The largest count (`int`): a larger or negative value is no longer a counter, but reused memory.
const MAX_COUNT: i64 = i32::MAX as i64;

/// How many levels a hook looks at: more than a handful is unheard of, and each costs the verifier
/// 300 instructions in every program. Of users nested deeper than that, the count is not known.
const NEAR: u32 = 8;

/// A counted resource.
#[derive(Clone, Copy)]
pub(crate) enum Counted {
    /// inotify instances.
    Instances,
    /// inotify watches.
    Watches,
}

impl Counted {
    /// Its index in `enum ucount_type`.
    #[inline(always)]
    fn index(self) -> u32 {
        match self {
            Self::Instances => offset!(ucount_instances),
            Self::Watches => offset!(ucount_watches),
        }
    }
}

/// The count that `ucounts` holds, with the limit closest to being reached among its own
/// namespace's and those above, in each of which the same charge counts.
#[inline(always)]
pub(crate) fn of(ucounts: u64, counted: Counted) -> Quota {
    let Some(ns) = pointer(ucounts, offset!(ucounts_ns)) else { return blurred(Quota::UNKNOWN) };
    let uid = blur(field(ucounts, offset!(ucounts_uid)).unwrap_or(ABSENT));
    tightest(ns, ucounts, uid, counted)
}

/// The same for user `uid` of `ns`, whose own counters are `own`; 0 if it has none, which counts
/// nothing.
#[inline(always)]
fn tightest(mut ns: u64, own: u64, uid: u32, counted: Counted) -> Quota {
    let mut quota = Quota::UNKNOWN;
    quota.uid = uid;
    quota.userns = value(ns, offset!(userns_inum));
    let (mut counter, mut payer) = (own, uid);
    // More than can ever be left; and a number that a count which is none makes negative.
    let (mut room, mut sane) = (1_i64 << 62, 0_i64);
    for level in 0..NEAR {
        let (used, _) = element(counter, offset!(ucounts_ucount), offset!(ucount_size), counted);
        let (limit, unreadable) =
            element(ns, offset!(userns_ucount_max), offset!(ucount_max_size), counted);
        sane |= used | (MAX_COUNT - used);
        let left = limit - used;
        // All ones where this level is as tight as any before it, and zeros elsewhere and above the
        // initial namespace: with a branch, the verifier would walk 2^LEVELS paths. Equally tight:
        // the kernel charges both; the outer one is the machine's own limit, and the one to raise.
        let take = black_box(((left - room - 1) >> 63) & !(unreadable >> 63));
        let choose = |new: i64, old: i64| (new & take) | (old & !take);
        room = choose(left, room);
        quota.used = choose(used, quota.used.into()) as u32;
        quota.limit = choose(limit, quota.limit.into()) as u32;
        quota.level = choose(level.into(), quota.level.into()) as u32;
        quota.payer_uid = choose(payer.into(), quota.payer_uid.into()) as u32;
        let userns = value::<u32>(ns, offset!(userns_inum));
        quota.payer_userns = choose(userns.into(), quota.payer_userns.into()) as u32;
        counter = value(ns, offset!(userns_ucounts));
        if counter == 0 {
            break;
        }
        ns = value(counter, offset!(ucounts_ns));
        payer = value(counter, offset!(ucounts_uid));
    }
    blurred(if sane < 0 || counter != 0 { Quota::UNKNOWN } else { quota })
}

/// The same quota, of which the verifier knows nothing: see [`blur`].
#[inline(always)]
fn blurred(quota: Quota) -> Quota {
    Quota {
        used: blur(quota.used),
        limit: blur(quota.limit),
        uid: blur(quota.uid),
        userns: blur(quota.userns),
        level: blur(quota.level),
        payer_uid: blur(quota.payer_uid),
        payer_userns: blur(quota.payer_userns),
    }
}

/// Sets the counters of `ucounts` and of those above, which count every charge of it too. Without a
/// branch, as in [`tightest`].
#[inline(always)]
pub(crate) fn fill(levels: &mut [MaybeUninit<Level>; LEVELS], ucounts: u64) {
    let mut counter = ucounts;
    for level in levels {
        let ns = value::<u64>(counter, offset!(ucounts_ns));
        let uid = value(counter, offset!(ucounts_uid));
        let userns = value(ns, offset!(userns_inum));
        let (instances, max_instances) = counts(counter, ns, Counted::Instances);
        let (watches, max_watches) = counts(counter, ns, Counted::Watches);
        level.write(Level { uid, userns, instances, max_instances, watches, max_watches });
        counter = value(ns, offset!(userns_ucounts));
    }
}

/// A counter and its limit. What is no counter becomes greater than any counter can be.
#[inline(always)]
fn counts(counter: u64, ns: u64, counted: Counted) -> (u32, u32) {
    let (used, _) = element(counter, offset!(ucounts_ucount), offset!(ucount_size), counted);
    let (limit, _) = element(ns, offset!(userns_ucount_max), offset!(ucount_max_size), counted);
    (used as u32, limit as u32)
}

/// Whether the levels above this counter may not be known to the agent: those of a user namespace
/// whose counter was not seen before, or whose first charge this is. The kernel reuses addresses and
/// numbers of namespaces at once.
#[inline(always)]
pub(crate) fn is_new(ucounts: u64) -> bool {
    let Some(user) = user_of(ucounts) else { return false };
    if pointer(user.ns, offset!(userns_ucounts)).is_none() {
        return false;
    }
    let (used, _) =
        element(ucounts, offset!(ucounts_ucount), offset!(ucount_size), Counted::Instances);
    // SAFETY: the value is copied out.
    used <= 1 || unsafe { PAYERS.get(user) }.copied() != Some(ucounts)
}

/// Keeps the counters that the instances of the current task's user are charged to.
#[inline(always)]
pub(crate) fn remember(ucounts: u64) {
    let Some(user) = user_of(ucounts) else { return };
    // LRU: this can only fail for lack of memory, and then a failed creation shows no count.
    let _ = PAYERS.insert(user, ucounts, 0);
}

/// The count of the current task's user for a failed creation, which has no instance to find it by.
#[inline(always)]
pub(crate) fn of_current_user(counted: Counted) -> Quota {
    let Some(user) = current_user() else { return Quota::UNKNOWN };
    // SAFETY: the value is copied out; an entry replaced meanwhile is checked by `belongs`.
    let known = unsafe { PAYERS.get(user) }.copied().unwrap_or(0);
    // The task's own count for the real uid, most of the time the effective one too.
    let own = value(value(task::current(), offset!(task_cred)), offset!(cred_ucounts));
    let ucounts = if belongs(own, user) { own } else { known };
    let is_known = belongs(ucounts, user);
    // Once for both: the verifier walks each path to its end.
    let quota = tightest(user.ns, if is_known { ucounts } else { 0 }, user.uid, counted);
    // Without the user's own count, only a limit that is reached by others is certain.
    if is_known || quota.used >= quota.limit { quota } else { Quota::UNKNOWN }
}

/// The user that the kernel charges for creations by the current task.
#[inline(always)]
fn current_user() -> Option<User> {
    let cred = task::credentials()?;
    let ns = pointer(cred, offset!(cred_user_ns))?;
    let uid = field(cred, offset!(cred_euid))?;
    Some(User { ns, uid, pad: 0 })
}

/// The user whose counters these are.
#[inline(always)]
fn user_of(ucounts: u64) -> Option<User> {
    let ns = pointer(ucounts, offset!(ucounts_ns))?;
    let uid = field(ucounts, offset!(ucounts_uid))?;
    Some(User { ns, uid, pad: 0 })
}

/// Whether `ucounts` is this user's: memory that was freed since may hold another's.
#[inline(always)]
fn belongs(ucounts: u64, user: User) -> bool {
    value::<u64>(ucounts, offset!(ucounts_ns)) == user.ns && is_of(ucounts, user.uid)
}

/// Whether these are counters of `uid`, and not what is left of some. They go with the user's last
/// charge, out of the kernel's table of users first; and freed memory keeps the number of the user,
/// while the counts may be overwritten (`put_ucounts`).
#[inline(always)]
pub(crate) fn is_of(ucounts: u64, uid: u32) -> bool {
    // `node.pprev`, which is just before `ns`: then cleared, or poisoned, which is no address of the
    // kernel.
    let place = value::<u64>(ucounts, offset!(ucounts_ns) - 8);
    place >> 56 == 0xff && value::<u32>(ucounts, offset!(ucounts_uid)) == uid
}

/// The count of instances of `uid` after one has ended, to whose counters it was charged: these may
/// be gone since, and then nothing is charged to them.
#[inline(always)]
pub(crate) fn after_an_end(ucounts: u64, uid: u32) -> Quota {
    let Some(ns) = pointer(ucounts, offset!(ucounts_ns)) else { return Quota::UNKNOWN };
    let was_there = is_of(ucounts, uid);
    let own = if was_there { ucounts } else { 0 };
    let quota = tightest(ns, own, uid, Counted::Instances);
    // The memory may be another user's now; or it was freed while it was read.
    let is_same = value::<u32>(ucounts, offset!(ucounts_uid)) == uid;
    if is_same && is_of(ucounts, uid) == was_there { quota } else { Quota::UNKNOWN }
}

/// One element of an array of counters whose elements are `int` or `long`, and a negative number if
/// it cannot be read.
#[inline(always)]
fn element(base: u64, array: u32, size: u32, counted: Counted) -> (i64, i64) {
    let at = array + counted.index() * size;
    if size == 4 {
        let (value, result) = read::<i32>(base, at);
        (value.into(), result)
    } else {
        read(base, at)
    }
}
