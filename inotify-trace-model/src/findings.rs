//! Findings as facts: who holds how many of what, since when and how fast, and what can be done about
//! it. Whoever shows them words them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::{BootTime, Comm, InstanceId},
    identity::{Names, Shim},
    resource::Resource,
    tracker::{Overflow, Process, Tracker, User},
    usage::{Chief, Culprits, Place, Share, chief, shares},
    verdict::{Confidence, Detail, Growth, Kind, Near, Pattern, Restarts, Verdict, looks_leaked},
};

/// A process that holds instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Its command name; None if the process is not known.
    pub comm: Option<Comm>,
    /// The container it works for, if it is one of containerd's shims.
    pub serves: Option<Served>,
    /// The name of its cgroup, as [`Cgroups::display`](crate::tracker::Cgroups::display) has it.
    pub place: Option<String>,
    /// Whether that cgroup is a container's.
    pub is_in_container: bool,
    /// Whether its name is that of containerd's shims, as in a node of kind.
    pub is_called_shim: bool,
}

impl Holder {
    /// The process with this id.
    #[must_use]
    pub fn of(pid: u32, tracker: &Tracker) -> Self {
        let process = tracker.process(pid);
        let task = process.map(|process| process.task);
        let cgroups = tracker.cgroups();
        let cgroup = task.and_then(|task| cgroups.get(task.cgroup));
        Self {
            pid,
            comm: task.map(|task| task.comm),
            serves: process.and_then(|process| Served::by(process, tracker)),
            place: task.and_then(|task| cgroups.display(task.cgroup)),
            is_in_container: cgroup.is_some_and(|cgroup| cgroup.container.is_some()),
            is_called_shim: task.is_some_and(|task| Shim::may_be(&task)),
        }
    }
}

/// The container that one of containerd's shims works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What the shim's arguments and its program say.
    pub shim: Shim,
    /// The names of the container, if they are known.
    pub names: Option<Names>,
}

impl Served {
    /// None if the process is no shim.
    #[must_use]
    pub fn by(process: &Process, tracker: &Tracker) -> Option<Self> {
        let shim = process.shim.clone()?;
        let names = tracker.cgroups().names_of(&shim.id).cloned();
        Some(Self { shim, names })
    }

    /// The namespace and the name of the shim's pod, if its container is of one.
    #[must_use]
    pub fn pod(&self) -> Option<(Option<&str>, &str)> {
        let names = self.names.as_ref()?;
        Some((names.namespace.as_deref(), names.pod_name.as_deref()?))
    }
}

/// What to do about something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// What helps against a known bug.
    Known(&'static Pattern),
    /// Restart the process, and report the bug.
    RestartAndReport,
    /// Delete the pod, or the container if it is in none, that this shim works for, and report the
    /// bug: nobody restarts a shim.
    DeleteServed {
        /// Whether it is a pod's.
        is_pod: bool,
    },
    /// The same for a process that is a shim only by its name.
    DeleteWhatShimRuns {
        /// The process.
        pid: u32,
    },
    /// Look at what the process watches, report it, and raise the limit meanwhile.
    LookAndReport {
        /// The process.
        pid: u32,
        /// What it has ever more of.
        resource: Resource,
    },
    /// Find out what starts such processes and does not end them.
    FindStarter {
        /// One of them.
        pid: u32,
    },
    /// Look again later, to see whether they become more.
    BeSure,
    /// Raise the limit to gain time: a verdict follows.
    GainTime(Resource),
    /// Nothing, unless the number grows.
    Wait,
    /// The process must read its events faster, or have a longer queue.
    ReadFaster,
    /// Raise the limit of this resource.
    RaiseFor(Resource),
    /// The same, where the limit is that of a user namespace.
    RaiseInside {
        /// The resource.
        resource: Resource,
        /// The user namespace, by inode number.
        userns: u32,
        /// A process in it, if one is known.
        pid: Option<u32>,
    },
    /// Let the process have more descriptors, or fewer.
    RaiseDescriptors {
        /// The process.
        pid: Option<u32>,
    },
    /// Let the machine have more open files, or fewer.
    RaiseFiles,
    /// Raise the limit.
    Raise,
}

