//! Tests of the bounds, and of how series come and go.

use std::{collections::BTreeMap, fmt::Write as _};

use inotify_trace_model::{
    event::{CgroupId, Charge, InstanceId, Level, Quota},
    identity::Names,
    testing::{Machine, at, task},
};

use super::*;
use crate::kernel::Figures;

/// A machine with metrics, whose every page is scraped.
struct Scraped {
    machine: Machine,
    counted: Counted,
    page: u64,
    served: u64,
}

impl Scraped {
    fn new() -> Self {
        Self { machine: Machine::new(), counted: Counted::default(), page: 0, served: 0 }
    }

    fn tell(&mut self, seconds: u64, pid: u32, cgroup: u64, kind: EventKind) {
        let mut task = task(pid, "x");
        task.cgroup = CgroupId(cgroup);
        self.machine.tell(seconds, Some(task), kind.clone());
        let event = Event { time: at(seconds), task: Some(task), kind };
        self.counted.event(&event, &self.machine.0);
    }

    /// A process of a cgroup creates an instance.
    fn create(&mut self, seconds: u64, id: u32, cgroup: u64) {
        let (instance, fd) = (InstanceId(id.into()), 5);
        let quota = Some(Quota::own(1, 128, 0, 1));
        let kind = EventKind::InstanceCreated { instance, fd, flags: 0, quota };
        self.tell(seconds, id, cgroup, kind);
    }

    fn release(&mut self, seconds: u64, id: u32, cgroup: u64) {
        let kind = EventKind::InstanceReleased {
            instance: InstanceId(id.into()),
            fd: Some(5),
            quota: None,
        };
        self.tell(seconds, id, cgroup, kind);
    }

    fn fail(&mut self, seconds: u64, cgroup: u64) {
        let quota = Some(Quota::own(128, 128, 0, 1));
        let kind = EventKind::CreateFailed { flags: 0, errno: libc::EMFILE, quota, files: None };
        self.tell(seconds, 1 << 20, cgroup, kind);
    }

    /// A container of a pod.
    fn pod(&mut self, seconds: u64, id: u64, namespace: &str, pod: &str) {
        self.machine.container(seconds, id);
        let names = Names {
            name: Some("main".to_owned()),
            pod_name: Some(pod.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..Names::default()
        };
        let (cgroup, names) = (CgroupId(id), Box::new(names));
        self.machine.tell(
            seconds,
            None,
            EventKind::ContainerNamed { cgroup, container: None, names },
        );
    }

    fn numbers(&mut self, seconds: u64) -> Numbers {
        self.page += 1;
        let facts = Facts {
            sees_overflows: true,
            measures: true,
            ring: Some(0),
            sysctls: [Some(1); 3],
            programs: (0..64).map(|it| (format!("p{it}"), Figures::default())).collect(),
            ..Facts::default()
        };
        let pages = (self.page, self.served);
        let numbers = self.counted.numbers(&self.machine.0, at(seconds), pages, &facts);
        self.served = self.page;
        numbers
    }

    /// The series of a metric, by the values of their labels.
    fn scrape(&mut self, seconds: u64, metric: &of::Metric) -> BTreeMap<String, u64> {
        let numbers = self.numbers(seconds);
        let family = numbers.families().iter().find(|it| it.metric.name == metric.name);
        let series = family.map(|it| it.series.clone()).unwrap_or_default();
        series.into_iter().map(|(labels, value)| (labels.join(" "), value as u64)).collect()
    }
}

const OTHER: &str = "   ~other";

#[test]
fn whatever_happens_the_number_of_series_is_bounded() {
    let mut it = Scraped::new();
    for user in 0..1000_u32 {
        let level = Some(Level { used: user, limit: 128 });
        let charge = Charge {
            uid: user,
            userns: 4_026_531_837 + user % 7,
            instances: level,
            watches: level,
        };
        it.machine.tell(1, None, EventKind::Charged { charges: Box::new([charge]) });
    }
    for pod in 0..5000_u32 {
        let id = 1000 + u64::from(pod);
        it.pod(1, id, &format!("ns{}", pod % 50), &format!("pod-{pod}"));
        it.create(1, pod + 1, id);
        it.fail(1, id);
    }
    for name in 0..10_000_u32 {
        let id = 10_000 + u64::from(name);
        // Quotes, line ends, what looks like a series, the name of our own series, and long ones.
        let text = format!("\"}}\n{name} 1\\n~other{}\u{202e}\u{1b}[31m", "ü".repeat(100));
        match name % 3 {
            0 => it.pod(1, id, &text, &text),
            1 => drop(it.machine.cgroup(1, id, &format!("/{text}.service"))),
            _ => drop(it.machine.cgroup(1, id, &format!("/~other/{text}"))),
        }
        it.create(1, 10_000 + name, id);
        it.fail(1, id);
        let queued = 1;
        let instance = InstanceId(u64::from(10_000 + name));
        let kind = EventKind::QueueOverflowed { instance, queued, limit: 1, was_seen: true };
        it.tell(1, 10_000 + name, id, kind);
    }
    for seconds in [40, 80, 120] {
        let numbers = it.numbers(seconds);
        for family in numbers.families() {
            let (name, most) = (family.metric.name, family.metric.most);
            assert!(family.series.len() <= most, "{name}: {}", family.series.len());
            let mut labels: Vec<_> = family.series.iter().map(|(labels, _)| labels).collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), family.series.len(), "{name}: twice the same");
            assert!(labels.iter().flat_map(|it| it.iter()).all(|it| it.len() <= 128), "{name}");
        }
        let count: usize = numbers.families().iter().map(|it| it.series.len()).sum();
        let users = 5 * 100;
        let holders = 5 * 257;
        let others = numbers.families().iter().filter(|it| {
            !["user", "namespace"].iter().any(|label| it.metric.labels.contains(label))
        });
        let others: usize = others.map(|it| it.series.len()).sum();
        assert!(count <= users + holders + 65 + others, "{count}");
        assert!(others < 300, "{others}");
        let text = numbers.text().unwrap();
        assert!(text.lines().all(|it| !it.contains('\u{1b}')), "escapes reach a terminal");
        assert!(text.ends_with("# EOF\n") && text.len() < 1 << 20, "{}", text.len());
        assert_eq!(text.lines().filter(|it| !it.starts_with('#')).count(), count);
    }
    // All that they hold is counted.
    let held: u64 = it.scrape(160, &of::HOLDER_INSTANCES).values().sum();
    assert_eq!(held, 15_000);
    let failed: u64 = it.scrape(160, &of::HOLDER_FAILURES).values().sum();
    assert_eq!(failed, 15_000);
    assert!(it.counted.holders.len() <= 4096);
}

