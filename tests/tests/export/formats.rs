//! Compares each format with the others and with the output of `replay`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use inotify_trace_model::event::{CgroupId, EventKind, InstanceId};
use serde_json::{Value, json};

use crate::{
    answer, export, lines,
    made::{BOOTED, Machine, Pod, SECOND, app, container_id, task},
    python, run,
};

const POD: Pod = Pod {
    namespace: "shop",
    name: "web, \"0\"",
    uid: "11111111-1111-4111-8111-111111111111",
    image: "docker.io/library/nginx:1.27",
};

/// A recording with every kind of event, across the end of an hour.
pub fn made(directory: &Path) -> PathBuf {
    let mut machine = Machine::start("node-a", directory, 3599, false);
    let home = machine.container(POD);
    let tail = task(70, "tail", home);
    for _ in 0..3 {
        let cgroup = machine.container(POD);
        let shim = task(500, "containerd-shim", CgroupId(1));
        machine.serve(shim, cgroup);
        machine.identify(shim, cgroup);
        machine.remove(cgroup);
    }
    machine.wait(60);
    for _ in 0..200 {
        let instance = machine.create(tail);
        machine.release(tail, instance);
    }
    machine.create(tail);
    machine.create_failed(tail, app(64, 64));
    machine.watch_failed(tail, 2, app(1, 8192));
    machine.lose(5);
    machine.wait(10);
    machine.finish().remove(0)
}

/// The recording of a machine without events, as far as that is possible.
fn empty(directory: &Path) -> PathBuf {
    let mut files = Machine::nothing("node-b", directory);
    files.remove(0)
}

pub fn rows(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.deserialize().map(|row| row.expect("a row as wide as the first")).collect()
}

#[test]
fn lines_are_those_of_replay_and_all_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(directory.path());
    let all = lines(&export(std::slice::from_ref(&file), &["--format", "jsonl"]));
    let shown = run([Path::new("replay"), &file, Path::new("-o"), Path::new("json")]);
    let shown = lines(&shown.stdout);
    let is_shown = |line: &&Value| {
        let event = line["event"].as_str().unwrap();
        let hidden = ["cgroup-found", "cgroup-create", "cgroup-remove", "container-name", "shim"];
        !hidden.contains(&event)
    };
    let mut same: Vec<_> = all.iter().filter(is_shown).cloned().collect();
    for line in &mut same {
        let fields = line.as_object_mut().unwrap();
        // Lines of many nodes may end up in one place, so each names its node and boot.
        let run = ["node", "boot_id"].map(|field| fields.remove(field).unwrap());
        assert_eq!(run, ["node-a", "boot-of-node-a"]);
        assert!(fields.remove("run").unwrap().is_string());
        assert!(fields.remove("machine").unwrap().is_string());
    }
    assert_eq!(same, shown);
    let count = |event: &str| all.iter().filter(|line| line["event"] == event).count();
    let truth = [
        ("cgroup-found", 1),
        ("cgroup-create", 4),
        ("container-name", 4),
        ("cgroup-remove", 3),
        ("create", 204),
        ("release", 200),
        ("watch", 3),
        ("shim", 3),
        ("create-failed", 1),
        ("watch-failed", 1),
        ("lost", 1),
        ("verdict", 1),
        ("summary", 1),
    ];
    assert_eq!(truth.map(|(event, _)| (event, count(event))), truth);
    assert_eq!(all.len(), truth.iter().map(|(_, count)| count).sum::<usize>());
}

