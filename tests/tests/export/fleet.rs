//! The queries of docs/fleet.md, run on two made-up nodes.

use std::path::Path;

use inotify_trace_model::event::CgroupId;
use serde_json::{Value, json};

use crate::{
    answer, export,
    made::{ENOSPC, Machine, Pod, app, recordings, task},
    python,
};

/// Runs the queries of a document, the first of which prepares the data. Prints the rows of each.
const ASK: &str = r#"
import duckdb, json, sys
connection = duckdb.connect()
queries = json.load(sys.stdin)
connection.execute(queries.pop(0))
rows = []
for query in queries:
    query = query.strip().rstrip(";")
    found = connection.execute(f"SELECT to_json(it)::VARCHAR FROM ({query}) it").fetchall()
    rows.append([json.loads(row[0]) for row in found])
json.dump(rows, sys.stdout)
"#;

const WEB: Pod = Pod {
    namespace: "shop",
    name: "web-0",
    uid: "11111111-1111-4111-8111-111111111111",
    image: "docker.io/library/nginx:1.27",
};

const DB: Pod = Pod {
    namespace: "shop",
    name: "db-0",
    uid: "22222222-2222-4222-8222-222222222222",
    image: "docker.io/library/postgres:17",
};

const CACHE: Pod = Pod {
    namespace: "infra",
    name: "cache-0",
    uid: "33333333-3333-4333-8333-333333333333",
    image: "docker.io/library/nginx:1.27",
};

