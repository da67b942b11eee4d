//! The series of holders: which holders have one, and for how long.
//!
//! A holder gets series once it is old enough, the largest first; they end when it is gone and that was
//! scraped. All others count together. So the number of series is bounded, whatever names others
//! choose.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use inotify_trace_model::{
    event::{BootTime, CgroupId},
    tracker::{Origin, Tracker},
    usage::{By, groups},
};

use super::{labels::Holder, registry::HOLDERS};

/// A holder younger than this has no series: most containers of a busy machine live for seconds.
const YOUNG: u64 = 30_000_000_000;

/// How long the series of a holder that is gone wait to be scraped, and for how long one that was
/// refused, and holds nothing, is no less there.
const LAST: u64 = 600_000_000_000;

/// The most holders that are known. Beyond that, those seen longest ago make room.
const KNOWN: usize = 4096;

/// The most cgroups whose failures wait for the next page.
const WAITING: usize = 4096;

/// What a holder has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its instances.
    pub instances: u64,
    /// Their watches.
    pub watches: u64,
    /// The longest of the queues that have overflowed; None if none has.
    pub queue: Option<u32>,
    /// Since when it has had the first of them; 0 if that is before the agent began.
    since: BootTime,
}

/// What has happened to a holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Calls that failed.
    pub failures: u64,
    /// Overflows of queues.
    pub overflows: u64,
}

impl Happened {
    fn add(&mut self, more: Self) {
        self.failures += more.failures;
        self.overflows += more.overflows;
    }
}

/// A holder with series, or without.
#[derive(Debug)]
struct Known {
    since: BootTime,
    /// When it was last seen to hold something, or to have something happen.
    seen: BootTime,
    /// When something last happened.
    happened_at: Option<BootTime>,
    /// Whether it has series of its own.
    is_shown: bool,
    /// The first page that shows it as gone, and its time.
    gone: Option<(u64, BootTime)>,
    held: Held,
    happened: Happened,
}

impl Known {
    fn is_there(&self, now: BootTime) -> bool {
        let is_recent = |at: BootTime| now.0.saturating_sub(at.0) < LAST;
        self.held.instances > 0 || self.happened_at.is_some_and(is_recent)
    }

    fn weight(&self) -> (u64, u64, u64) {
        (self.held.instances, self.held.watches, self.happened.failures)
    }
}

/// All holders.
#[derive(Debug, Default)]
pub struct Holders {
    known: BTreeMap<Holder, Known>,
    /// What has happened since the last page.
    waiting: HashMap<CgroupId, Happened>,
    /// What those without series have.
    other: (Held, Happened),
    /// How many have none.
    omitted: usize,
    /// Those that may make room on this page, the one seen longest ago at the end.
    spare: Option<Vec<(BootTime, Holder)>>,
}

impl Holders {
    /// A call of a process in this cgroup failed, or a queue overflowed.
    pub fn happened(&mut self, cgroup: CgroupId, what: Happened) {
        let is_full = self.waiting.len() >= WAITING && !self.waiting.contains_key(&cgroup);
        let it = if is_full { &mut self.other.1 } else { self.waiting.entry(cgroup).or_default() };
        it.add(what);
    }

    /// Prepares the next page, whose number is `page`. `served` is the number of the latest page that was
    /// scraped.
    pub fn update(&mut self, tracker: &Tracker, now: BootTime, page: u64, served: u64) {
        self.known.values_mut().for_each(|it| it.held = Held::default());
        (self.other.0, self.omitted, self.spare) = (Held::default(), 0, None);
        for (holder, held) in held(tracker) {
            match holder.and_then(|holder| self.entry(holder, held.since, now)) {
                Some(known) => known.held = held,
                None => self.leave_out(held),
            }
        }
        for (cgroup, what) in std::mem::take(&mut self.waiting) {
            let holder = Holder::of_cgroup(cgroup, tracker);
            let mut it = None;
            if let Some(known) = holder.and_then(|holder| self.entry(holder, now, now)) {
                known.happened_at = Some(now);
                it = known.is_shown.then_some(&mut known.happened);
            }
            match it {
                Some(it) => it.add(what),
                None => self.other.1.add(what),
            }
        }
        self.known.retain(|_, it| match it.gone {
            _ if it.is_there(now) => {
                it.gone = None;
                true
            }
            _ if !it.is_shown => false,
            None => {
                it.gone = Some((page, now));
                true
            }
            Some((page, since)) => served < page && now.0.saturating_sub(since.0) < LAST,
        });
        self.choose(now);
        let without: Vec<_> =
            self.known.values().filter(|it| !it.is_shown).map(|it| it.held).collect();
        without.into_iter().for_each(|held| self.leave_out(held));
    }