#[test]
fn rows_say_what_lines_say() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(directory.path());
    let mut lines = lines(&export(std::slice::from_ref(&file), &["--format", "jsonl"]));
    let mut rows = rows(&export(&[file], &["--format", "csv"]));
    // Rows have one more for each leaked instance; lines have one more for the summary.
    let leaked: Vec<_> = rows.extract_if(.., |row| row["event"] == "leaked").collect();
    lines.pop();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        let field = |column: &str| {
            let (object, name) = match column {
                "pod_uid" => ("container", "pod"),
                "pod_name" | "namespace" | "image" => ("container", column),
                "target_pod_uid" => ("target_container", "pod"),
                "target_pod_name" | "target_namespace" | "target_image" => {
                    ("target_container", &column[7..])
                }
                _ if column.starts_with("container_") => ("container", &column[10..]),
                _ if column.starts_with("target_container_") => ("target_container", &column[17..]),
                _ => return &line[column],
            };
            &line[object][name]
        };
        // Columns that only rows have.
        let others = ["counted", "charged_user"];
        for (column, value) in row {
            if others.contains(&column.as_str()) {
                continue;
            }
            let said = match field(column) {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Array(all) => {
                    all.iter().map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join(",")
                }
                Value::Number(number) if number.is_f64() => number.as_f64().unwrap().to_string(),
                other => other.to_string(),
            };
            assert_eq!(*value, said, "{column} of {line}");
        }
        assert_eq!((&*row["node"], &*row["boot_id"]), ("node-a", "boot-of-node-a"));
        assert_eq!(row["run"].len(), 16, "{row:?}");
        let counted = match &*row["event"] {
            "create" | "release" | "create-failed" => "instances",
            "watch" | "watch-failed" => "watches",
            _ => "",
        };
        assert_eq!(row["counted"], counted);
    }
    // The first three instances, each leaked since its container's removal.
    let instances: Vec<_> = leaked.iter().map(|row| row["instance"].as_str()).collect();
    assert_eq!(instances, ["1", "2", "3"]);
    let removed = rows.iter().filter(|row| row["event"] == "cgroup-remove");
    for (row, removed) in leaked.iter().zip(removed) {
        assert_eq!(row["since"], removed["time"]);
        assert_eq!(row["target_cgroup"], removed["target_cgroup"]);
        assert_eq!(row["target_pod_name"], POD.name);
        assert_eq!((&*row["pattern"], &*row["was_found"]), ("containerd#5670", "false"));
    }
}

/// Reads Parquet with the types of its columns, and CSV with the same types.
const COMPARE: &str = r#"
import duckdb, json, sys
parquet, csv = json.load(sys.stdin)
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
db.execute(f"CREATE TABLE p AS FROM read_parquet('{parquet}', hive_partitioning = false)")
db.execute("CREATE TABLE c AS FROM p LIMIT 0")
db.execute(f"COPY c FROM '{csv}' (HEADER, nullstr '')")
one = lambda query: db.execute(query).fetchone()[0]
json.dump({
    "rows": [one("SELECT count(*) FROM p"), one("SELECT count(*) FROM c")],
    "differ": one("SELECT count(*) FROM (FROM p EXCEPT ALL FROM c)"),
    "first": one("SELECT epoch_ns(min(time)) FROM p"),
    "columns": {name: kind for name, kind, *_ in db.execute("DESCRIBE p").fetchall()},
    "codecs": [row[0] for row in db.execute(
        f"SELECT DISTINCT compression FROM parquet_metadata('{parquet}')").fetchall()],
}, sys.stdout)
"#;

