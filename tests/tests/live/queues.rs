//! Queues that overflow: their owners do not read, and the kernel drops events.

use std::{fs, process::Command};

use inotify_trace_tests::{
    Agent, Backend, Process,
    agent::{binary, has},
    live_test,
    process::hex,
    system::{self, Setting},
    wait,
};
use serde_json::{Value, json};

const MOST: &str = "/proc/sys/fs/inotify/max_queued_events";

/// How many events an instance may have unread, in these tests.
pub(crate) const LIMIT: u32 = 40;

/// A process that does not read, the descriptor of its instance, and the directory it watches.
pub(crate) struct Sleeper {
    pub(crate) process: Process,
    fd: i32,
    directory: tempfile::TempDir,
    _most: Setting,
}

impl Sleeper {
    pub(crate) fn start() -> Self {
        // An instance keeps the limit that there was when it was made.
        let most = Setting::exactly(MOST, LIMIT);
        let directory = system::directory();
        let mut process = Process::start();
        let fd = process.call(&format!("init1 {}", libc::IN_NONBLOCK)).unwrap();
        let path = hex(directory.path().as_os_str().as_encoded_bytes());
        process.call(&format!("watch {fd} {path} {}", libc::IN_CREATE | libc::IN_DELETE)).unwrap();
        Self { process, fd, directory, _most: most }
    }

    /// Makes two events.
    pub(crate) fn change(&self) {
        let file = self.directory.path().join("file");
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
    }

    /// Makes as many events as there is room for.
    fn fill(&self) {
        (0..LIMIT / 2).for_each(|_| self.change());
    }

    /// The fields that its overflow has. The kernel queues one more event, which says so.
    fn overflow(&self) -> Value {
        json!({ "event": "overflow", "pid": self.process.pid, "fd": self.fd, "queued": LIMIT + 1,
            "queue_limit": LIMIT })
    }

    /// Reads all events, and returns whether the last says that others were dropped.
    fn read(&mut self) -> bool {
        let read = self.process.ask(&format!("drain {}", self.fd));
        read[1] == 1
    }
}

fn told(agent: &Agent, overflow: &Value) -> usize {
    agent.events().iter().filter(|event| has(event, overflow)).count()
}

#[live_test(each = backend)]
fn an_overflow_is_told_once_with_its_holder() {
    let _machine = system::the_machine();
    let mut sleeper = Sleeper::start();
    let agent = Agent::start();
    let overflow = sleeper.overflow();
    sleeper.fill();
    // A second instance fills up: its overflow is told later, and the first has none.
    let mut other = Sleeper::start();
    (0..=LIMIT).for_each(|_| other.change());
    agent.wait_for_event(&other.overflow());
    assert_eq!(told(&agent, &overflow), 0, "a full queue is none that overflowed");
    assert!(other.read(), "the kernel says so, too");
    (0..=LIMIT).for_each(|_| sleeper.change());
    agent.wait_for_event(&overflow);
    // Told again when the owner has read of it, and the queue overflows again. Where the agent looks at
    // queues from time to time, it has to meet both.
    let mut is_read = false;
    wait::until("it is told again", || {
        if is_read {
            (0..=LIMIT).for_each(|_| sleeper.change());
        } else {
            assert!(sleeper.read());
        }
        is_read = !is_read;
        told(&agent, &overflow) >= 2
    });
    if is_read {
        (0..=LIMIT).for_each(|_| sleeper.change());
    }
    let before = told(&agent, &overflow);
    let by = agent.backend();
    let run = agent.stop();
    let all: Vec<_> = run.events.iter().filter(|event| has(event, &overflow)).collect();
    assert!(all.len() <= before + 1, "not for each event that was dropped: {all:?}");
    let how = if by == Backend::Tracepoints { "found" } else { "seen" };
    assert!(all.iter().all(|event| event["how"] == how), "{all:?}");
    let recording = run.recording().unwrap();
    told_by(&leaks(&["--recording", recording.to_str().unwrap()]), &sleeper);
    let report = Command::new(binary()).arg("report").arg(recording).args(["-f", "text"]).output();
    let report = String::from_utf8(report.unwrap().stdout).unwrap();
    assert!(report.contains("whose queue was full: events were dropped"), "{report}");
}

#[live_test(each = kernel)]
fn an_overflow_from_before_the_start_is_found() {
    let _machine = system::the_machine();
    let mut sleeper = Sleeper::start();
    (0..=LIMIT).for_each(|_| sleeper.change());
    let agent = Agent::start();
    agent.wait_for_event(&sleeper.overflow());
    let run = agent.stop();
    let all: Vec<_> = run.events.iter().filter(|it| has(it, &sleeper.overflow())).collect();
    assert_eq!((all.len(), &all[0]["how"]), (1, &json!("found")));
    told_by(&leaks(&[]), &sleeper);
    let row = row_of(&sleeper);
    assert_eq!((&row["queued"], &row["overflowed"]), (&json!(LIMIT + 1), &json!(1)), "{row}");
    let list = Command::new(binary()).arg("list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().next().unwrap().contains("QUEUED"), "{list}");
    assert!(list.contains(&format!("{} of {LIMIT} events unread", LIMIT + 1)), "{list}");
    assert!(sleeper.read());
    // It has read of it: nothing shows now that there was an overflow.
    assert_eq!(row_of(&sleeper)["overflowed"], 0);
    let (found, code) = leaks(&[]);
    assert_eq!(found.iter().filter(|it| it["pid"] == sleeper.process.pid).count(), 0);
    assert_eq!(code, Some(0));
}

/// The process's row of the list.
fn row_of(sleeper: &Sleeper) -> Value {
    let list = Command::new(binary()).args(["list", "-o", "json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let rows = list["rows"].as_array().unwrap();
    rows.iter().find(|row| row["pid"] == sleeper.process.pid).unwrap().clone()
}

/// The verdicts of `leaks`, and its exit code.
fn leaks(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let out = Command::new(binary()).args(["leaks", "-o", "json"]).args(arguments).output();
    let out = out.unwrap();
    let lines = String::from_utf8(out.stdout).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), out.status.code())
}

/// Checks that there is a note on the sleeper's queue, which is no leak.
#[track_caller]
fn told_by((verdicts, code): &(Vec<Value>, Option<i32>), sleeper: &Sleeper) {
    let its: Vec<_> = verdicts.iter().filter(|it| it["pid"] == sleeper.process.pid).collect();
    let [note] = its[..] else { panic!("one note: {verdicts:?}") };
    let expected = json!({ "verdict": "queue-full", "leak": false, "instances": 1 });
    assert!(has(note, &expected), "{note}");
    assert_eq!(note["queued"], LIMIT + 1, "{note}");
    assert_eq!(*code, Some(0));
}
