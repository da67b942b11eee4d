//! The same instance, the same story by every road: a look, a watch, the trace, its replay, the
//! recording, the report.

mod quota;

use std::{
    any::Any,
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use inotify_trace_tests::{
    Agent, Cgroup, Listing, Process,
    agent::binary,
    live_test,
    process::{hex, workload},
    system,
    system::Setting,
    wait,
};
use serde_json::{Value, json};

/// A process that does something, and what is to be said of it.
struct Case {
    name: &'static str,
    /// The file name of its program, if that matters.
    program: &'static str,
    /// Begins in a directory of its own. What it returns besides lives as long as the process.
    begin: fn(&mut Process, &Path) -> Box<dyn Any>,
    /// How many instances it has.
    instances: u64,
    /// None if there is nothing to say.
    expected: Option<Expected<'static>>,
}

/// The verdict on a process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Expected<'a> {
    kind: &'a str,
    /// The number of its instances.
    instances: u64,
    /// The command name of the process, as far as that is this case's.
    comm: &'a str,
    /// The known bug.
    pattern: Option<&'a str>,
}

/// A verdict on a process called like its program, without a known bug.
const fn expected(kind: &'static str, instances: u64) -> Option<Expected<'static>> {
    Some(Expected { kind, instances, comm: WORKLOAD, pattern: None })
}

const WORKLOAD: &str = "workload";

const CASES: [Case; 11] = [
    Case {
        name: "a reader that sleeps",
        program: WORKLOAD,
        begin: |process, directory| {
            // Its instance keeps the limit.
            let _most = Setting::exactly("/proc/sys/fs/inotify/max_queued_events", 8);
            let fd = instance(process);
            watch(process, fd, directory);
            for number in 0..20 {
                fs::write(directory.join(number.to_string()), "").unwrap();
            }
            Box::new(())
        },
        instances: 1,
        expected: expected("queue-full", 1),
    },
    Case {
        name: "one that keeps what watched cgroups that are gone",
        program: WORKLOAD,
        begin: |process, _| {
            for _ in 0..3 {
                let cgroup = Cgroup::new().unwrap();
                let fd = instance(process);
                watch(process, fd, &cgroup.directory().join("cgroup.events"));
                cgroup.remove();
            }
            Box::new(())
        },
        instances: 3,
        expected: expected("target-gone", 3),
    },
    Case {
        name: "a program with an instance for each query, all on the same directory",
        program: WORKLOAD,
        begin: |process, directory| {
            all_on(process, directory);
            Box::new(())
        },
        instances: 12,
        expected: expected("alike", 12),
    },
    Case {
        name: "a Python with a resolver for each query",
        program: "python3.13",
        begin: |process, _| {
            let mask = libc::IN_MODIFY | libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_ONLYDIR;
            for _ in 0..12 {
                let fd = instance(process);
                watch_for(process, fd, Path::new("/etc"), mask);
            }
            Box::new(())
        },
        instances: 12,
        expected: Some(Expected {
            kind: "alike",
            instances: 12,
            comm: "python3.13",
            pattern: Some("aiodns#175"),
        }),
    },
    Case {
        name: "a Python of which nothing else is known",
        program: "python3.13",
        begin: |process, directory| {
            all_on(process, directory);
            Box::new(())
        },
        instances: 12,
        expected: Some(Expected {
            kind: "alike",
            instances: 12,
            comm: "python3.13",
            pattern: None,
        }),
    },
    Case {
        name: "one that makes its instances in a thread of another name",
        program: "calico-node",
        begin: |process, _| {
            let mut thread = process.thread();
            thread.call(&format!("name {}", hex(b"user-config-wat"))).unwrap();
            for _ in 0..12 {
                instance(&mut thread);
            }
            Box::new(thread)
        },
        instances: 12,
        expected: Some(Expected {
            kind: "alike",
            instances: 12,
            comm: "calico-node",
            pattern: Some("calico#13727"),
        }),
    },
    Case {
        name: "a thread with a table of descriptors of its own",
        program: WORKLOAD,
        begin: |process, directory| {
            let mut thread = process.thread();
            thread.call(&format!("unshare {}", libc::CLONE_FILES)).unwrap();
            all_on(&mut thread, directory);
            // The same numbers are other things in the process.
            for _ in 0..12 {
                process.call("dup 0").unwrap();
            }
            Box::new(thread)
        },
        instances: 12,
        expected: expected("alike", 12),
    },
    Case {
        name: "one whose name is cut inside a character",
        program: WORKLOAD,
        begin: |process, directory| {
            process.call(&format!("name {}", hex("наблюдатель".as_bytes()))).unwrap();
            all_on(process, directory);
            Box::new(())
        },
        instances: 12,
        // The kernel keeps 15 bytes, and the eighth letter has two.
        expected: Some(Expected {
            kind: "alike",
            instances: 12,
            comm: "наблюда\\xd1",
            pattern: None,
        }),
    },
    Case {
        name: "a follower of many logs, each with an instance",
        program: WORKLOAD,
        begin: |process, directory| {
            for number in 0..12 {
                let log = directory.join(number.to_string());
                fs::write(&log, "").unwrap();
                let fd = instance(process);
                watch(process, fd, &log);
            }
            Box::new(())
        },
        instances: 12,
        expected: None,
    },
    Case {
        name: "a watcher of a cgroup that exists",
        program: WORKLOAD,
        begin: |process, _| {
            let cgroup = Cgroup::new().unwrap();
            let fd = instance(process);
            watch(process, fd, &cgroup.directory().join("cgroup.events"));
            Box::new(cgroup)
        },
        instances: 1,
        expected: None,
    },
    Case {
        name: "an editor with a tree of watches in one instance",
        program: WORKLOAD,
        begin: |process, directory| {
            let fd = instance(process);
            for number in 0..100 {
                let below = directory.join(number.to_string());
                fs::create_dir(&below).unwrap();
                watch(process, fd, &below);
            }
            Box::new(())
        },
        instances: 1,
        expected: None,
    },
];

fn instance(process: &mut Process) -> i32 {
    process.call(&format!("init1 {}", libc::IN_NONBLOCK)).unwrap()
}

fn watch(process: &mut Process, fd: i32, path: &Path) {
    watch_for(process, fd, path, libc::IN_CREATE | libc::IN_MODIFY);
}

fn watch_for(process: &mut Process, fd: i32, path: &Path, mask: u32) {
    let path = hex(path.as_os_str().as_encoded_bytes());
    process.call(&format!("watch {fd} {path} {mask}")).unwrap();
}

/// Twelve instances on the same path.
fn all_on(process: &mut Process, path: &Path) {
    for _ in 0..12 {
        let fd = instance(process);
        watch(process, fd, path);
    }
}

/// What is said of a process: of each kind of verdict, the rest that must not depend on the road.
type Story = BTreeMap<String, Value>;

/// What these lines say of a process.
fn story<'a>(lines: impl IntoIterator<Item = &'a Value>, pid: u32) -> Story {
    let its = lines.into_iter().filter(|it| it["event"] == "verdict" && it["pid"] == pid);
    let fields = ["comm", "uid", "instances", "leak", "certain", "pattern", "source", "remedy"];
    // The last of a kind counts: verdicts are repeated when they are much worse.
    its.map(|verdict| {
        let facts = fields.map(|name| (name.to_owned(), verdict[name].clone()));
        (
            verdict["verdict"].as_str().unwrap().to_owned(),
            Value::Object(facts.into_iter().collect()),
        )
    })
    .collect()
}