#[test]
fn parquet_says_what_csv_says() {
    let Some(python) = python("parquet_says_what_csv_says") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = [made(&directory.path().join("made"))];
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    export(&file, &["--format", "csv", "-o", &path("all.csv")]);
    export(&file, &["--format", "parquet", "-o", &path("all.parquet")]);
    export(&file, &["--format", "parquet", "--partition", "-o", &path("parts")]);
    for parquet in ["all.parquet", "parts/**/*.parquet"] {
        let found = answer(&python, COMPARE, directory.path(), &json!([parquet, "all.csv"]));
        let of_containers = 1 + 4 + 4 + 3; // found, created, named, removed
        let of_instances = 204 + 200 + 3 + 1 + 1; // created, released, watched, failed
        let of_leaks = 3 + 1 + 3; // shims, the verdict, what is leaked
        let lost = 1;
        let count = of_containers + of_instances + of_leaks + lost;
        assert_eq!(found["rows"], json!([count, count]), "{parquet}");
        assert_eq!(found["differ"], 0, "{parquet}: {found}");
        let first = u64::try_from(BOOTED).unwrap() * SECOND + 3599 * SECOND + 1000;
        assert_eq!(found["first"], first, "{parquet}");
        assert_eq!(found["codecs"], json!(["ZSTD"]));
        let kind = |column: &str| found["columns"][column].as_str().unwrap();
        for time in ["time", "since"].map(kind) {
            // Types with nanoseconds name the time zone.
            let is_utc = time.starts_with("TIMESTAMPTZ") || time == "TIMESTAMP WITH TIME ZONE";
            assert!(is_utc, "{time}");
        }
        let columns = ["pid", "instance", "fd", "certain", "path", "per_minute"];
        let truth = ["UINTEGER", "UBIGINT", "INTEGER", "BOOLEAN", "VARCHAR", "DOUBLE"];
        assert_eq!(columns.map(kind), truth);
    }
    for hour in ["00", "01"] {
        let hour = directory.path().join(format!("parts/node=node-a/date=2026-03-01/hour={hour}"));
        assert_eq!(fs::read_dir(&hour).unwrap().count(), 1, "{}", hour.display());
    }
}

#[test]
fn nothing_is_valid_too() {
    let Some(python) = python("nothing_is_valid_too") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = [empty(&directory.path().join("made"))];
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let last = lines(&export(&file, &["--format", "jsonl"]));
    let [last] = &last[..] else { panic!("one line: {last:?}") };
    assert_eq!((&last["event"], &last["node"]), (&json!("summary"), &json!("node-b")));
    let counts = [&last["events"], &last["open"], &last["lost"]];
    assert_eq!(counts, [&json!({}), &json!(0), &json!({})]);
    export(&file, &["--format", "csv", "-o", &path("all.csv")]);
    assert_eq!(fs::read_to_string(path("all.csv")).unwrap().lines().count(), 1);
    export(&file, &["--format", "parquet", "-o", &path("all.parquet")]);
    export(&file, &["--format", "parquet", "--partition", "-o", &path("parts")]);
    export(&file, &["--format", "perfetto", "-o", &path("all.pftrace")]);
    let count = r#"
import duckdb, json, sys
json.dump(duckdb.sql("SELECT count(*), count(time) FROM 'all.parquet'").fetchall()[0], sys.stdout)
"#;
    assert_eq!(answer(&python, count, directory.path(), &Value::Null), json!([0, 0]));
}

#[test]
fn names_and_counts_are_what_was_made_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(directory.path());
    let rows = rows(&export(&[file], &["--format", "csv"]));
    let failed = rows.iter().find(|row| row["event"] == "create-failed").unwrap();
    let truth = ["EMFILE", "inotify-instances", "64", "64", "1000", "app", "instances"];
    let columns = ["errno", "limit_hit", "used", "limit", "charged_uid", "charged_user", "counted"];
    assert_eq!(columns.map(|column| &*failed[column]), truth);
    let last = rows.iter().rfind(|row| row["event"] == "create").unwrap();
    assert_eq!(last["instance"], InstanceId(204).0.to_string());
    let place = ["namespace", "pod_name", "image", "container_runtime", "pod_uid"];
    let truth = [POD.namespace, POD.name, POD.image, "containerd", POD.uid];
    assert_eq!(place.map(|column| &*last[column]), truth);
}

#[test]
fn each_leaked_instance_has_one_row_in_each_run() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for node in ["node-a", "node-b"] {
        let mut machine = Machine::start(node, &directory.path().join(node), 100, false);
        // Verdicts are reported for one instance, then for two. The next comes only with four.
        for _ in 0..3 {
            let cgroup = machine.container(POD);
            machine.serve(task(500, "containerd-shim", CgroupId(1)), cgroup);
            machine.remove(cgroup);
            machine.wait(60);
        }
        files.extend(machine.finish());
    }
    let rows = rows(&export(&files, &["--format", "csv"]));
    let told = |event: &str, column: &str| {
        let rows = rows.iter().filter(|row| row["event"] == event);
        rows.map(|row| format!("{} {}", row["node"], row[column])).collect::<Vec<_>>()
    };
    let verdicts = ["node-a 1", "node-a 2", "node-b 1", "node-b 2"];
    assert_eq!(told("verdict", "instances"), verdicts);
    let leaked = ["node-a 1", "node-a 2", "node-a 3", "node-b 1", "node-b 2", "node-b 3"];
    assert_eq!(told("leaked", "instance"), leaked);
}

