//! Recommends values of the limits, derived from the present use. Pure.

use std::collections::BTreeSet;

use inotify_trace_model::{
    event::CgroupId,
    identity::Container,
    tracker::{Instance, Tracker},
    usage,
    verdict::looks_leaked,
};

use super::Sysctl;

/// kubelet's default of the most pods on a node (`maxPods`).
pub const DEFAULT_PODS: u64 = 110;

/// Kernel memory that an instance takes, in bytes. Estimated: a `file` and a `dentry` (192 each), an
/// `fsnotify_group` (320, in an allocation of 512), its overflow event and small change; 900 to 950
/// were measured on Linux 6.18, x86-64.
pub const INSTANCE_BYTES: u64 = 1024;

/// Kernel memory that a watch takes, in bytes. The kernel's own estimate, from which it derives the
/// default of `max_user_watches` (`INOTIFY_WATCH_COST` in `fs/notify/inotify/inotify_user.c`): an
/// `inotify_inode_mark` and twice an `inode`, 80 + 2 * 616 on Linux 6.18, x86-64. Most of it is the
/// inode, which the watch keeps in memory: if that is cached anyway, a watch takes about 100.
pub const WATCH_BYTES: u64 = 1312;

/// Kernel memory that an unread event takes at least, in bytes: an `inotify_event_info` (32) and the
/// name of a file.
pub const QUEUED_EVENT_BYTES: u64 = 64;

/// The largest value the kernel takes: `INT_MAX`.
pub(super) const LARGEST: u64 = i32::MAX as u64;

/// Instances that a pod is assumed to have if fewer are seen: one that the container runtime creates
/// for the pod's out-of-memory events, and one of its own.
const ASSUMED_INSTANCES: u64 = 2;

/// Watches that an instance is assumed to have if none are seen.
const ASSUMED_WATCHES: u64 = 16;

/// Instances, or watches, by where they belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Split {
    /// Those of pods: held by their processes, or watching their cgroups.
    in_pods: u64,
    /// All others, including those that are charged but not visible.
    elsewhere: u64,
    /// Those that look leaked, which nobody needs.
    leaked: u64,
}

/// The use that a recommendation is based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pods; a container outside of pods counts as one.
    pods: u64,
    instances: Split,
    watches: Split,
}

/// The calculation of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// The sysctl.
    pub sysctl: Sysctl,
    /// The value to set.
    pub value: u64,
    /// The use of all pods together; if [`Self::is_assumed`], the assumed use of one pod.
    pub in_pods: u64,
    /// The number of pods seen.
    pub pods_seen: u64,
    /// Whether there are no pods, or they use less than assumed.
    pub is_assumed: bool,
    /// Pods to make room for: at least as many as are seen.
    pub pods: u64,
    /// The use outside of pods.
    pub elsewhere: u64,
    /// Those seen that look leaked, which are not needed: they are in no other number.
    pub leaked: u64,
    /// The sum for all these pods and the rest.
    pub needed: u64,
    /// The same with headroom.
    pub with_headroom: u64,
    /// The value it must not fall below: the live or the configured one.
    pub floor: u64,
    /// Kernel memory that one user can take at this limit, in bytes. An estimate.
    pub memory: u64,
}

/// Values to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommendation {
    /// `max_user_instances`.
    pub instances: Sizing,
    /// `max_user_watches`.
    pub watches: Sizing,
}

impl Recommendation {
    /// The sysctls with their values.
    #[must_use]
    pub fn values(&self) -> [(Sysctl, u64); 2] {
        [self.instances, self.watches].map(|sizing| (sizing.sysctl, sizing.value))
    }
}

/// The id of the container's pod, or of the container if it is in none.
fn pod(container: &Container) -> &str {
    container.pod.as_ref().map_or(container.id.as_str(), |pod| pod.as_str())
}

impl Seen {
    /// The use in a tracker's state.
    #[must_use]
    pub fn by(tracker: &Tracker) -> Self {
        let cgroups = tracker.cgroups();
        let living = cgroups.iter().filter(|cgroup| cgroup.removed.is_none());
        let pods: BTreeSet<&str> =
            living.filter_map(|cgroup| cgroup.container.as_ref()).map(pod).collect();
        let is_pod_s = |id: CgroupId| {
            let container = cgroups.get(id).and_then(|cgroup| cgroup.container.as_ref());
            container.is_some_and(|container| pods.contains(pod(container)))
        };
        let mut seen = Self { pods: pods.len() as u64, ..Self::default() };
        for instance in tracker.instances() {
            let belongs = cgroups_of(tracker, instance).any(is_pod_s);
            let is_leaked = looks_leaked(tracker, instance);
            let add = |to: &mut Split, count: u64| {
                let part = match (is_leaked, belongs) {
                    (true, _) => &mut to.leaked,
                    (false, true) => &mut to.in_pods,
                    (false, false) => &mut to.elsewhere,
                };
                *part += count;
            };
            add(&mut seen.instances, 1);
            add(&mut seen.watches, instance.watches().len() as u64);
        }
        for standing in usage::standings(tracker).values() {
            // Users above are charged for those below, too: the topmost ones have the total.
            if standing.payers.is_empty() {
                seen.instances.elsewhere += u64::from(standing.unseen_instances().unwrap_or(0));
                seen.watches.elsewhere += u64::from(standing.unseen_watches().unwrap_or(0));
            }
        }
        seen
    }

