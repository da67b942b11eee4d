//! Growth by what stays: whether things that last become ever more, at a pace that goes on.

use std::time::Duration;

use crate::{event::BootTime, tracker::Lifetimes};

/// Fewer than this are no trend.
pub(super) const FEWEST: usize = 8;

/// Over this time a limit may be reached before a verdict is: it is worth a note.
pub(super) const GLANCE: Duration = Duration::from_secs(10);

/// Younger things are none that last.
const SHORTEST: Duration = Duration::from_secs(1);

/// A span has this many parts.
const PARTS: usize = 10;

/// Things must have begun in at least this many parts of the span: not in a burst or two.
const BUSY: usize = 5;

/// Of those that reached an age, at most one in this many may have ended later, or the age is
/// not unusual.
const ENDED: u64 = 10;

/// Things and when they began, in that order.
pub(super) type Begun<T> = [(BootTime, T)];

/// Those that have outlived the usual lifetime, and that lifetime: hardly any others that got as old
/// have ended since. All are at least as old as `least`.
pub(super) fn outlasting<'a, T>(
    things: &'a Begun<T>,
    ended: &Lifetimes,
    now: BootTime,
    least: Duration,
) -> Option<(&'a Begun<T>, Duration)> {
    for (usual, longer) in ended.longer_than() {
        let usual = usual.max(least);
        let old = things.partition_point(|&(since, _)| now.since(since) >= usual);
        if old < FEWEST {
            return None;
        }
        if longer * ENDED <= old as u64 {
            return Some((&things[..old], usual));
        }
    }
    None
}

/// Growth must go on for this many usual lifetimes: until then, what came first may still end.
const LIFETIMES: u32 = 4;

/// The things that last and become more until `now`, if they have done so for `span`, and for
/// several usual lifetimes; of a burst at the start only what came after it. `ended` is how long
/// others lasted.
pub(super) fn increase<'a, T>(
    things: &'a Begun<T>,
    ended: &Lifetimes,
    now: BootTime,
    span: Duration,
) -> Option<&'a Begun<T>> {
    let (things, usual) = outlasting(things, ended, now, SHORTEST)?;
    let span = span.max(ended.most().saturating_mul(LIFETIMES));
    steady(things, now, usual, span).or_else(|| {
        let parts = parts(things)?;
        let burst = parts[0];
        steady(&things[burst..], now, usual, span)
    })
}

fn steady<T>(
    things: &Begun<T>,
    now: BootTime,
    usual: Duration,
    least: Duration,
) -> Option<&Begun<T>> {
    let parts = parts(things)?;
    let (first, last) = (things.first()?.0, things.last()?.0);
    let span = last.since(first);
    let busy = parts.iter().filter(|&&it| it > 0).count();
    let fullest = parts.iter().max().copied().unwrap_or_default();
    // Younger ones may be of those that end.
    let goes_on = now.since(last) <= usual + span / BUSY as u32;
    let is_steady = things.len() >= FEWEST
        && span >= least
        && busy >= BUSY
        && 2 * fullest <= things.len()
        && goes_on;
    is_steady.then_some(things)
}

/// How many began in each part of the time from the first to the last; None if that is no time.
fn parts<T>(things: &Begun<T>) -> Option<[usize; PARTS]> {
    let first = things.first()?.0;
    let span = things.last()?.0.since(first).as_nanos();
    let mut parts = [0; PARTS];
    for &(since, _) in things {
        let part = (since.since(first).as_nanos() * PARTS as u128).checked_div(span)?;
        let part = usize::try_from(part).unwrap_or(PARTS);
        parts[part.min(PARTS - 1)] += 1;
    }
    Some(parts)
}

/// How many more begin a minute, by the later half of the time: it goes on as it was lately. None
/// for fewer than two.
pub(super) fn per_minute<T>(things: &Begun<T>) -> Option<f64> {
    let (first, last) = (things.first()?.0, things.last()?.0);
    let middle = BootTime(first.0 + last.0.saturating_sub(first.0) / 2);
    let later = things.partition_point(|&(since, _)| since < middle);
    // With few, the whole time says more.
    let later = if things.len() - later >= 3 { &things[later..] } else { things };
    let minutes = last.since(later.first()?.0).as_secs_f64() / 60.0;
    // All at the same moment, as by one call that removes a pod.
    (minutes > 0.0).then(|| (later.len() - 1) as f64 / minutes)
}
