//! A real Prometheus that scrapes the agent, with the alerts and the dashboard of `deploy`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{
    Cgroup, Process, Subject, World, live_test,
    process::{hex, workload},
    require_program, system,
    wait::{self, Wait},
};
use serde_json::Value;

use crate::{
    leaks::{leaky_shim, with_memory},
    namespaces::{enter, limit},
    queues::{LIMIT, Sleeper},
    serve::Served,
};

/// The limits of the user namespace that is filled.
const INSTANCES: u32 = 20;
const WATCHES: u32 = 60;

/// A Prometheus that is killed at the end.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts one that scrapes the agent at `target`, with the project's own configuration and
    /// alerts, except that it scrapes each second, as often as there are new pages, and that alerts
    /// fire at once.
    fn start(program: &Path, directory: &Path, target: &str) -> Self {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
        let rules = fs::read_to_string(deploy.join("rules.yaml")).unwrap();
        let at_once = |line: &str| match line.trim_start().strip_prefix("for: ") {
            Some(_) => format!("{}for: 0s\n", &line[..line.len() - line.trim_start().len()]),
            None => format!("{line}\n"),
        };
        let rules: String = rules.lines().map(at_once).collect();
        fs::write(directory.join("rules.yaml"), rules).unwrap();
        let config = fs::read_to_string(deploy.join("prometheus.yaml")).unwrap();
        let ours = config.replace("127.0.0.1:20866", target).replace("15s", "1s");
        assert_ne!(ours, config);
        let ours = format!("global:\n  evaluation_interval: 250ms\n{ours}");
        fs::write(directory.join("prometheus.yaml"), ours).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let log = fs::File::create(directory.join("prometheus.log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", directory.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, port }
    }

    /// The answer to a query: labels and value of each series. None if it does not answer yet.
    fn query(&self, expression: &str) -> Option<Vec<(Value, f64)>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        assert_eq!(body["status"], "success", "{expression}: {body}");
        let series = body["data"]["result"].as_array().unwrap().iter();
        let value = |it: &Value| it["value"][1].as_str().unwrap().parse().unwrap();
        Some(series.map(|it| (it["metric"].clone(), value(it))).collect())
    }

    fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression)?.first().map(|(_, value)| *value)
    }

    fn is_firing(&self, alert: &str) -> bool {
        let alert = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        self.query(&alert).is_some_and(|it| !it.is_empty())
    }

    fn firing(&self) -> String {
        format!("{:?}", self.query("count by (alertname, alertstate) (ALERTS)"))
    }

    /// Waits until an alert fires, and acts at a pace until then.
    fn until_firing(&self, alert: &str, mut act: impl FnMut()) {
        let wait = Wait::begin();
        while !self.is_firing(alert) {
            act();
            assert!(!wait.left().is_zero(), "{alert} does not fire: {}", self.firing());
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Makes an instance, or is refused.
fn create(subject: &mut Subject) -> Option<i32> {
    subject.process.call("init1 0").ok()
}

/// Every query of the dashboard, as Grafana would send it.
fn dashboard() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/inotify-trace.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let text = |it: &Value| it["expr"].as_str().unwrap().to_owned();
    targets
        .map(text)
        .map(|it| it.replace("$instance", ".*"))
        .map(|it| it.replace("$__range", "5m").replace("$__rate_interval", "30s"))
        .collect()
}

#[live_test]
fn a_real_prometheus_has_the_alerts_firing() {
    let program = require_program!("prometheus");
    let _machine = system::the_machine();
    let directory = system::directory();
    let served = Served::start(&["--simulate-loss", "7"]);
    let prometheus = Prometheus::start(&program, directory.path(), &served.address);
    // A shim of containerd#5670's shape; without the memory controller, a leak without that name. It
    // is told half a minute later.
    let copy = directory.path().join("containerd-shim-runc-v2");
    fs::copy(workload(), &copy).unwrap();
    let has_memory = with_memory().is_some();
    let shim = if has_memory {
        Some(leaky_shim(&copy, &["memory.events"], || with_memory().unwrap()))
    } else {
        Cgroup::new().map(|_| leaky_shim(&copy, &["cgroup.events"], || Cgroup::new().unwrap()))
    };

    let world = World::new();
    let mut subject = world.subject();
    let map = format!("0 {} 1", subject.actor.uid);
    if !enter(&mut subject, &map) {
        return;
    }
    limit(&mut subject, "max_inotify_instances", INSTANCES);
    limit(&mut subject, "max_inotify_watches", WATCHES);
    let userns = system::user_namespace(subject.pid());

    // Counters are there before anything is refused: the first refusal is an increase.
    wait::until("a first scrape", || {
        prometheus.value("inotify_failures_total{cause=\"instance_limit\"}") == Some(0.0)
    });
    prometheus.until_firing("InotifyTraceLosingEvents", || ());

    // What grows second by second fills up, is then near the limit, and at last at it.
    let fd = create(&mut subject).unwrap();
    prometheus.until_firing("InotifyInstancesFillingUp", || {
        let _ = create(&mut subject);
    });
    let mut number = 0;
    let mut watch = |subject: &mut Subject| {
        let path = directory.path().join(format!("watched-{number}"));
        fs::write(&path, "").unwrap();
        number += 1;
        let path = hex(path.as_os_str().as_encoded_bytes());
        subject.process.call(&format!("watch {fd} {path} {}", libc::IN_MODIFY)).is_ok()
    };
    for _ in 0..WATCHES / 2 {
        assert!(watch(&mut subject));
    }
    prometheus.until_firing("InotifyWatchesFillingUp", || {
        watch(&mut subject);
    });
    while watch(&mut subject) {}
    while create(&mut subject).is_some() {}
    for alert in [
        "InotifyInstancesNearLimit",
        "InotifyInstancesExhausted",
        "InotifyWatchesNearLimit",
        "InotifyWatchesExhausted",
    ] {
        prometheus.until_firing(alert, || ());
    }
    // The kernel has just refused more than these: they are its own numbers.
    for (metric, expected) in [
        ("inotify_instances_used", INSTANCES),
        ("inotify_instances_limit", INSTANCES),
        ("inotify_watches_used", WATCHES),
        ("inotify_watches_limit", WATCHES),
    ] {
        let series = format!("{metric}{{userns=\"{userns}\"}}");
        assert_eq!(prometheus.value(&series), Some(f64::from(expected)), "{series}");
    }

    let what = "prometheus: the alert on an overflow";
    match prometheus.query("inotify_queue_overflows_total") {
        Some(series) if !series.is_empty() => {
            let sleeper = Sleeper::start();
            (0..LIMIT).for_each(|_| sleeper.change());
            prometheus.until_firing("InotifyQueueOverflow", || ());
        }
        _ => system::skip(what, "this backend does not see each overflow"),
    }
    if shim.is_some() {
        prometheus.until_firing("InotifyLeak", || ());
        let known = "inotify_leaked_instances{pattern=\"containerd#5670\"}";
        let leaked = if has_memory { known } else { "sum(inotify_leaked_instances)" };
        assert_eq!(prometheus.value(leaked), Some(2.0));
    } else {
        system::skip("prometheus: the alert on a leak", "no cgroup v2");
    }
    for query in dashboard() {
        let answer = prometheus.query(&query).unwrap();
        // All that it shows has happened; only the ring may be empty. Without cgroups, there is no
        // leak to show.
        let is_shown = answer.iter().any(|(_, value)| *value > 0.0 && value.is_finite());
        let may_be_zero = query.contains("inotify_trace_ring_bytes") && !answer.is_empty();
        assert!(shim.is_none() || is_shown || may_be_zero, "no data: {query}: {answer:?}");
    }
    served.stop();
    prometheus.until_firing("InotifyTraceDown", || ());
}

/// The growth of leaks is judged after minutes.
#[live_test]
fn a_growing_leak_makes_a_real_prometheus_fire() {
    const NAME: &str = "prometheus::a_growing_leak_makes_a_real_prometheus_fire";
    /// As often as one more instance stays open, and how long that takes to be an alert at most.
    const PACE: Duration = Duration::from_secs(2);
    const MOST: Duration = Duration::from_secs(300);
    let program = require_program!("prometheus");
    if system::soak().is_none() {
        return system::skip(NAME, &system::without_soak());
    }
    let _machine = system::the_machine();
    let directory = system::directory();
    let served = Served::start(&[]);
    let prometheus = Prometheus::start(&program, directory.path(), &served.address);
    let mut leaky = Process::start();
    leaky.call(&format!("uid {}", system::fresh_uid())).unwrap();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    let (begun, mut count) = (Instant::now(), 0);
    while !prometheus.is_firing("InotifyLeak") {
        if begun.elapsed() > PACE * count {
            let fd = leaky.call("init1 0").unwrap();
            leaky.call(&format!("watch {fd} {path} {}", libc::IN_CREATE)).unwrap();
            count += 1;
        }
        assert!(begun.elapsed() < MOST, "no alert: {}", prometheus.firing());
        thread::sleep(PACE / 10);
    }
    let leaked = prometheus.value("inotify_leaked_instances{pattern=\"growing\"}").unwrap();
    assert!(leaked > 0.0 && leaked <= f64::from(count), "{leaked} of {count}");
    served.stop();
}