/// The JSON lines that a command writes.
fn lines_of(arguments: &[&str]) -> Vec<Value> {
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(matches!(status.code(), Some(0 | 1)), "{arguments:?}: {errors}");
    let lines = String::from_utf8(stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn parsed(agent: &Agent) -> Vec<Value> {
    agent.events().iter().map(|it| serde_json::from_str(it.as_str().unwrap()).unwrap()).collect()
}

// Linux 7 removes the watch with the cgroup: a look has no trace of that leak.
#[live_test]
fn every_road_leads_to_the_same_story() {
    const NAME: &str = "roads::every_road_leads_to_the_same_story";
    let _machine = system::the_machine();
    if Cgroup::new().is_none() {
        return system::skip(NAME, "no cgroup v2 hierarchy is mounted");
    }
    let directory = system::directory();
    let recording = directory.path().join("run.itrec");
    let record = ["--record", recording.to_str().unwrap()];
    let trace = Agent::with(&record);
    // With the grace period that the trace has.
    let watching = Agent::unparsed(&["leaks", "--watch", "-o", "json"]);
    let cases: Vec<_> = CASES
        .iter()
        .map(|case| {
            let place = directory.path().join(case.name);
            fs::create_dir(&place).unwrap();
            let program = place.join(case.program);
            fs::copy(workload(), &program).unwrap();
            let mut process = Process::start_as(&program, &[]);
            let kept = (case.begin)(&mut process, &place);
            (case, process, kept)
        })
        .collect();
    // By a watch, and by the trace, which tells of leaks alone.
    wait::until("what there is to tell is told", || {
        let (watched, traced) = (parsed(&watching), trace.events());
        cases.iter().all(|(case, process, _)| {
            let Some(Expected { kind, .. }) = case.expected else { return true };
            let is_told = |lines: &[Value]| story(lines, process.pid).contains_key(kind);
            let is_leak = kind == "target-gone";
            is_told(&watched) && (!is_leak || is_told(&traced))
        })
    });
    let looked = lines_of(&["leaks", "-o", "json", "--settle", "1"]);
    let listed = Listing::by("process", &[]);
    let watched = watching.stop();
    let watched: Vec<_> = watched
        .events
        .iter()
        .map(|it| serde_json::from_str::<Value>(it.as_str().unwrap()).unwrap())
        .collect();
    let traced = trace.stop().events;
    let file = recording.to_str().unwrap();
    let recorded = lines_of(&["leaks", "-o", "json", "--settle", "1", "--recording", file]);
    let replayed = lines_of(&["replay", "-o", "json", file]);
    let report = Command::new(binary()).args(["report", file, "-f", "text"]).output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    let listed_then = Listing::recorded(&recording, "process", &[]);
    for (case, process, _) in &cases {
        let (name, pid) = (case.name, process.pid);
        let of = |lines: &[Value]| story(lines, pid);
        let found = of(&looked);
        let short = found.iter().map(|(kind, facts)| Expected {
            kind,
            instances: facts["instances"].as_u64().unwrap(),
            comm: facts["comm"].as_str().unwrap(),
            pattern: facts["pattern"].as_str(),
        });
        let short: Vec<_> = short.collect();
        assert_eq!(short, case.expected.into_iter().collect::<Vec<_>>(), "{name}: {found:?}");
        // What goes on is told when it is due, and again when it is much worse: it may have been of
        // fewer instances than are found at the end.
        let until_now = |lines: &[Value]| {
            let mut told = of(lines);
            for (kind, facts) in &mut told {
                let Some(all) = found.get(kind).map(|it| it["instances"].clone()) else { continue };
                let count = facts["instances"].as_u64();
                if count.is_some_and(|it| (1..=all.as_u64().unwrap()).contains(&it)) {
                    facts["instances"] = all;
                }
            }
            told
        };
        assert_eq!(until_now(&watched), found, "{name}: by a watch");
        assert_eq!(of(&recorded), found, "{name}: by a recording");
        let leaks: Story = found
            .iter()
            .filter(|(_, it)| it["leak"] == true)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(until_now(&traced), leaks, "{name}: by the trace");
        assert_eq!(until_now(&replayed), leaks, "{name}: by a replay");
        // A note that needs time is in the report only if the run went on after that.
        if !found.contains_key("alike") {
            let its = format!("({pid})");
            let is_it = |line: &str| line.contains("LEAK ") || line.contains("NOTE ");
            let is_told = report.lines().any(|line| is_it(line) && line.contains(&its));
            assert_eq!(is_told, !found.is_empty(), "{name}: by the report: {report}");
        }
        for listing in [&listed, &listed_then] {
            let row = listing.process(pid).unwrap();
            assert_eq!(row["instances"], json!(case.instances), "{name}: {}: {row}", listing.call);
        }
    }
}