#[test]
fn a_holder_has_series_once_it_is_old_enough() {
    let mut it = Scraped::new();
    it.pod(1, 50, "default", "web");
    it.create(1, 1, 50);
    it.fail(2, 50);
    let young = it.scrape(10, &of::HOLDER_FAILURES);
    assert_eq!(young, [(OTHER.to_owned(), 1)].into());
    let own = "default web main ".to_owned();
    assert_eq!(
        it.scrape(31, &of::HOLDER_FAILURES),
        [(own.clone(), 0), (OTHER.to_owned(), 1)].into()
    );
    it.fail(40, 50);
    assert_eq!(it.scrape(41, &of::HOLDER_FAILURES), [(own, 1), (OTHER.to_owned(), 1)].into());
}

#[test]
fn a_series_ends_once_it_was_scraped_after_its_holder_s_end() {
    let mut it = Scraped::new();
    it.pod(1, 50, "default", "web");
    it.create(1, 1, 50);
    let own = "default web main ";
    assert_eq!(it.scrape(31, &of::HOLDER_INSTANCES)[own], 1);
    it.release(40, 1, 50);
    // A page that nobody gets does not end it, and the first that somebody gets says 0.
    it.page += 1;
    let before = it.served;
    assert_eq!(it.scrape(45, &of::HOLDER_INSTANCES)[own], 0);
    it.served = before;
    assert_eq!(it.scrape(46, &of::HOLDER_INSTANCES)[own], 0);
    assert!(!it.scrape(60, &of::HOLDER_INSTANCES).contains_key(own));
    // Without any scrape it ends as well.
    it.create(70, 2, 50);
    assert_eq!(it.scrape(101, &of::HOLDER_INSTANCES)[own], 1);
    it.release(102, 2, 50);
    let before = it.served;
    assert_eq!(it.scrape(103, &of::HOLDER_INSTANCES)[own], 0);
    it.served = before;
    assert!(!it.scrape(103 + 600, &of::HOLDER_INSTANCES).contains_key(own));
}

#[test]
fn a_holder_that_is_refused_keeps_its_series_though_it_holds_nothing() {
    let mut it = Scraped::new();
    it.pod(1, 50, "default", "web");
    let own = "default web main ";
    // It starts again and again, and fails each time.
    for seconds in [10, 50, 90, 130] {
        it.fail(seconds, 50);
        it.scrape(seconds, &of::HOLDER_FAILURES);
    }
    assert_eq!(it.scrape(400, &of::HOLDER_FAILURES)[own], 2);
    assert!(it.scrape(800, &of::HOLDER_FAILURES).contains_key(own), "gone, and not yet scraped");
    assert!(!it.scrape(810, &of::HOLDER_FAILURES).contains_key(own));
}