/// The queries of a document, in order.
pub fn queries() -> Vec<String> {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fleet.md");
    let text = std::fs::read_to_string(document).expect("docs/fleet.md");
    let blocks = text.split("```sql\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Creates and removes a container; the shim keeps the instance that watched it.
fn leak(machine: &mut Machine, shim: u32, pod: Pod) {
    let cgroup = machine.container(pod);
    let shim = task(shim, "containerd-shim", CgroupId(1));
    machine.serve(shim, cgroup);
    machine.identify(shim, cgroup);
    machine.remove(cgroup);
}

/// A node from 09:50 to 10:20. Five instances of web-0 leak, three of them before 10:00, and two of
/// db-0.
fn worker_1(directory: &Path) -> u32 {
    let mut machine = Machine::start("worker-1", directory, 9 * 3600 + 50 * 60, true);
    let kubelet = task(50, "kubelet", CgroupId(1));
    for _ in 0..20 {
        let instance = machine.create(kubelet);
        machine.release(kubelet, instance);
    }
    for _ in 0..3 {
        leak(&mut machine, 500, WEB);
        machine.wait(60);
    }
    for used in [120, 127, 128] {
        machine.watch_failed(task(70, "app", CgroupId(1)), 2, app(used, 8192));
    }
    for _ in 0..7 {
        machine.create_failed(task(70, "app", CgroupId(1)), app(64, 64));
    }
    machine.wait(7 * 60 + 30);
    for _ in 0..2 {
        leak(&mut machine, 500, WEB);
        leak(&mut machine, 600, DB);
        machine.wait(60);
    }
    for _ in 0..2 {
        machine.create_failed(task(70, "app", CgroupId(1)), app(64, 64));
    }
    // This instance is not leaked: its container is still there.
    let cgroup = machine.container(WEB);
    machine.serve(task(500, "containerd-shim", CgroupId(1)), cgroup);
    machine.wait(15 * 60);
    let used = machine.used();
    assert!(machine.finish().len() > 1, "it rotates");
    used
}

/// A node from 10:00 to 10:10. Three instances of cache-0 leak.
fn worker_2(directory: &Path) -> u32 {
    let mut machine = Machine::start("worker-2", directory, 10 * 3600, false);
    for _ in 0..3 {
        leak(&mut machine, 900, CACHE);
    }
    let home = machine.container(DB);
    for _ in 0..30 {
        machine.create(task(80, "tail", home));
    }
    for _ in 0..4 {
        machine.watch_failed(task(80, "tail", home), ENOSPC, app(8192, 8192));
    }
    machine.lose(17);
    machine.wait(600);
    let used = machine.used();
    machine.finish();
    used
}

#[test]
fn the_queries_tell_what_was_made_up() {
    let Some(python) = python("the_queries_tell_what_was_made_up") else { return };
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["worker-1", "worker-2"].map(|node| directory.path().join(node));
    let used = [worker_1(&first), worker_2(&second)];
    // Exports file by file, as the files arrive.
    let fleet = directory.path().join("fleet");
    for file in [recordings(&first), recordings(&second)].concat() {
        let arguments = ["--format", "parquet", "--partition", "-o", fleet.to_str().unwrap()];
        export(&[file], &arguments);
    }
    for partition in [
        "node=worker-1/date=2026-03-01/hour=09",
        "node=worker-1/date=2026-03-01/hour=10",
        "node=worker-2/date=2026-03-01/hour=10",
    ] {
        assert!(fleet.join(partition).is_dir(), "{partition}");
    }
    assert!(!fleet.join("node=worker-2/date=2026-03-01/hour=09").exists());

    let queries = queries();
    assert_eq!(queries.len(), 7, "each has its truth below");
    let answers = answer(&python, ASK, directory.path(), &json!(queries));

    let quota = |node: &str, user: &str, counted: &str, used: u32, limit: u32| {
        let percent = (1000.0 * f64::from(used) / f64::from(limit)).round() / 10.0;
        json!({ "node": node, "charged_user": user, "counted": counted, "used": used,
                "limit": limit, "percent": percent })
    };
    let closest = json!([
        quota("worker-1", "app", "instances", 64, 64),
        quota("worker-2", "app", "watches", 8192, 8192),
        quota("worker-2", "root", "instances", used[1], 128),
        quota("worker-1", "root", "instances", used[0], 128),
        quota("worker-1", "app", "watches", 128, 8192),
        quota("worker-1", "root", "watches", 1, 8192),
        quota("worker-2", "root", "watches", 1, 8192),
    ]);
    assert_eq!(used, [8, 33]);
    same("closest to its limit", &answers[0], &closest);

    let image = |image: &str, leaked: u32, nodes: u32| {
        json!({ "leaking_image": image, "leaked": leaked, "nodes": nodes,
                "known_as": "containerd#5670" })
    };
    same("images", &answers[1], &json!([image(WEB.image, 8, 2), image(DB.image, 2, 1)]));

    let pod = |hour: &str, node: &str, pod: Pod, leaked: u32| {
        json!({ "in_hour": format!("2026-03-01 {hour}:00:00+00"), "node": node,
                "namespace": pod.namespace, "pod": pod.name, "leaked": leaked })
    };
    let pods = json!([
        pod("09", "worker-1", WEB, 3),
        pod("10", "worker-2", CACHE, 3),
        pod("10", "worker-1", DB, 2),
        pod("10", "worker-1", WEB, 2),
    ]);
    same("pods", &answers[2], &pods);

    let failure = |node: &str, hour: &str, event: &str, errno: &str, limit: Value, count: u32| {
        json!({ "node": node, "in_hour": format!("2026-03-01 {hour}:00:00+00"), "event": event,
                "errno": errno, "limit_hit": limit, "failures": count })
    };
    let instances = || json!("inotify-instances");
    let failures = json!([
        failure("worker-1", "09", "create-failed", "EMFILE", instances(), 7),
        failure("worker-1", "09", "watch-failed", "ENOENT", Value::Null, 3),
        failure("worker-1", "10", "create-failed", "EMFILE", instances(), 2),
        failure("worker-2", "10", "watch-failed", "ENOSPC", json!("inotify-watches"), 4),
    ]);
    same("failures", &answers[3], &failures);

    let creator = |comm: &str, image: &str, made: u32, nodes: u32| json!({ "comm": comm, "made_in": image, "made": made, "nodes": nodes });
    let creators = json!([
        creator("tail", DB.image, 30, 1),
        creator("kubelet", "(no container)", 20, 1),
        creator("containerd-shim", "(no container)", 11, 2),
    ]);
    same("creators", &answers[4], &creators);
    let lost = json!([{ "node": "worker-2", "lost_what": "events", "lost": 17 }]);
    same("lost", &answers[5], &lost);
}

fn same(what: &str, answer: &Value, truth: &Value) {
    // Numbers with and without a fraction are equal.
    let plain = |value: &Value| value.to_string().replace(".0,", ",").replace(".0}", "}");
    assert_eq!(plain(answer), plain(truth), "{what}");
}