    /// Watches of an instance, on average, rounded up.
    fn watches_each(&self) -> u64 {
        let all = |split: Split| split.in_pods.saturating_add(split.elsewhere);
        let (instances, watches) = (all(self.instances), all(self.watches));
        if instances == 0 { ASSUMED_WATCHES } else { watches.div_ceil(instances).max(1) }
    }
}

/// The cgroups of an instance's holders, and those it watches.
fn cgroups_of<'a>(
    tracker: &'a Tracker,
    instance: &'a Instance,
) -> impl Iterator<Item = CgroupId> + 'a {
    let holders = instance.descriptors().iter().filter_map(|&(pid, _)| tracker.process(pid));
    let holders = holders.map(|process| process.task.cgroup);
    let watched = instance.watches().values().map(|watch| watch.target.cgroup);
    holders.chain(watched).filter_map(CgroupId::known)
}

/// Values with room for `pods` pods, and half as much again, that are not below `floors`: of
/// instances, and of watches.
///
/// The limits apply to each user; all use is assumed to be one user's, as if all containers run as
/// root.
#[must_use]
pub fn recommend(seen: &Seen, pods: u64, floors: (u64, u64)) -> Recommendation {
    let pods = pods.max(seen.pods);
    let size = |sysctl, split: Split, assumed: u64, floor: u64, bytes: u64| {
        // Pods that are idle now may not stay so: the assumed use is the least.
        let is_assumed = split.in_pods < assumed.saturating_mul(seen.pods.max(1));
        let (in_pods, of) = if is_assumed { (assumed, 1) } else { (split.in_pods, seen.pods) };
        let needed = in_pods.saturating_mul(pods).div_ceil(of).saturating_add(split.elsewhere);
        let with_headroom = needed.saturating_mul(3).div_ceil(2);
        let value = if with_headroom <= floor {
            floor
        } else {
            with_headroom.checked_next_power_of_two().unwrap_or(LARGEST)
        };
        let value = value.min(LARGEST);
        Sizing {
            sysctl,
            value,
            in_pods,
            pods_seen: seen.pods,
            is_assumed,
            pods,
            elsewhere: split.elsewhere,
            leaked: split.leaked,
            needed,
            with_headroom,
            floor,
            memory: value * bytes,
        }
    };
    let assumed_watches = ASSUMED_INSTANCES * seen.watches_each();
    Recommendation {
        instances: size(
            Sysctl::Instances,
            seen.instances,
            ASSUMED_INSTANCES,
            floors.0,
            INSTANCE_BYTES,
        ),
        watches: size(Sysctl::Watches, seen.watches, assumed_watches, floors.1, WATCH_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify_trace_model::{
        event::{BootTime, Charge, Event, EventKind, InstanceId, Quota, Target, Task},
        tracker::User,
    };

    fn seen(pods: u64, instances: (u64, u64), watches: (u64, u64)) -> Seen {
        let split = |(in_pods, elsewhere)| Split { in_pods, elsewhere, leaked: 0 };
        Seen { pods, instances: split(instances), watches: split(watches) }
    }

    #[test]
    fn the_arithmetic() {
        // pods seen, in pods, elsewhere, pods, floor -> needed, with headroom, value
        for (pods_seen, in_pods, elsewhere, pods, floor, expected) in [
            // Assumed: 2 * 110 + 7 = 227, 340.5.
            (0, 0, 7, 110, 128, (227, 341, 512)),
            (0, 0, 0, 110, 128, (220, 330, 512)),
            // 5 / 2 * 110 + 10 = 285, 427.5.
            (2, 5, 10, 110, 128, (285, 428, 512)),
            // Seven thirds each: 256.7.
            (3, 7, 0, 110, 128, (257, 386, 512)),
            // Less than the assumed use: 2 * 110.
            (3, 1, 0, 110, 128, (220, 330, 512)),
            // More pods than asked for.
            (200, 400, 5, 110, 128, (405, 608, 1024)),
            // Exactly a power of two stays one.
            (1, 2, 462, 110, 128, (682, 1023, 1024)),
            // Never below what is set, power of two or not.
            (0, 0, 0, 110, 8192, (220, 330, 8192)),
            (0, 0, 0, 110, 1000, (220, 330, 1000)),
            (0, 0, 0, 110, 2_147_483_647, (220, 330, 2_147_483_647)),
            // Pods that use none now.
            (5, 0, 3, 110, 128, (223, 335, 512)),
        ] {
            let seen = seen(pods_seen, (in_pods, elsewhere), (0, 0));
            let sizing = recommend(&seen, pods, (floor, 0)).instances;
            let found = (sizing.needed, sizing.with_headroom, sizing.value);
            assert_eq!(found, expected, "{seen:?} {pods} {floor}");
            assert_eq!(sizing.memory, sizing.value * 1024);
            assert_eq!(sizing.is_assumed, in_pods < 2 * pods_seen.max(1));
        }
    }

    #[test]
    fn numbers_beyond_reason_end_at_the_largest() {
        let seen = seen(1, (u64::MAX / 2, u64::MAX / 2), (u64::MAX, u64::MAX));
        let found = recommend(&seen, u64::MAX, (0, 0));
        assert_eq!((found.instances.value, found.watches.value), (LARGEST, LARGEST));
    }

    #[test]
    fn watches_where_no_pod_is_seen() {
        // 10 instances with 45 watches: 5 each, 10 for a pod, 1100 + 45, 1717.5.
        let found = recommend(&seen(0, (0, 10), (0, 45)), 110, (128, 1024)).watches;
        assert_eq!((found.in_pods, found.needed, found.with_headroom), (10, 1145, 1718));
        assert_eq!((found.value, found.memory), (2048, 2048 * WATCH_BYTES));
        // Nothing at all is seen.
        assert_eq!(recommend(&Seen::default(), 110, (128, 0)).watches.in_pods, 32);
    }

    fn event(task: Option<Task>, kind: EventKind) -> Event {
        Event { time: BootTime(1), task, kind }
    }

    fn found(instance: u64, cgroup: u64) -> Event {
        let pid = u32::try_from(instance).unwrap();
        let task = Task { pid, tid: pid, cgroup: CgroupId(cgroup), ..Task::default() };
        let quota = Quota::own(0, 128, 0, User::INITIAL);
        event(
            Some(task),
            EventKind::InstanceFound {
                instance: InstanceId(instance),
                fd: 3,
                flags: 0,
                creator_cgroup: CgroupId(0),
                queued: 0,
                quota: Some(quota),
            },
        )
    }

    fn watched(instance: u64, cgroup: u64) -> Event {
        let target = Target { inode: 7, cgroup: CgroupId(cgroup), ..Target::default() };
        let instance = InstanceId(instance);
        event(None, EventKind::WatchFound { instance, wd: 1, mask: 2, target })
    }

    fn cgroup(id: u64, path: &str) -> Event {
        event(None, EventKind::CgroupFound { cgroup: CgroupId(id), path: path.into() })
    }

    #[test]
    fn instances_belong_to_the_pods_that_hold_them_or_are_served() {
        let container = |id: char| {
            let id: String = std::iter::repeat_n(id, 64).collect();
            let pod = "kubepods-burstable-pod11111111_1111_4222_8333_444455556666.slice";
            format!("/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{id}.scope")
        };
        let docker = format!("/system.slice/docker-{}.scope", "c".repeat(64));
        let charge = |used| Quota::own(used, 128, 0, User::INITIAL);
        let charges = [Charge {
            uid: 0,
            userns: User::INITIAL,
            instances: Some(charge(9).into()),
            watches: Some(charge(6).into()),
        }];
        let events = [
            cgroup(1, "/system.slice/containerd.service"),
            // Two containers of one pod, and one of none.
            cgroup(2, &container('a')),
            cgroup(3, &container('b')),
            cgroup(4, &docker),
            cgroup(5, &format!("/system.slice/docker-{}.scope", "d".repeat(64))),
            event(None, EventKind::CgroupRemoved { cgroup: CgroupId(5) }),
            found(10, 2),
            found(11, 3),
            // A shim, which watches a container of its own pod's, and of one that is gone.
            found(12, 1),
            watched(12, 4),
            found(13, 1),
            watched(13, 5),
            found(14, 1),
            event(None, EventKind::Charged { charges: charges.into() }),
        ];
        let mut tracker = Tracker::new();
        for event in &events {
            tracker.apply(event);
        }
        // Of 9 charged 5 are seen; of 6 watches 2. One is leaked, with its watch.
        let mut expected = seen(2, (3, 1 + 4), (1, 4));
        (expected.instances.leaked, expected.watches.leaked) = (1, 1);
        assert_eq!(Seen::by(&tracker), expected);
        let sizing = recommend(&expected, 110, (128, 1024)).instances;
        // 3 / 2 pods, 2 each assumed.
        assert_eq!((sizing.leaked, sizing.needed), (1, 2 * 110 + 5));
    }
}