#[test]
fn counters_never_fall() {
    let mut it = Scraped::new();
    let mut before: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut random = 7_u64;
    for step in 0..400_u64 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cgroup = 100 + (random >> 33) % 600;
        let seconds = 1 + step * 7;
        it.pod(seconds, cgroup, "ns", &format!("pod-{cgroup}"));
        let id = u32::try_from(step).unwrap() + 1;
        it.create(seconds, id, cgroup);
        it.fail(seconds, cgroup);
        if id > 20 {
            it.release(seconds, id - 20, cgroup);
        }
        let numbers = it.numbers(seconds);
        let counters = numbers.families().iter().filter(|it| it.metric.kind == of::Kind::Counter);
        let mut now = BTreeMap::new();
        for family in counters {
            for (labels, value) in &family.series {
                let key = (family.metric.name.to_owned(), labels.join(" "));
                // A series that ends and comes back begins anew, as Prometheus expects.
                if let Some(before) = before.get(&key) {
                    assert!(value >= before, "{key:?}: {before} and then {value}");
                }
                now.insert(key, *value);
            }
        }
        before = now;
    }
    assert!(before[&("inotify_holder_failures".to_owned(), OTHER.to_owned())] > 0.0);
}

#[test]
fn causes_of_failures_are_told_apart_and_all_there_from_the_start() {
    let mut it = Scraped::new();
    let none = it.scrape(1, &of::FAILURES);
    assert_eq!((none.len(), none.values().sum::<u64>()), (12, 0));
    it.fail(1, 2);
    let path = None;
    let (instance, fd, mask, quota) = (None, 5, 0, None);
    let kind = EventKind::WatchFailed { instance, fd, path, mask, errno: libc::ENOSPC, quota };
    it.tell(2, 1, 2, kind);
    let kind = EventKind::CreateFailed { flags: 0, errno: libc::ENFILE, quota: None, files: None };
    it.tell(3, 1, 2, kind);
    let kind = EventKind::CreateFailed { flags: 0, errno: libc::ENOMEM, quota: None, files: None };
    it.tell(3, 1, 2, kind);
    let mut after = it.scrape(4, &of::FAILURES);
    after.retain(|_, count| *count > 0);
    let expected = [
        ("inotify_add_watch watch_limit", 1),
        ("inotify_init file_max", 1),
        ("inotify_init instance_limit", 1),
        ("inotify_init other", 1),
    ];
    assert_eq!(after, expected.map(|(labels, count)| (labels.to_owned(), count)).into());
}

#[test]
fn the_kernel_s_count_and_limit_are_the_users() {
    let mut it = Scraped::new();
    it.counted.names =
        UserNames::from_map([(1000, "ann".to_owned()), (1001, "ann".to_owned())].into());
    for (uid, used) in [(1000, 7), (1001, 9), (5, 3)] {
        let instances = Some(Level { used, limit: 128 });
        let charge = Charge { uid, userns: 0xEFFF_FFFD, instances, watches: None };
        it.machine.tell(1, None, EventKind::Charged { charges: Box::new([charge]) });
    }
    let used = it.scrape(1, &of::INSTANCES_USED);
    // Two users with one name are two series all the same.
    let expected = [("ann initial", 9), ("1000 initial", 7), ("5 initial", 3)];
    assert_eq!(used, expected.map(|(user, used)| (user.to_owned(), used)).into());
    assert_eq!(it.scrape(1, &of::INSTANCES_LIMIT)["5 initial"], 128);
    assert!(it.scrape(1, &of::WATCHES_USED).is_empty(), "what is unknown is absent");
}

/// docs/metrics.md as the registry says it.
fn document() -> String {
    let mut text = include_str!("head.md").to_owned();
    for metric in of::ALL {
        let labels = if metric.labels.is_empty() {
            "-".to_owned()
        } else {
            metric.labels.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
        };
        writeln!(
            text,
            "| `{}` | {} | {labels} | {} | {} |",
            metric.series(),
            metric.kind.name(),
            metric.most,
            metric.about
        )
        .unwrap();
    }
    text
}

#[test]
fn the_document_is_the_registry() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let expected = document();
    if std::env::var_os("INOTIFY_TRACE_WRITE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        text == expected,
        "docs/metrics.md is out of date: run this test with INOTIFY_TRACE_WRITE_DOCS=1"
    );
}

#[test]
fn names_are_those_of_openmetrics() {
    for metric in of::ALL {
        assert!(metric.name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'));
        assert!(!metric.name.ends_with("_total") && !metric.name.ends_with("_info"));
        assert!(!metric.about.ends_with('.'), "{}", metric.name);
    }
}