#[test]
fn a_shim_is_put_down_to_its_pod() {
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::start("node-a", directory.path(), 100, false);
    let shim = task(500, "containerd-shim", CgroupId(1));
    let home = machine.container(POD);
    let served = machine.container(POD);
    machine.serve(shim, served);
    let kind = EventKind::ShimIdentified {
        id: container_id(home).into(),
        namespace: "k8s.io".into(),
        version: Some("1.4.13".into()),
    };
    machine.happens(Some(shim), kind);
    machine.remove(served);
    machine.wait(60);
    let rows = rows(&export(&machine.finish(), &["--format", "csv"]));
    for event in ["shim", "verdict", "leaked"] {
        let row = rows.iter().find(|row| row["event"] == event).expect(event);
        let columns = ["pid", "target_namespace", "target_pod_name", "containerd_version"];
        let truth = ["500", POD.namespace, POD.name, "1.4.13"];
        assert_eq!(columns.map(|column| &*row[column]), truth, "{event}");
        let container = match event {
            "shim" => container_id(home),
            "leaked" => container_id(served),
            _ => String::new(),
        };
        assert_eq!(row["target_container_id"], container, "{event}");
    }
}

/// Collects the JSON types of each name; an array counts as the types of its elements.
fn kinds(value: &Value, all: &mut BTreeMap<String, BTreeMap<&'static str, String>>, of: &str) {
    let kind = |value: &Value| match value {
        Value::Null | Value::Array(_) => None,
        Value::Bool(_) => Some("boolean"),
        Value::Number(_) => Some("number"),
        Value::String(_) => Some("string"),
        Value::Object(_) => Some("object"),
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let each = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                let kinds_of_it = all.entry(name.clone()).or_default();
                kinds_of_it.extend(each.iter().filter_map(kind).map(|it| (it, of.to_owned())));
                // The keys of these objects are names of events and of losses.
                if !["events", "lost"].contains(&name.as_str()) {
                    kinds(value, all, of);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| kinds(value, all, of)),
        _ => {}
    }
}

#[test]
fn a_name_has_one_type_everywhere_and_is_documented() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(directory.path());
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../inotify-trace/tests/recordings/v1.json");
    let mut outputs = vec![
        ("export".to_owned(), export(std::slice::from_ref(&file), &["--format", "jsonl"])),
        ("fixture".to_owned(), fs::read(fixture).unwrap()),
    ];
    let recording = file.to_str().unwrap();
    let mut calls = vec![vec!["limits"], vec!["leaks"]];
    for by in ["process", "instance", "container", "user"] {
        calls.push(vec!["list", "--watches", "--by", by]);
    }
    for call in calls {
        let options = ["-o", "json", "--recording", recording];
        let output = run(call.iter().chain(&options));
        assert!(!output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        outputs.push((call.join(" "), output.stdout));
    }
    let mut all = BTreeMap::new();
    for (of, output) in &outputs {
        lines(output).iter().for_each(|line| kinds(line, &mut all, of));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let documents = ["docs/json.md", "docs/fields.md"];
    let documents = documents.map(|name| fs::read_to_string(root.join(name)).unwrap());
    for (name, kinds) in &all {
        assert!(kinds.len() <= 1, "{name} is of several types: {kinds:?}");
        let is_in = |text: &String| text.contains(&format!("`{name}`"));
        assert!(documents.iter().any(is_in), "{name} is not documented: {kinds:?}");
    }
}
