//! `inotify-trace record`: the content of the disk at any time, also after a crash of the recorder.

mod full_disk;
mod kills;
mod rotation;
mod start;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use inotify_trace_tests::{
    Agent, Listing, Process,
    agent::{EVERYTHING, binary},
    live_test,
    process::hex,
    system,
    system::boot_ns,
    wait,
};
use serde_json::{Value, json};

/// A process that creates and closes instances, and the times of its calls.
struct Witness {
    process: Process,
    deeds: Vec<Deed>,
}

/// A call, and the bounds of its time.
struct Deed {
    name: &'static str,
    from: u64,
    to: u64,
}

impl Witness {
    fn start() -> Self {
        Self { process: Process::start(), deeds: Vec::new() }
    }

    fn pid(&self) -> String {
        self.process.pid.to_string()
    }

    fn note(&mut self, name: &'static str, command: &str) -> i32 {
        let from = boot_ns();
        let result = self.process.call(command);
        self.deeds.push(Deed { name, from, to: boot_ns() });
        result.unwrap_or_else(|errno| panic!("{command}: errno {errno}"))
    }

    /// Creates an instance and closes it.
    fn step(&mut self) {
        let fd = self.note("create", "init1 0");
        self.note("release", &format!("close {fd}"));
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// Creates an instance that stays open, with a watch of this mask.
    fn hold(&mut self, directory: &Path, mask: u32) {
        let fd = self.note("create", "init1 0");
        let path = hex(directory.as_os_str().as_encoded_bytes());
        self.process.call(&format!("watch {fd} {path} {mask}")).unwrap();
    }

    /// The numbers of the deeds without an event at their time. Fails the test if an event matches
    /// no deed, or comes twice or out of order.
    fn missing(&self, told: &[Value]) -> Vec<usize> {
        let mut missing = Vec::new();
        // The agent inferred this end later, because the kernel skipped the program that reports
        // it.
        let is_late = |event: &Value| event["how"] == "unknown";
        let told = told.iter().filter(|event| event["event"] != "lost" && !is_late(event));
        let mut told = told.peekable();
        for (number, deed) in self.deeds.iter().enumerate() {
            let is_it = |event: &&Value| {
                let time = event["boot_ns"].as_u64().unwrap();
                event["event"] == deed.name && (deed.from..=deed.to).contains(&time)
            };
            if told.next_if(is_it).is_none() {
                missing.push(number);
            }
        }
        assert_eq!(told.next(), None, "told of what was not done, or twice");
        missing
    }
}

/// Starts recording.
fn record(path: &Path, options: &[&str]) -> Agent {
    Agent::unparsed(&[&["record", "-o", path.to_str().unwrap()], options].concat())
}

/// The output of `replay`.
struct Replayed {
    /// All lines without the summary.
    events: Vec<Value>,
    errors: String,
    code: Option<i32>,
}

fn replay(recording: &Path, options: &[&str]) -> Replayed {
    let mut command = Command::new(binary());
    command.arg("replay").arg(recording).args(["-o", "json"]).args(options);
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.filter(|event| event["event"] != "summary").collect();
    Replayed { events, errors, code: output.status.code() }
}

/// The events of a witness in an undamaged recording.
fn told_of(witness: &Witness, recording: &Path) -> Vec<Value> {
    let replayed = replay(recording, &["-e", "create,release", "-p", &witness.pid()]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.errors);
    let is_greeting = |line: &&str| !line.starts_with("What came before is not here");
    assert_eq!(
        replayed.errors.lines().filter(is_greeting).count(),
        1,
        "only a greeting: {}",
        replayed.errors
    );
    replayed.events
}

/// The number of lost events.
fn lost(events: &[Value]) -> u64 {
    let losses = events.iter().filter(|event| event["event"] == "lost");
    losses.map(|event| event["lost_count"].as_u64().unwrap()).sum()
}

/// The maximum number of deeds without an event because the kernel skipped programs, which it
/// counts: an instance without a beginning has no end event either.
fn hidden(events: &[Value]) -> usize {
    let runs = events.iter().filter(|event| event["lost_what"] == "runs").cloned();
    2 * usize::try_from(lost(&runs.collect::<Vec<_>>())).unwrap()
}

/// The rows of instances that a witness holds. Left out are the agent's own numbers, which differ
/// between runs, and fields that are not recorded: the queue length and, in `trace`, the path of an
/// existing watch.
fn held(witness: &Witness, listing: &Listing) -> Vec<Value> {
    let is_held = |row: &&Value| row["pid"] == json!([witness.process.pid]) && row["watches"] != 0;
    let mut held: Vec<_> = listing.rows().iter().filter(is_held).cloned().collect();
    for row in &mut held {
        for field in ["instance", "queued"] {
            row.as_object_mut().unwrap().remove(field);
        }
        for target in row["targets"].as_array_mut().unwrap() {
            for field in ["instance", "path"] {
                target.as_object_mut().unwrap().remove(field);
            }
        }
    }
    held.sort_by_key(|row| row["targets"][0]["mask"].to_string());
    held
}

fn in_directory(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[live_test]
fn a_recording_is_private_and_ends_in_good_order_with_either_signal() {
    let _machine = system::the_machine();
    let directory = system::directory();
    for (name, signal) in [("interrupted", libc::SIGINT), ("terminated", libc::SIGTERM)] {
        let path = in_directory(&directory, name);
        let mut witness = Witness::start();
        // The end of a recording flushes all events, before the flush interval is over.
        let agent = record(&path, &["--flush", "1h"]);
        witness.steps(10);
        let run = agent.stop_with(signal);
        assert_eq!(run.status.code(), Some(0), "{}", run.errors);
        assert!(run.events.is_empty(), "nothing on standard output: {:?}", run.events);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(witness.missing(&told_of(&witness, &path)), [0; 0]);
        let everything = ["-e", EVERYTHING, "--no-verdicts"];
        let all = replay(&path, &everything).events.len();
        let last = run.errors.lines().last().unwrap();
        assert!(last.starts_with(&format!("Recorded {all} events in 1 file (")), "{last}");

        let before = fs::read(&path).unwrap();
        let again = self::run(&["record", "-o", path.to_str().unwrap(), "-d", "0.1"]);
        let errors = String::from_utf8(again.stderr).unwrap();
        assert_eq!(again.status.code(), Some(2), "{errors}");
        for words in [path.to_str().unwrap(), "exists", "give another name"] {
            assert!(errors.contains(words), "no {words:?} in: {errors}");
        }
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[live_test]
fn what_happens_is_on_disk_before_anything_else_happens() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let path = in_directory(&directory, "growing.itrec");
    let mut witness = Witness::start();
    let agent = record(&path, &["--flush", "100ms"]);
    for number in 1..=5 {
        witness.step();
        // No later event flushes this one to disk; the writer's own test covers the delay.
        wait::until(&format!("step {number} is on disk"), || {
            witness.missing(&told_of(&witness, &path)).is_empty()
        });
    }
    assert_eq!(agent.stop().status.code(), Some(0));
}

#[live_test]
fn in_a_storm_each_event_is_recorded_or_counted() {
    let count: u32 = if system::is_emulated() { 10_000 } else { 200_000 };
    let _machine = system::the_machine();
    let directory = system::directory();
    let path = in_directory(&directory, "storm.itrec");
    let mut process = Process::start();
    let agent = record(&path, &[]);
    let watched = hex(directory.path().as_os_str().as_encoded_bytes());
    assert_eq!(process.call(&format!("storm {count} {watched}")), Ok(count.cast_signed()));
    let run = agent.stop();
    let pid = process.pid.to_string();
    let arguments = ["replay", path.to_str().unwrap(), "-o", "json"];
    let output = self::run(&[&arguments[..], &["-e", "create,watch,release", "-p", &pid]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // Parsing each line would take longer than the storm.
    let lines = String::from_utf8(output.stdout).unwrap();
    let of = |name: &str| {
        let name = format!(r#""event":"{name}""#);
        lines.lines().filter(|line| line.contains(&name)).collect::<Vec<_>>()
    };
    let losses = of("lost").into_iter().map(|line| serde_json::from_str(line).unwrap());
    let lost = lost(&losses.collect::<Vec<_>>());
    let told = |name| of(name).len() as u64;
    let (created, watched, released) = (told("create"), told("watch"), told("release"));
    let all = u64::from(count);
    if lost == 0 {
        assert_eq!((created, watched, released), (all + 1, all, all + 1));
    } else {
        eprintln!("{lost} events lost and counted: {}", run.errors);
    }
    // Lost events may include those of other processes.
    assert!(created + watched + released + lost >= 3 * all + 2);
}
