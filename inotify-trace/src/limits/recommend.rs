//! Recommends values of the limits, derived from the present use. Pure.

use std::collections::BTreeMap;

use inotify_trace_model::{
    event::CgroupId,
    identity::Container,
    tracker::{Cgroup, Instance, Tracker},
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

/// Instances that a pod is assumed to have if most that are seen have fewer: one that the container
/// runtime creates for the pod's out-of-memory events, and one of its own.
const ASSUMED_INSTANCES: u64 = 2;

/// From how many pods on those seen tell what a pod has.
const SAMPLE: usize = 8;

/// Watches that an instance is assumed to have.
const ASSUMED_WATCHES: u64 = 16;

/// Instances that the daemons of a node of a cluster are assumed to have, if fewer are seen.
const ASSUMED_OTHERS: u64 = 64;

/// The lowest value that is worth a change.
const LEAST: u64 = 512;

/// The pods to make room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pods {
    /// How many.
    pub count: u64,
    /// Where the number is from.
    pub from: PodsFrom,
}

/// The source of the number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsFrom {
    /// `--pods`.
    Asked,
    /// The kubelet's configuration (`maxPods`) or command line.
    Kubelet,
    /// The kubelet's default.
    Default,
}

/// What a value must not fall below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    /// The live value; None if it cannot be read.
    pub live: Option<u64>,
    /// The configured value; None if no file sets it.
    pub configured: Option<u64>,
}

impl Floor {
    /// The higher of the two.
    #[must_use]
    pub fn value(self) -> u64 {
        self.live.max(self.configured).unwrap_or_default()
    }
}

/// Instances, or watches, by where they belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Split {
    /// Those of pods: held by their processes, or watching their cgroups.
    in_pods: u64,
    /// All others, including those that are charged but not visible.
    elsewhere: u64,
    /// Those that look leaked, which nobody needs.
    leaked: u64,
    /// The median of those of a pod; None if only a few pods are there.
    typical: Option<u64>,
}

/// The use that a recommendation is based on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pods; a container outside of pods counts as one.
    pods: u64,
    /// Whether any of them is a pod of a cluster.
    has_pods: bool,
    instances: Split,
    watches: Split,
    /// The most instances and watches that one user was charged for; 0 if only a moment was seen.
    most: (u64, u64),
}