    fn leave_out(&mut self, held: Held) {
        let sum = &mut self.other.0;
        sum.instances += held.instances;
        sum.watches += held.watches;
        sum.queue = sum.queue.max(held.queue);
        self.omitted += 1;
    }

    /// What is known of a holder; None if there are too many.
    fn entry(&mut self, holder: Holder, since: BootTime, now: BootTime) -> Option<&mut Known> {
        if self.known.len() >= KNOWN && !self.known.contains_key(&holder) {
            self.make_room(now)?;
        }
        let known = self.known.entry(holder).or_insert_with(|| Known {
            since,
            seen: now,
            happened_at: None,
            is_shown: false,
            gone: None,
            held: Held::default(),
            happened: Happened::default(),
        });
        known.since = known.since.min(since);
        known.seen = now;
        Some(known)
    }

    /// Forgets one that was not seen this time and has no series; None if there is none.
    fn make_room(&mut self, now: BootTime) -> Option<()> {
        let is_spare = |it: &Known| !it.is_shown && it.seen < now;
        // Listed once for each page: whoever makes many holders must not make pages slow.
        let spare = self.spare.get_or_insert_with(|| {
            let all = self.known.iter().filter(|(_, it)| is_spare(it));
            let mut spare: Vec<_> = all.map(|(holder, it)| (it.seen, holder.clone())).collect();
            spare.sort_unstable_by(|a, b| b.cmp(a));
            spare
        });
        while let Some((_, oldest)) = spare.pop() {
            if self.known.get(&oldest).is_some_and(is_spare) {
                self.known.remove(&oldest);
                return Some(());
            }
        }
        None
    }

    /// Gives series to the largest that have none and are old enough. If all series are taken, one that
    /// has more than twice as much takes those of the smallest.
    fn choose(&mut self, now: BootTime) {
        let mut shown: Vec<_> = self
            .known
            .iter()
            .filter(|(_, it)| it.is_shown)
            .map(|(h, it)| (it.weight(), h))
            .collect();
        shown.sort_unstable_by(|a, b| b.cmp(a));
        let is_old = |it: &Known| now.0.saturating_sub(it.since.0) >= YOUNG;
        let mut next: Vec<_> = self
            .known
            .iter()
            .filter(|(_, it)| !it.is_shown && it.is_there(now) && is_old(it))
            .map(|(holder, it)| (Reverse(it.weight()), holder))
            .collect();
        next.sort_unstable();
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        let mut room = HOLDERS.saturating_sub(shown.len());
        for (Reverse(weight), holder) in next {
            if room > 0 {
                room -= 1;
            } else if let Some((smallest, _)) = shown.last()
                && weight.0 > 2 * smallest.0
            {
                end.extend(shown.pop().map(|(_, holder)| holder.clone()));
            } else {
                break;
            }
            begin.push(holder.clone());
        }
        for (holders, is_shown) in [(end, false), (begin, true)] {
            for holder in holders {
                if let Some(known) = self.known.get_mut(&holder) {
                    (known.is_shown, known.happened) = (is_shown, Happened::default());
                }
            }
        }
    }

    /// All that have series, and at the end the one for all others.
    pub fn rows(&self) -> impl Iterator<Item = (Holder, Held, Happened)> + '_ {
        let shown = self.known.iter().filter(|(_, it)| it.is_shown);
        let other = (Holder::other(), self.other.0, self.other.1);
        shown.map(|(holder, it)| (holder.clone(), it.held, it.happened)).chain([other])
    }

    /// The number of holders without series of their own.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The number of holders that are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

/// What each holder has. Containers with the same names count together.
fn held(tracker: &Tracker) -> BTreeMap<Option<Holder>, Held> {
    let mut all: BTreeMap<Option<Holder>, Held> = BTreeMap::new();
    for group in groups(tracker, By::Container) {
        let instances = group.instances.iter().filter_map(|id| tracker.instance(*id));
        let (mut queue, mut since) = (None, BootTime(u64::MAX));
        for instance in instances {
            queue = queue.max(instance.overflow.map(|it| it.queued));
            let is_older = instance.origin == Origin::Found;
            since = since.min(if is_older { BootTime(0) } else { instance.since });
        }
        let holder = Holder::of_group(&group.key, tracker);
        let held = all.entry(holder).or_insert(Held { since, ..Held::default() });
        held.instances += group.instances.len() as u64;
        held.watches += group.watches;
        held.queue = held.queue.max(queue);
        held.since = held.since.min(since);
    }
    all
}
