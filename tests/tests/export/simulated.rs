//! A fleet made of one real recording, and the queries of docs/fleet.md asked of two engines.
//!
//! The recording is of a virtual machine of the scenario containerd-5670: Debian 11, whose containerd leaks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use inotify_trace::{
    feed::Recordings,
    recording::{Header, Recorder, Rotation, Store},
};
use inotify_trace_model::{
    event::{BootTime, Event, EventKind},
    feed::{Batch, Item},
    story::Story,
};
use inotify_trace_tests::{system, wait};
use serde_json::{Value, json};

use crate::{
    answer, export,
    fleet::queries,
    lines,
    made::{BOOTED, SECOND, recordings},
    python, run,
};

const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings/node.itrec");

/// Each node records for an hour, from 09:30 on.
const HOUR: u64 = 3600 * SECOND;
const BEGIN: u64 = 9 * HOUR + HOUR / 2;

/// How many batches may wait for a recorder's thread; with more, it would leave batches out.
const WAITING: usize = 16;

/// Asks an engine queries about the directory `fleet`, the first of which prepares DuckDB. Prints the
/// rows of each, how long it took, and the most memory that the engine had.
const ASK: &str = r#"
import datetime, decimal, json, re, sys, time

def plain(value):
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat()
    return int(value) if isinstance(value, decimal.Decimal) else value

asked = json.load(sys.stdin)
view, *queries = (query.strip().rstrip(";") for query in asked["queries"])
if asked["engine"] == "DuckDB":
    import duckdb
    connection = duckdb.connect()
    # It would write a bar between the answers.
    connection.execute("SET enable_progress_bar = false")
    connection.execute(view)
    ask = lambda query: connection.sql(query).to_arrow_table().to_pylist()
else:
    import datafusion
    context = datafusion.SessionContext()
    context.register_parquet("events", "fleet/")
    ask = lambda query: context.sql(query).to_pylist()
answers, seconds = [], []
for query in queries:
    began = time.monotonic()
    rows = ask(query)
    seconds.append(time.monotonic() - began)
    answers.append([{name: plain(value) for name, value in row.items()} for row in rows])
peak = int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1])
json.dump({"answers": answers, "seconds": seconds, "peak": peak}, sys.stdout)
"#;

/// A recording, and what it has by hand.
struct Real {
    header: Header,
    batches: Vec<Batch>,
    /// Created instances, by command.
    made: BTreeMap<String, u64>,
}

impl Real {
    fn read() -> Self {
        let mut runs = Recordings::open(&[PathBuf::from(REAL)]).runs;
        let mut run = runs.pop().expect("a recording");
        let header = run.header().clone();
        let (mut batches, mut made) = (Vec::new(), BTreeMap::new());
        while let Some(item) = run.next_item() {
            let Item::Batch(batch) = item else { continue };
            for event in &batch.events {
                if let (EventKind::InstanceCreated { .. }, Some(task)) = (&event.kind, event.task) {
                    *made.entry(task.comm.to_str().into_owned()).or_default() += 1;
                }
            }
            batches.push(batch);
        }
        assert!(run.problems().is_empty(), "{:?}", run.problems());
        Self { header, batches, made }
    }

    /// Records an hour of a node at which the same happens to pods and images of other names.
    fn node(&self, number: usize, directory: &Path) -> Vec<PathBuf> {
        let host = format!("node-{number:04}");
        let first = self.header.started;
        let last = self.batches.last().expect("it is not empty").time;
        let stretched = |time: BootTime| {
            let share = time.since(first).as_nanos() * u128::from(HOUR);
            BootTime(BEGIN + u64::try_from(share / last.since(first).as_nanos()).expect("an hour"))
        };
        let header = Header {
            run: 1_000_000 + number as u64,
            boot_id: format!("boot-of-{host}"),
            host,
            booted: BOOTED * i64::try_from(SECOND).expect("a small number"),
            started: BootTime(BEGIN),
            ..self.header.clone()
        };
        fs::create_dir_all(directory).expect("a place for recordings");
        let store = Store::new(directory, Rotation::default()).expect("a place for recordings");
        let say = Box::new(|what: &str| panic!("{what}"));
        let mut recorder =
            Recorder::start(store, header, Duration::from_secs(60), say).expect("a place");
        let mut story = Story::without_verdicts(BootTime(BEGIN));
        for batch in &self.batches {
            let event = |event: &Event| Event {
                time: stretched(event.time),
                kind: renamed(event.kind.clone(), number),
                ..event.clone()
            };
            let batch = Batch {
                time: stretched(batch.time),
                events: batch.events.iter().map(event).collect(),
                ..*batch
            };
            story.take(Item::Batch(batch), &mut recorder).expect("it is recorded");
            wait::until("batches are written", || recorder.waiting() < WAITING);
        }
        let (totals, result) = recorder.finish(stretched(last));
        result.expect("a place for recordings");
        assert_eq!(totals.unrecorded, 0);
        recordings(directory)
    }
}

/// An event of another node: its pods have names of their own, and its images one of three versions.
fn renamed(mut kind: EventKind, number: usize) -> EventKind {
    if let EventKind::ContainerNamed { names, .. } = &mut kind {
        names.pod_name = names.pod_name.take().map(|name| format!("{name}-{number}"));
        names.image = Some(format!("registry.example/app:1.{}", number % 3));
    }
    kind
}