/// The calculation of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// The sysctl.
    pub sysctl: Sysctl,
    /// The value to set.
    pub value: u64,
    /// The use of a pod that is not there yet: the median of those seen, or more if that is assumed.
    pub per_pod: u64,
    /// The use of all pods seen together.
    pub in_pods: u64,
    /// The number of pods seen.
    pub pods_seen: u64,
    /// Whether `per_pod` is assumed: few pods are seen, or most of them use less.
    pub is_assumed: bool,
    /// Pods to make room for: at least as many as are seen. None where there are none.
    pub pods: Option<Pods>,
    /// The use seen outside of pods.
    pub elsewhere: u64,
    /// The use outside of pods that is reckoned with: what is seen, or more if that is assumed.
    pub others: u64,
    /// Those seen that look leaked, which are not needed: they are in no other number.
    pub leaked: u64,
    /// The value that makes room beside the leaked ones as well, which stay until they are released;
    /// None if `value` does.
    pub until_released: Option<u64>,
    /// The most that one user was charged for while it was traced or recorded; 0 if only a moment
    /// was seen.
    pub most: u64,
    /// The sum for all these pods and the rest.
    pub needed: u64,
    /// The same with headroom.
    pub with_headroom: u64,
    /// The values it must not fall below.
    pub floor: Floor,
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
        let pods = living.filter_map(|cgroup| cgroup.container.as_ref()).map(pod);
        // Their instances and watches.
        let mut pods: BTreeMap<&str, [u64; 2]> = pods.map(|it| (it, [0; 2])).collect();
        let pod_of = |id: CgroupId| Some(pod(cgroups.get(id)?.container.as_ref()?));
        let is_pod = |cgroup: &Cgroup| {
            let container = cgroup.container.as_ref().filter(|_| cgroup.removed.is_none());
            container.is_some_and(|container| container.pod.is_some())
        };
        let has_pods = cgroups.iter().any(is_pod);
        let mut seen = Self { pods: pods.len() as u64, has_pods, ..Self::default() };
        for instance in tracker.instances() {
            let mut places = cgroups_of(tracker, instance).filter_map(pod_of);
            let belongs = places.find(|it| pods.contains_key(it));
            let is_leaked = looks_leaked(tracker, instance);
            let counts = [1, instance.watches().len() as u64];
            for (to, count) in [&mut seen.instances, &mut seen.watches].into_iter().zip(counts) {
                let part = match (is_leaked, belongs) {
                    (true, _) => &mut to.leaked,
                    (false, Some(_)) => &mut to.in_pods,
                    (false, None) => &mut to.elsewhere,
                };
                *part += count;
            }
            if let Some(of_pod) = belongs.filter(|_| !is_leaked).and_then(|it| pods.get_mut(it)) {
                of_pod.iter_mut().zip(counts).for_each(|(to, count)| *to += count);
            }
        }
        seen.instances.typical = median(pods.values().map(|it| it[0]).collect());
        seen.watches.typical = median(pods.values().map(|it| it[1]).collect());
        for standing in usage::standings(tracker).values() {
            // Users above are charged for those below, too: the topmost ones have the total.
            if standing.payers.is_empty() {
                seen.instances.elsewhere += u64::from(standing.unseen_instances().unwrap_or(0));
                seen.watches.elsewhere += u64::from(standing.unseen_watches().unwrap_or(0));
            }
        }
        seen
    }

    /// Adds the most that one user was charged for over time: instances and watches.
    #[must_use]
    pub fn at_most(self, most: (u64, u64)) -> Self {
        Self { most, ..self }
    }
}

/// The number that half of these do not exceed; None if they are too few to tell.
fn median(mut counts: Vec<u64>) -> Option<u64> {
    counts.sort_unstable();
    counts.get(counts.len().saturating_sub(1) / 2).copied().filter(|_| counts.len() >= SAMPLE)
}

/// The cgroups of an instance's holders, and those it watches.
fn cgroups_of<'a>(
    tracker: &'a Tracker,
    instance: &'a Instance,
) -> impl Iterator<Item = CgroupId> + 'a {
    let holders = instance.descriptors().iter().filter_map(|it| tracker.process(it.pid));
    let holders = holders.map(|process| process.task.cgroup);
    let watched = instance.watches().values().map(|watch| watch.target.cgroup);
    holders.chain(watched).filter_map(CgroupId::known)
}

/// Half as much again.
fn headroom(needed: u64) -> u64 {
    needed.saturating_mul(3).div_ceil(2)
}

/// The value to set for so many; `least` if that is enough.
fn value_for(with_headroom: u64, least: u64) -> u64 {
    if with_headroom <= least {
        return least.min(LARGEST);
    }
    with_headroom.max(LEAST).checked_next_power_of_two().unwrap_or(LARGEST).min(LARGEST)
}