/// A verdict with all that is known of it at the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The process that holds the instances.
    pub holder: Holder,
    /// How many instances.
    pub count: usize,
    /// What else its kind says.
    pub detail: Detail,
    /// When the first of them was leaked.
    pub since: BootTime,
    /// Whether they were all leaked already when they were found: then `since` is when that was.
    pub was_found: bool,
    /// How sure that is.
    pub confidence: Confidence,
    /// The names of the cgroups they were for, and how many instances each.
    pub purposes: BTreeMap<String, usize>,
    /// How many other cgroups they were for, of which no name is known.
    pub nameless: usize,
    /// How fast they become more.
    pub growth: Option<Growth>,
    /// What each restart of a container costs, if the holder is a shim.
    pub restarts: Option<Restarts>,
    /// The longest of its queues that have overflowed.
    pub queue: Option<Overflow>,
    /// The known bug it looks like.
    pub pattern: Option<&'static Pattern>,
    /// The version of the holder's program, and whether that has the bug, if both are known.
    pub version: Option<(Box<str>, bool)>,
}

impl Finding {
    /// What is known of a verdict that was just reached.
    #[must_use]
    pub fn of(verdict: &Verdict, tracker: &Tracker) -> Self {
        let holder = Holder::of(verdict.pid, tracker);
        let mut purposes: BTreeMap<String, usize> = BTreeMap::new();
        let mut nameless = BTreeSet::new();
        for &cgroup in verdict.evidence.iter().flat_map(|it| &it.cgroups) {
            match tracker.cgroups().display(cgroup) {
                Some(name) => *purposes.entry(name).or_default() += 1,
                None => drop(nameless.insert(cgroup)),
            }
        }
        // Emptied before they were found: a shim serves nothing but the containers of its pod.
        let emptied = verdict.evidence.iter().filter(|it| it.cgroups.is_empty()).count();
        let emptied = if holder.serves.is_some() { emptied } else { 0 };
        let version = holder.serves.as_ref().zip(verdict.pattern).and_then(|(served, pattern)| {
            let version = served.shim.version.clone()?;
            let has_it = pattern.is_in(&version)?;
            Some((version, has_it))
        });
        Self {
            kind: verdict.kind,
            holder,
            count: verdict.evidence.len(),
            detail: verdict.detail.clone(),
            since: verdict.since(),
            was_found: verdict.was_found(),
            confidence: verdict.confidence(),
            purposes,
            nameless: nameless.len() + emptied,
            growth: verdict.growth,
            restarts: verdict.restarts,
            queue: queue(verdict, tracker),
            pattern: verdict.pattern,
            version,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        if let Some(pattern) = self.pattern {
            return Remedy::Known(pattern);
        }
        let pid = self.holder.pid;
        let resource = self.growth.map_or(Resource::Instances, |it| it.resource);
        match (self.kind, &self.detail) {
            (Kind::TargetGone | Kind::ContainerGone, _) => match &self.holder.serves {
                Some(served) => Remedy::DeleteServed { is_pod: served.pod().is_some() },
                None if self.holder.is_called_shim => Remedy::DeleteWhatShimRuns { pid },
                None => Remedy::RestartAndReport,
            },
            (_, Detail::Pile(pile)) => Remedy::FindStarter { pid: pile.latest },
            (Kind::Growing | Kind::WatchesGrowing | Kind::PilingUp, _) => {
                Remedy::LookAndReport { pid, resource }
            }
            (_, Detail::Near(Near { looks_used: true, .. })) => Remedy::Raise,
            (Kind::LimitNear, _) => Remedy::GainTime(resource),
            (Kind::Alike, _) => Remedy::BeSure,
            (Kind::QueueFull, _) => Remedy::ReadFaster,
            (Kind::Idle, _) => Remedy::Wait,
        }
    }
}

/// The longest queue of a verdict on queues.
fn queue(verdict: &Verdict, tracker: &Tracker) -> Option<Overflow> {
    let instances = verdict.evidence.iter().filter(|_| verdict.kind == Kind::QueueFull);
    let queues = instances.filter_map(|it| tracker.instance(it.instance)?.overflow);
    queues.max_by_key(|queue| queue.queued)
}

/// What became of a leak until the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The instances were released.
    Over,
    /// They became no more.
    Stopped {
        /// How many were held at the end.
        held: usize,
        /// Of what.
        resource: Resource,
    },
}

