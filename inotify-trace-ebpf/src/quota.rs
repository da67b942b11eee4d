//! The kernel's own counts and limits (`kernel/ucount.c`).

use core::hint::black_box;

use inotify_trace_common::{ABSENT, Quota};

use crate::{
    maps::{PAYERS, User},
    read::{field, offset, pointer, read, value},
    task,
};

/// Namespaces nest at most 32 deep; more than a handful is unheard of.
const LEVELS: u32 = 8;

/// The largest count (`int`): a larger or negative value is no longer a counter, but reused memory.
const MAX_COUNT: i64 = i32::MAX as i64;

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
    let mut quota = Quota::UNKNOWN;
    quota.uid = field(ucounts, offset!(ucounts_uid)).unwrap_or(ABSENT);
    let mut counter = ucounts;
    // More than can ever be left.
    let mut room = 1_i64 << 62;
    for level in 0..LEVELS {
        let Some(ns) = pointer(counter, offset!(ucounts_ns)) else { break };
        if level == 0 {
            quota.userns = value(ns, offset!(userns_inum));
        }
        let (used, _) = element(counter, offset!(ucounts_ucount), offset!(ucount_size), counted);
        let (limit, unreadable) =
            element(ns, offset!(userns_ucount_max), offset!(ucount_max_size), counted);
        if !(0..=MAX_COUNT).contains(&used) {
            return Quota::UNKNOWN;
        }
        let left = limit - used;
        // All ones where this level is as tight as any before it, and zeros elsewhere: with a
        // branch, the verifier would walk 2^LEVELS paths. Equally tight: the kernel charges both;
        // the outer one is the machine's own limit, and the one to raise.
        let take = black_box(((left - room - 1) >> 63) & !(unreadable >> 63));
        let choose = |new: i64, old: i64| (new & take) | (old & !take);
        room = choose(left, room);
        quota.used = choose(used, quota.used.into()) as u32;
        quota.limit = choose(limit, quota.limit.into()) as u32;
        quota.level = choose(level.into(), quota.level.into()) as u32;
        let Some(outer) = pointer(ns, offset!(userns_ucounts)) else { break };
        counter = outer;
    }
    quota
}

/// The counter `level` user namespaces above `ucounts`, which counts every charge of `ucounts` too.
#[inline(always)]
pub(crate) fn above(ucounts: u64, level: u32) -> Option<u64> {
    let mut counter = ucounts;
    for at in 0..LEVELS {
        if at == level {
            return Some(counter);
        }
        counter = pointer(pointer(counter, offset!(ucounts_ns))?, offset!(userns_ucounts))?;
    }
    None
}

/// The count of `counter` itself, `level` namespaces above the charged user, for the counter's
/// user.
#[inline(always)]
pub(crate) fn of_level(counter: u64, level: u32, counted: Counted) -> Quota {
    let ns = value(counter, offset!(ucounts_ns));
    let used = element(counter, offset!(ucounts_ucount), offset!(ucount_size), counted);
    let limit = element(ns, offset!(userns_ucount_max), offset!(ucount_max_size), counted);
    let ((used @ 0..=MAX_COUNT, 0), (limit, 0)) = (used, limit) else { return Quota::UNKNOWN };
    Quota {
        used: used as u32,
        limit: limit.clamp(0, i64::from(ABSENT - 1)) as u32,
        uid: value(counter, offset!(ucounts_uid)),
        userns: value(ns, offset!(userns_inum)),
        level,
    }
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

/// Keeps the counters that the instances of the current task's user are charged to.
#[inline(always)]
pub(crate) fn remember(ucounts: u64) {
    let (Some(ns), Some(uid)) =
        (pointer(ucounts, offset!(ucounts_ns)), field::<u32>(ucounts, offset!(ucounts_uid)))
    else {
        return;
    };
    // LRU: this can only fail for lack of memory, and then a failed creation shows no count.
    let _ = PAYERS.insert(User { ns, uid, pad: 0 }, ucounts, 0);
}

/// The count of the current task's user for a failed creation, which has no instance to find it by.
#[inline(always)]
pub(crate) fn of_current_user(counted: Counted) -> Quota {
    let Some(user) = current_user() else { return Quota::UNKNOWN };
    // SAFETY: the value is copied out; an entry replaced meanwhile is checked by `belongs`.
    let known = unsafe { PAYERS.get(user) }.copied().unwrap_or(0);
    // The task's own count for the real uid; most of the time that is the effective one too.
    let own = value(value(task::current(), offset!(task_cred)), offset!(cred_ucounts));
    let ucounts = if belongs(known, user) { known } else { own };
    // Once for both: the verifier walks each path to its end.
    if belongs(ucounts, user) { of(ucounts, counted) } else { Quota::UNKNOWN }
}

/// The user that the kernel charges for creations by the current task.
#[inline(always)]
fn current_user() -> Option<User> {
    let cred = task::credentials()?;
    let ns = pointer(cred, offset!(cred_user_ns))?;
    let uid = field(cred, offset!(cred_euid))?;
    Some(User { ns, uid, pad: 0 })
}

/// Whether `ucounts` is this user's: memory that was freed since may hold another's.
#[inline(always)]
fn belongs(ucounts: u64, user: User) -> bool {
    value::<u64>(ucounts, offset!(ucounts_ns)) == user.ns
        && value::<u32>(ucounts, offset!(ucounts_uid)) == user.uid
}
