//! The agent beside containers that come and go, for long. Only the full tier runs it, which sets the
//! variable; an hour is `INOTIFY_TRACE_SOAK=3600`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{Cgroup, Process, live_test, process::hex, system};

use crate::serve::Served;

/// As often as a Prometheus usually asks.
const PACE: Duration = Duration::from_secs(15);

/// By how much it may take more memory at the end than in the middle, in KiB.
const FLAT: u64 = 4 << 10;

/// The most series: what docs/metrics.md bounds, as far as this load reaches it.
const SERIES: usize = 2500;

/// What is measured at a moment.
struct Sample {
    after: Duration,
    resident_kib: u64,
    cpu: f64,
    series: usize,
}

#[live_test]
fn it_stays_as_small_as_it_is_and_loses_nothing() {
    const NAME: &str = "serve_soak::it_stays_as_small_as_it_is_and_loses_nothing";
    let Some(seconds) = system::soak() else {
        return system::skip(NAME, &system::without_soak());
    };
    let _machine = system::the_machine();
    let Some(cgroup) = Cgroup::new() else { return system::skip(NAME, "no cgroup v2") };
    let directory = system::directory();
    let place = |name: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let bundles = place("root/run/containerd/io.containerd.runtime.v2.task/k8s.io");
    let [root, record, export] = ["root", "record", "export"].map(place);
    let options = [("--host-root", &root), ("--record", &record), ("--export", &export)];
    let options: Vec<_> =
        options.iter().flat_map(|(option, path)| [*option, path.to_str().unwrap()]).collect();
    let served = Served::start(&options);
    let pid = served.child.id();
    let mut load = Process::start();
    let hex = |path: &std::path::Path| hex(path.as_os_str().as_encoded_bytes());
    load.tell(&format!("churn_until_told {} {}", hex(cgroup.directory()), hex(&bundles)));
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < Duration::from_secs(seconds) {
        thread::sleep(PACE);
        let now = served.scrape();
        let sample = Sample {
            after: begun.elapsed(),
            resident_kib: system::resident_kib(pid),
            cpu: now["process_cpu_seconds_total"],
            series: now.len(),
        };
        eprintln!(
            "{:4} s: {} KiB, {:.1} s of CPU, {} series",
            sample.after.as_secs(),
            sample.resident_kib,
            sample.cpu,
            sample.series
        );
        samples.push(sample);
    }
    // Any command ends the load, whose own reply comes first.
    let containers = load.call("gettid").unwrap();
    assert!(containers > 0, "{containers}");
    let now = served.scrape();
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let time = (last.after - first.after).as_secs_f64();
    let (middle, end) = samples.split_at(samples.len() / 2);
    let most = |part: &[Sample]| part.iter().map(|it| it.resident_kib).max().unwrap_or_default();
    let lost: Vec<_> = now
        .iter()
        .filter(|(name, _)| name.contains("_lost_total") || name.contains("_missed_events_total"))
        .filter(|(_, count)| **count > 0.0)
        .collect();
    eprintln!(
        "{containers} containers in {seconds} s: at most {} KiB in the first half and {} KiB in the \
         second; {:.1} % of a processor; {} series; lost: {lost:?}",
        most(middle),
        most(end),
        100.0 * (last.cpu - first.cpu) / time,
        last.series
    );
    assert_eq!(lost, []);
    assert!(most(end) <= most(middle) + FLAT, "memory grows");
    assert!(samples.iter().all(|it| it.series <= SERIES), "too many series");
    served.stop();
}