/// Values that are not below `floors`: of instances, and of watches.
///
/// The limits apply to each user; all use is assumed to be one user's, as if all containers run as
/// root. Pods that are not there yet are reckoned to use what half of those seen do not exceed, and
/// more if that is assumed: a few pods that use much, at this moment, do not multiply.
#[must_use]
pub fn recommend(seen: &Seen, pods: Option<Pods>, floors: [Floor; 2]) -> Recommendation {
    let default = Pods { count: DEFAULT_PODS, from: PodsFrom::Default };
    let pods = pods.or(seen.has_pods.then_some(default));
    let pods = pods.map(|it| Pods { count: it.count.max(seen.pods), ..it });
    let size = |sysctl, split: Split, most: u64, floor: Floor, bytes: u64| {
        let (assumed, others) = match sysctl {
            Sysctl::Instances => (ASSUMED_INSTANCES, ASSUMED_OTHERS),
            _ => (ASSUMED_INSTANCES * ASSUMED_WATCHES, ASSUMED_OTHERS * ASSUMED_WATCHES),
        };
        let per_pod = split.typical.unwrap_or_default().max(assumed);
        let (in_pods, elsewhere) = match pods {
            Some(pods) => {
                let now = split.in_pods.max(per_pod.saturating_mul(seen.pods));
                let later = per_pod.saturating_mul(pods.count - seen.pods);
                (now.saturating_add(later), split.elsewhere.max(others))
            }
            None => (split.in_pods, split.elsewhere),
        };
        let needed = in_pods.saturating_add(elsewhere).max(most.saturating_sub(split.leaked));
        let least = floor.value();
        let with_headroom = headroom(needed);
        let value = value_for(with_headroom, least);
        let with_leaked = value_for(headroom(needed.saturating_add(split.leaked)), least);
        Sizing {
            sysctl,
            value,
            per_pod,
            in_pods: split.in_pods,
            pods_seen: seen.pods,
            is_assumed: pods.is_some() && split.typical.is_none_or(|it| it < per_pod),
            pods,
            elsewhere: split.elsewhere,
            others: elsewhere,
            leaked: split.leaked,
            until_released: (with_leaked > value).then_some(with_leaked),
            most,
            needed,
            with_headroom,
            floor,
            memory: value.saturating_mul(bytes),
        }
    };
    let [instances, watches] = floors;
    Recommendation {
        instances: size(Sysctl::Instances, seen.instances, seen.most.0, instances, INSTANCE_BYTES),
        watches: size(Sysctl::Watches, seen.watches, seen.most.1, watches, WATCH_BYTES),
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
        let typical = |in_pods: u64| in_pods.checked_div(pods).filter(|_| pods >= SAMPLE as u64);
        let split = |(in_pods, elsewhere)| Split {
            in_pods,
            elsewhere,
            leaked: 0,
            typical: typical(in_pods),
        };
        let (instances, watches) = (split(instances), split(watches));
        Seen { pods, has_pods: pods > 0, instances, watches, most: (0, 0) }
    }

    fn live(value: u64) -> Floor {
        Floor { live: Some(value), configured: None }
    }

    fn kubelet(count: u64) -> Option<Pods> {
        Some(Pods { count, from: PodsFrom::Kubelet })
    }

    #[test]
    fn the_arithmetic() {
        // pods seen, in pods, elsewhere, pods, floor -> needed, with headroom, value
        for (pods_seen, in_pods, elsewhere, pods, floor, expected) in [
            // Assumed: 2 * 110 + 64 = 284.
            (0, 0, 7, 110, 128, (284, 426, 512)),
            (2, 3, 10, 110, 128, (284, 426, 512)),
            // One more than assumed in two pods says nothing of the others.
            (2, 5, 10, 110, 128, (285, 428, 512)),
            (66, 132, 20, 110, 128, (284, 426, 512)),
            // More others than assumed, and more in pods.
            (3, 1, 100, 110, 128, (320, 480, 512)),
            // Eight in each: 8 * 110 + 64.
            (50, 400, 20, 110, 128, (944, 1416, 2048)),
            // More pods than asked for.
            (200, 300, 5, 110, 128, (464, 696, 1024)),
            (1, 2, 64, 250, 128, (564, 846, 1024)),
            // Never below what is set, power of two or not.
            (0, 0, 0, 110, 8192, (284, 426, 8192)),
            (0, 0, 0, 110, 1000, (284, 426, 1000)),
            (0, 0, 0, 110, 2_147_483_647, (284, 426, 2_147_483_647)),
        ] {
            let seen = seen(pods_seen, (in_pods, elsewhere), (0, 0));
            let sizing = recommend(&seen, kubelet(pods), [live(floor), live(0)]).instances;
            let found = (sizing.needed, sizing.with_headroom, sizing.value);
            assert_eq!(found, expected, "{seen:?} {pods} {floor}");
            assert_eq!(sizing.memory, sizing.value * 1024);
        }
    }

    #[test]
    fn a_pod_with_much_is_not_typical() {
        assert_eq!(median(vec![5; 7]), None, "too few to tell");
        assert_eq!(median(vec![900, 3, 3, 1, 3, 4, 0, 3, 2]), Some(3));
        assert_eq!(median(vec![1, 1, 1, 1, 9, 9, 9, 9]), Some(1));
        // It is not multiplied, but is there.
        let mut seen = seen(8, (914, 0), (0, 0));
        seen.instances.typical = Some(2);
        let sizing = recommend(&seen, kubelet(110), [live(128); 2]).instances;
        assert_eq!((sizing.needed, sizing.is_assumed), (914 + 2 * 102 + 64, false));
    }

    #[test]
    fn without_pods_what_is_used_counts() {
        let value = |elsewhere, most| {
            let seen = seen(0, (0, elsewhere), (0, 0)).at_most((most, 0));
            let sizing = recommend(&seen, None, [live(128), live(0)]).instances;
            assert_eq!(sizing.pods, None);
            (sizing.needed, sizing.value)
        };
        assert_eq!(value(10, 0), (10, 128));
        assert_eq!(value(85, 0), (85, 128));
        assert_eq!(value(86, 0), (86, 512));
        // What was used at most while it was watched.
        assert_eq!(value(10, 120), (120, 512));
        // Pods are a reason to speak of them.
        let sizing = recommend(&seen(1, (2, 0), (0, 0)), None, [live(128); 2]).instances;
        assert_eq!(sizing.pods, Some(Pods { count: 110, from: PodsFrom::Default }));
    }

    #[test]
    fn the_moment_does_not_decide() {
        let at = |pods, in_pods, elsewhere| {
            recommend(&seen(pods, (in_pods, elsewhere), (0, 0)), kubelet(110), [live(128); 2])
                .instances
                .value
        };
        let values = [at(2, 2, 30), at(2, 9, 5), at(1, 10, 60), at(66, 70, 12), at(0, 0, 120)];
        assert_eq!(values, [512; 5]);
    }

    #[test]
    fn numbers_beyond_reason_end_at_the_largest() {
        let seen = seen(1, (u64::MAX / 2, u64::MAX / 2), (u64::MAX, u64::MAX));
        let found = recommend(&seen, kubelet(u64::MAX), [live(0); 2]);
        assert_eq!((found.instances.value, found.watches.value), (LARGEST, LARGEST));
    }

    #[test]
    fn watches_of_assumed_instances() {
        // 16 for each of 284 instances.
        let found = recommend(&seen(0, (0, 10), (0, 45)), kubelet(110), [live(128), live(1024)]);
        let watches = found.watches;
        assert_eq!((watches.per_pod, watches.needed, watches.with_headroom), (32, 4544, 6816));
        assert_eq!((watches.value, watches.memory), (8192, 8192 * WATCH_BYTES));
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
        let sizing = recommend(&expected, kubelet(110), [live(128), live(1024)]).instances;
        // 2 for each pod and 64 others are assumed; the leaked one is not.
        assert_eq!((sizing.leaked, sizing.needed), (1, 2 * 110 + 64));
        assert_eq!((sizing.value, sizing.until_released), (512, None));
    }

    #[test]
    fn what_leaked_needs_room_until_it_is_released() {
        let mut seen = seen(40, (82, 0), (0, 0));
        seen.instances.leaked = 430;
        let sizing = recommend(&seen, kubelet(110), [live(512); 2]).instances;
        assert_eq!((sizing.value, sizing.until_released), (512, Some(2048)));
    }
}