/// How many shares of a quota are named.
pub const NAMED: usize = 5;

/// A quota that is used up, and who holds most of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The user who pays.
    pub user: User,
    /// What is used up.
    pub resource: Resource,
    /// How many are charged.
    pub used: u32,
    /// How many may be.
    pub limit: u32,
    /// The shares of those with most, at most [`NAMED`].
    pub shares: Vec<NamedShare>,
    /// How many further processes hold some, and how many together.
    pub others: (usize, u32),
    /// Who holds more than half, if it is one process, or one container or service.
    pub chief: Option<NamedChief>,
    /// How many are charged that no known process holds.
    pub unseen: u32,
    /// How many are leaked, by what they were for.
    pub leaked: u32,
    /// A process in the user namespace of `user`, if that is not the initial one.
    pub inside: Option<u32>,
}

impl Exhausted {
    /// Those who use up what somebody was just refused.
    #[must_use]
    pub fn by(culprits: &Culprits, tracker: &Tracker) -> Self {
        let Culprits { user, resource, unseen, used, limit, inside, .. } = *culprits;
        let all = shares(culprits, tracker, NAMED);
        let chief = chief(culprits, &all, tracker).map(|chief| match chief {
            Chief::Container(container, count) => {
                NamedChief::Container(tracker.cgroups().display_container(&container), count)
            }
            Chief::Share(at) => NamedChief::Share(Box::new(NamedShare::of(&all[at], tracker))),
        });
        let (named, others) = all.split_at(all.len().min(NAMED));
        let sum = |sum: u32, share: &Share| sum.saturating_add(share.count);
        Self {
            user,
            resource,
            used,
            limit,
            shares: named.iter().map(|share| NamedShare::of(share, tracker)).collect(),
            others: (others.iter().map(|it| it.pids.len()).sum(), others.iter().fold(0, sum)),
            chief,
            unseen,
            leaked: leaked(culprits, tracker),
            inside,
        }
    }

    /// Whether most of it is leaked, so that a higher limit would be used up as well.
    #[must_use]
    pub fn is_mostly_leaked(&self) -> bool {
        self.leaked > self.used / 2
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        let Self { user: User { userns, .. }, resource, inside: pid, .. } = *self;
        if userns == User::INITIAL {
            Remedy::RaiseFor(resource)
        } else {
            Remedy::RaiseInside { resource, userns, pid }
        }
    }
}

/// How much of a quota is leaked, each instance counted once.
fn leaked(culprits: &Culprits, tracker: &Tracker) -> u32 {
    let held: BTreeMap<_, _> = culprits.held.iter().map(|it| (it.instance, it.count)).collect();
    let is_leaked =
        |id: InstanceId| tracker.instance(id).is_some_and(|it| looks_leaked(tracker, it));
    let leaked = held.into_iter().filter(|&(id, _)| is_leaked(id));
    leaked.fold(0, |sum, (_, count)| sum.saturating_add(count))
}

/// A share of a quota, with names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedShare {
    /// The share.
    pub share: Share,
    /// Its process, if it has only one.
    pub holder: Option<Holder>,
    /// The name of the one container or service where its processes run.
    pub place: Option<String>,
}

impl NamedShare {
    fn of(share: &Share, tracker: &Tracker) -> Self {
        let cgroups = tracker.cgroups();
        let place = match &share.place {
            Place::Container(container) => Some(cgroups.display_container(container)),
            // All processes are below the root.
            Place::Cgroup(id) => cgroups.display(*id).filter(|name| name != "/"),
            _ => None,
        };
        let holder = match share.pids[..] {
            [pid] => Some(Holder::of(pid, tracker)),
            _ => None,
        };
        Self { share: share.clone(), holder, place }
    }
}

/// Who holds more than half of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedChief {
    /// The processes of the container with this name, and how many they hold.
    Container(String, u32),
    /// The processes of a share.
    Share(Box<NamedShare>),
}
