//! Verdicts: leaked instances and their holders, derived from the tracker's state at a moment.
//! Pure: the same state at the same time leads to the same verdicts, live and from a recording.

mod alike;
mod conditions;
mod growth;
mod judge;
mod patterns;
mod piles;
mod restarts;
mod steady;
mod suspects;
#[cfg(test)]
mod tests;
mod watcher;

use std::time::Duration;

pub use growth::Growth;
use judge::judgement;
pub use patterns::{Pattern, known_arguments, patterns};
pub use piles::Pile;
pub use restarts::Restarts;
pub use watcher::Watcher;

use crate::{
    event::{BootTime, CgroupId, InstanceId, Quota, Target},
    tracker::{Instance, Origin, Tracker},
};

/// The time after which instances count as leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// The time from the end of the watched cgroup or container to a verdict: a runtime that
    /// removes a container closes its instances a moment later.
    pub target: Duration,
    /// The time for which an instance may have no watch before it counts as idle.
    pub idle: Duration,
    /// The time for which instances, or equal processes, must become more before that counts as
    /// growth: a starting daemon creates many at once.
    pub growth: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            target: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            growth: Duration::from_secs(120),
        }
    }
}

impl Grace {
    /// For verdicts on what is seen once: what looks leaked counts, and what takes time is left out.
    #[must_use]
    pub fn at_once() -> Self {
        Self { target: Duration::ZERO, idle: Duration::MAX, growth: Duration::MAX }
    }
}

/// Kinds of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It watched only files of cgroups, and these are gone: it can get no more events.
    TargetGone,
    /// The container it was created in is gone, and a process outside still holds it.
    ContainerGone,
    /// Its holder keeps more and more of the instances that it creates, for longer than it usually
    /// does, and none has a target of its own.
    Growing,
    /// An instance has more and more watches.
    WatchesGrowing,
    /// There are more and more equal processes in one place, each with an instance or a few.
    PilingUp,
    /// The limit will be reached soon at the present rate, and that is no leak, or not decided yet.
    LimitNear,
    /// Many instances of its holder watch the same target, or none. A look at another time shows
    /// whether they become more.
    Alike,
    /// Its queue has overflowed: its holder has missed events. No leak.
    QueueFull,
    /// It has had no watch for long. Unusual, but no leak by itself.
    Idle,
}

impl Kind {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetGone => "target-gone",
            Self::ContainerGone => "container-gone",
            Self::Growing => "growing",
            Self::WatchesGrowing => "watches-growing",
            Self::PilingUp => "piling-up",
            Self::LimitNear => "limit-near",
            Self::Alike => "alike",
            Self::QueueFull => "queue-full",
            Self::Idle => "idle",
        }
    }

    /// Whether it shows by itself, and not only by a trend.
    #[must_use]
    pub fn is_certain(self) -> bool {
        matches!(self, Self::TargetGone | Self::ContainerGone)
    }

    /// Whether it is a leak, and not only a note.
    #[must_use]
    pub fn is_leak(self) -> bool {
        !matches!(self, Self::QueueFull | Self::LimitNear | Self::Alike | Self::Idle)
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Inferred.
    Likely,
    /// Seen in the kernel.
    Certain,
}

/// A leaked instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The instance.
    pub instance: InstanceId,
    /// When the leak began: the end of the watched cgroup or container. For a leak that existed at
    /// start: the time of the snapshot.
    pub since: BootTime,
    /// The cgroups it watched, all of which are gone; or the one it was created in.
    pub cgroups: Vec<CgroupId>,
    /// Whether the leak existed at start: then `since` is the time of the snapshot.
    pub was_found: bool,
    /// The confidence of the leak.
    pub confidence: Confidence,
}

impl Evidence {
    fn new(
        instance: &Instance,
        since: BootTime,
        cgroups: Vec<CgroupId>,
        confidence: Confidence,
    ) -> Self {
        let was_found = instance.origin == Origin::Found && since == instance.since;
        Self { instance: instance.id, since, cgroups, was_found, confidence }
    }
}