fn to_str(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Exports of nodes.
struct Fleet {
    real: Real,
    directory: tempfile::TempDir,
    nodes: usize,
    /// How long the exports took.
    exporting: Duration,
    /// Instances that each node leaked.
    leaked: u64,
}

/// What an engine answered.
struct Answered {
    answers: Value,
    seconds: f64,
    /// In MiB.
    peak: u64,
}

impl Fleet {
    fn new() -> Self {
        Self {
            real: Real::read(),
            directory: tempfile::tempdir().expect("a directory"),
            nodes: 0,
            exporting: Duration::ZERO,
            leaked: 0,
        }
    }

    /// Adds nodes up to a number of them, one export each.
    fn grow(&mut self, nodes: usize) {
        let fleet = self.directory.path().join("fleet");
        for number in self.nodes..nodes {
            let made = self.directory.path().join(number.to_string());
            let files = self.real.node(number, &made);
            let began = Instant::now();
            export(&files, &["--format", "parquet", "--partition", "-o", to_str(&fleet)]);
            self.exporting += began.elapsed();
            if number == 0 {
                let told = run(["leaks", "--recording", to_str(&files[0]), "-o", "json"]).stdout;
                let told = lines(&told);
                self.leaked = told.iter().filter_map(|leak| leak["instances"].as_u64()).sum();
            }
            fs::remove_dir_all(made).expect("a recording");
        }
        self.nodes = nodes;
    }

    fn ask(&self, python: &Path, engine: &str) -> Answered {
        let asked = json!({ "engine": engine, "queries": queries() });
        let mut told = answer(python, ASK, self.directory.path(), &asked);
        let seconds = told["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        Answered {
            seconds: seconds.sum(),
            peak: told["peak"].as_u64().expect("a number") >> 10,
            answers: told["answers"].take(),
        }
    }

    /// Both engines answer alike, and what the recording has. Returns what it took, in seconds and MiB.
    fn check(&self, python: &Path) -> [(f64, u64); 2] {
        let [duckdb, datafusion] = ["DuckDB", "DataFusion"].map(|it| self.ask(python, it));
        let answers = duckdb.answers.as_array().expect("answers");
        for (number, (one, other)) in
            answers.iter().zip(datafusion.answers.as_array().expect("answers")).enumerate()
        {
            assert_eq!(one, other, "query {number}");
        }
        let [closest, images, pods, failures, creators, missing] = &answers[..] else {
            panic!("{} answers", answers.len());
        };
        let sum = |rows: &Value, field: &str| -> u64 {
            let rows = rows.as_array().into_iter().flatten();
            rows.filter_map(|row| row[field].as_u64()).sum()
        };
        let all = |each: u64| self.nodes as u64 * each;
        assert_eq!(closest.as_array().map(Vec::len), Some(10.min(self.nodes * 2)));
        assert!(self.leaked > 0);
        assert_eq!(sum(images, "leaked"), all(self.leaked), "{images}");
        assert_eq!(sum(pods, "leaked"), all(self.leaked));
        assert_eq!([failures, missing], [&json!([]); 2]);
        for row in creators.as_array().into_iter().flatten() {
            let made = self.real.made[row["comm"].as_str().expect("a name")];
            assert_eq!(row["made"], all(made), "{row}");
            assert_eq!(row["nodes"], all(1), "{row}");
        }
        assert_eq!(sum(creators, "made"), all(self.real.made.values().sum()));
        [duckdb, datafusion].map(|it| (it.seconds, it.peak))
    }

    /// The bytes of all exports.
    fn size(&self) -> u64 {
        fn of(directory: &Path) -> u64 {
            let entries = fs::read_dir(directory).expect("exports").flatten();
            let size = |it: fs::DirEntry| match it.metadata().expect("a file") {
                entry if entry.is_dir() => of(&it.path()),
                entry => entry.len(),
            };
            entries.map(size).sum()
        }
        of(&self.directory.path().join("fleet"))
    }
}

#[test]
fn two_engines_answer_alike() {
    let Some(python) = python("two_engines_answer_alike") else { return };
    let mut fleet = Fleet::new();
    fleet.grow(4);
    fleet.check(&python);
}

#[test]
fn a_thousand_nodes_take_ten_times_of_a_hundred() {
    const TEST: &str = "a_thousand_nodes_take_ten_times_of_a_hundred";
    let Some(python) = python(TEST) else { return };
    if system::soak().is_none() {
        return system::skip(TEST, &system::without_soak());
    }
    let mut fleet = Fleet::new();
    let mut grown = Vec::new();
    println!("nodes: MiB, s to export; s to ask and MiB of DuckDB, of DataFusion");
    for nodes in [100, 300, 1000] {
        fleet.grow(nodes);
        let [duckdb, datafusion] = fleet.check(&python);
        let exporting = fleet.exporting.as_secs_f64();
        println!(
            "{nodes}: {:.1}, {exporting:.0}; {:.1} {}, {:.1} {}",
            fleet.size() as f64 / f64::from(1 << 20),
            duckdb.0,
            duckdb.1,
            datafusion.0,
            datafusion.1
        );
        let share = |of: f64| of / nodes as f64;
        grown.push([exporting, duckdb.0, datafusion.0, fleet.size() as f64].map(share));
    }
    // For each node alike, on a busy machine too; with their square, it would be ten times.
    for (few, many) in grown[0].iter().zip(grown[2]) {
        assert!(many < 3.0 * few, "{grown:?}");
    }
}