/// A verdict on some instances of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Its kind.
    pub kind: Kind,
    /// The process that holds them, by process id.
    pub pid: u32,
    /// The known bug that it matches.
    pub pattern: Option<&'static Pattern>,
    /// The instances, those leaked first before others.
    pub evidence: Vec<Evidence>,
    /// The rate at which it grows, if it does.
    pub growth: Option<Growth>,
    /// The cost of each restart of a container, if the process is a shim that keeps their
    /// instances.
    pub restarts: Option<Restarts>,
    /// What else its kind says.
    pub detail: Detail,
}

/// What a verdict says besides its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// What all the instances watch.
    Watched(Watched),
    /// The processes that pile up.
    Pile(Pile),
    /// The number of watches now, and before it grew.
    Watches {
        /// Now.
        now: u32,
        /// Before.
        before: u32,
    },
    /// The limit that is near, and what it looks like.
    Near(Near),
}

/// What all of some instances watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    /// This alone.
    Same(Box<Target>),
    /// Nothing that exists.
    Nothing,
    /// Various targets.
    Various,
}

/// A limit that will be reached soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// The charges of the user who pays.
    pub quota: Quota,
    /// Whether each instance has a target of its own, so that they look used; otherwise it is too
    /// early to tell.
    pub looks_used: bool,
    /// The equal processes that hold these instances, if it is not one process.
    pub pile: Option<Pile>,
}

impl Near {
    /// It is too early to tell what it looks like.
    fn undecided(quota: Quota) -> Self {
        Self { quota, looks_used: false, pile: None }
    }

    /// It looks like use.
    fn used(quota: Quota) -> Self {
        Self { looks_used: true, ..Self::undecided(quota) }
    }
}

impl Verdict {
    /// Whether all its leaks existed at start.
    #[must_use]
    pub fn was_found(&self) -> bool {
        self.evidence.iter().all(|it| it.was_found)
    }

    /// When the first of its instances was leaked.
    #[must_use]
    pub fn since(&self) -> BootTime {
        self.evidence.iter().map(|it| it.since).min().unwrap_or(BootTime(0))
    }

    /// How much it is about: watches, processes or instances.
    #[must_use]
    pub fn size(&self) -> usize {
        match self.detail {
            Detail::Watches { now, .. } => now as usize,
            Detail::Pile(pile) => pile.processes,
            // Only how near it is makes it worse.
            Detail::Near(_) => 1,
            _ => self.evidence.len(),
        }
    }

    /// Adds the cost of restarts, which takes a scan of all known cgroups.
    fn with_restarts(mut self, tracker: &Tracker, now: BootTime, grace: &Grace) -> Self {
        let process = tracker.process(self.pid).filter(|_| self.kind == Kind::TargetGone);
        self.restarts = process.and_then(|process| {
            restarts::of(tracker, process, self.pattern, &self.evidence, (now, grace))
        });
        self
    }

    /// The lowest confidence of its instances.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        self.evidence.iter().map(|it| it.confidence).min().unwrap_or(Confidence::Likely)
    }
}

/// The verdicts at a moment: one for each holder, kind and known bug; leaks first. None if events
/// are missing ([`Tracker::is_uncertain`]): what looks leaked may have ended with one of them.
#[must_use]
pub fn verdicts(tracker: &Tracker, now: BootTime, grace: &Grace) -> Vec<Verdict> {
    let (found, _) = judgement(tracker, now, grace);
    found.into_iter().map(|it| it.with_restarts(tracker, now, grace)).collect()
}

/// The same without the cost of restarts, which takes a scan of all known cgroups for each.
#[must_use]
pub fn verdicts_at_once(tracker: &Tracker, now: BootTime, grace: &Grace) -> Vec<Verdict> {
    judgement(tracker, now, grace).0
}

/// Whether an instance looks leaked now, before any grace period is over: what it was for is gone.
#[must_use]
pub fn looks_leaked(tracker: &Tracker, instance: &Instance) -> bool {
    !tracker.is_uncertain()
        && suspects::suspect(tracker, instance).is_some_and(|(kind, _)| kind.is_leak())
}
