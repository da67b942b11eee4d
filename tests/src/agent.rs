//! The agent under test.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    backend::Backend,
    keep::{Files, Log, Recording},
    system,
    wait::Wait,
    world::World,
};
use serde_json::Value;

/// All events, so that the tests check all output of an agent.
pub const EVERYTHING: &str = "found,watch-found,create,create-failed,watch,watch-failed,unwatch,close,held,\
     release,overflow,range-close,fork,exec,exit,charged,program,cgroup-found,cgroup-create,cgroup-rename,cgroup-remove,lost";

/// All events as JSON.
const ALL: [&str; 4] = ["-o", "json", "-e", EVERYTHING];

/// A running agent and its output.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    heard: Arc<Heard>,
    out: Option<JoinHandle<()>>,
    err: Option<JoinHandle<()>>,
    /// The recording, if the output is JSON with every event: it is compared with the summary and
    /// with a replay.
    recording: Option<Recording>,
    backend: Backend,
}

/// The output of an agent so far.
#[derive(Debug, Default)]
struct Heard {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<Value>,
    /// How many of the lines tell of runs that the kernel skipped.
    skipped: usize,
    errors: String,
    ended: bool,
}

/// The complete output of an agent.
#[derive(Debug)]
pub struct Run {
    /// JSON lines without the summary, or lines of text as strings.
    pub events: Vec<Value>,
    /// The lines about runs of programs that the kernel skipped. They are no events of a test's: they
    /// may concern any process of the machine, and come at any time.
    pub skipped: Vec<Value>,
    /// The summary of JSON output.
    pub summary: Value,
    /// Standard error.
    pub errors: String,
    /// The exit status.
    pub status: ExitStatus,
    recording: Option<Recording>,
}

impl Run {
    /// The path of the recording, if there is one.
    #[must_use]
    pub fn recording(&self) -> Option<PathBuf> {
        self.recording.as_ref().map(|it| it.file().to_path_buf())
    }
}

/// The path of the agent's binary.
#[must_use]
pub fn binary() -> PathBuf {
    let places = system::beside_test();
    // The release binary, which users run, comes first.
    let release = places.last().map(|debug| debug.join("../release"));
    let candidates: Vec<_> =
        release.iter().chain(&places).map(|place| place.join("inotify-trace")).collect();
    system::binary("INOTIFY_TRACE_BIN", &candidates)
}

impl Agent {
    /// Starts an agent that reports every event as JSON, and waits until it traces. The replay of
    /// its recording must report the same events.
    #[must_use]
    pub fn start() -> Self {
        let files = Files::next();
        let recording = files.recording();
        let record = ["--record", recording.file().to_str().expect("a path without oddities")];
        let mut agent = Self::spawn(&[&ALL[..], &record].concat(), parsed, &files);
        agent.recording = Some(recording);
        agent
    }

    /// Starts an agent that writes JSON, and waits until it traces.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self::spawn(&[&["-o", "json"], arguments].concat(), parsed, &Files::next())
    }

    /// Starts an agent whose lines are kept as text, which is quick, and waits until it traces.
    #[must_use]
    pub fn unparsed(arguments: &[&str]) -> Self {
        Self::spawn(arguments, Value::String, &Files::next())
    }

    fn spawn(arguments: &[&str], keep: fn(String) -> Value, files: &Files) -> Self {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .args(std::env::var("INOTIFY_TRACE_BACKEND").map(|name| format!("--backend={name}")))
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the agent must start");
        let heard = Arc::new(Heard::default());
        let out = child.stdout.take().map(|out| listen(&heard, out, keep, files.output()));
        let err = child.stderr.take().map(|err| {
            let log = files.errors(&command);
            listen_to_errors(&heard, err, log)
        });
        let backend = Backend::Tracepoints;
        let mut agent = Self { child, heard, out, err, recording: None, backend };
        agent.wait_until("it says that it traces", |said| greeting(said).is_some());
        agent.backend = greeting(&agent.heard.lock()).map_or(backend, Backend::of_greeting);
        agent
    }

    /// The backend of the agent.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the kernel follows only some calls at once to their ends (maxactive of kretprobes).
    #[must_use]
    pub fn has_kprobes(&self) -> bool {
        greeting(&self.heard.lock()).is_some_and(|it| it.contains("(kprobe backend)"))
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a condition holds for the events so far.
    ///
    /// # Panics
    /// If the condition does not hold in time.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&[Value]) -> bool) {
        self.wait_until(what, |said| condition(&said.events()));
    }

    /// Waits for an event with these fields.
    pub fn wait_for_event(&self, fields: &Value) {
        self.wait_for(&fields.to_string(), |events| events.iter().any(|it| has(it, fields)));
    }

    /// Standard error so far.
    #[must_use]
    pub fn errors(&self) -> String {
        self.heard.lock().errors.clone()
    }

    /// Waits for a descriptor's close with these fields, if this agent sees closes.
    pub fn wait_for_close(&self, mut fields: Value) {
        if self.backend == Backend::Tracepoints {
            fields["event"] = "close".into();
            self.wait_for_event(&fields);
        }
    }

    /// Waits for all events that `world` expects, and checks them.
    pub fn expect(&self, world: &World) {
        let enough =
            |said: &Said| world.count_of(&said.lines) >= world.expected_count(self.backend);
        let in_time = self.wait(enough);
        let said = self.heard.lock();
        if let Err(difference) = world.compare(&said.lines, self.backend) {
            let late = if in_time { "" } else { " (in time)" };
            panic!("not as expected{late}: {difference}\n{}", said.errors);
        }
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.heard.lock().events().into_owned()
    }

    /// The lines so far about runs of programs that the kernel skipped.
    #[must_use]
    pub fn skipped(&self) -> Vec<Value> {
        self.heard.lock().lines.iter().filter(|line| is_skipped(line)).cloned().collect()
    }

    /// Stops the agent as Ctrl-C does.
    #[must_use]
    pub fn stop(self) -> Run {
        self.stop_with(libc::SIGINT)
    }

    /// Stops the agent, and checks that its events about `world` are complete and correct.
    #[must_use]
    pub fn finish(self, world: &World) -> Run {
        self.expect(world);
        let backend = self.backend;
        let run = self.stop();
        if let Err(difference) = world.compare(&run.events, backend) {
            panic!("not as expected at the end: {difference}");
        }
        run
    }

    /// Stops the agent with a signal.
    #[must_use]
    pub fn stop_with(self, signal: i32) -> Run {
        self.signal(signal);
        self.join()
    }

    /// Sends the agent a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its process id is valid.
        let result = unsafe { libc::kill(self.child.id().cast_signed(), signal) };
        assert_eq!(result, 0, "kill: {}", std::io::Error::last_os_error());
    }

    /// Waits until the agent exits by itself.
    #[must_use]
    pub fn join(mut self) -> Run {
        let in_time = self.wait(|said| said.ended);
        assert!(in_time, "it does not end");
        for thread in [self.out.take(), self.err.take()].into_iter().flatten() {
            thread.join().expect("a listener must not panic");
        }
        let status = self.child.wait().expect("the agent is ours");
        let mut said = self.heard.lock();
        let errors = std::mem::take(&mut said.errors);
        // Exit code 1 is a result: the agent found a leak. Errors are 2.
        let is_well = matches!(status.code(), Some(0 | 1));
        assert!(is_well, "{status} {:?}: {errors}", status.signal());
        let mut events = std::mem::take(&mut said.lines);
        drop(said);
        let is_summary = events.last().is_some_and(|last| last["event"] == "summary");
        let summary = if is_summary { events.pop() } else { None }.unwrap_or(Value::Null);
        if let Some(recording) = &self.recording {
            check_summary(&events, &summary);
            check_replay(recording.file(), &events, &summary);
        }
        let skipped = events.extract_if(.., |line| is_skipped(line)).collect();
        let recording = self.recording.take();
        Run { events, skipped, summary, errors, status, recording }
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Said) -> bool) {
        if !self.wait(condition) {
            let said = self.heard.lock();
            let last: Vec<_> = said.lines.iter().rev().take(20).map(Value::to_string).collect();
            panic!(
                "waited in vain until {what}; last lines:\n{}\n{}",
                last.join("\n"),
                said.errors
            );
        }
    }

    fn wait(&self, condition: impl Fn(&Said) -> bool) -> bool {
        let wait = Wait::begin();
        let mut said = self.heard.lock();
        loop {
            let (started, ended) = (Instant::now(), said.ended);
            if condition(&said) {
                return true;
            }
            let left = wait.left();
            if left.is_zero() || ended {
                return false;
            }
            // The polling interval, which does not affect the result: a condition that reads 100
            // 000 lines must not run once for each of them.
            let pause = (10 * started.elapsed()).min(left);
            if pause > Duration::from_millis(1) {
                drop(said);
                std::thread::sleep(pause);
                said = self.heard.lock();
            } else {
                let waited = self.heard.more.wait_timeout(said, left);
                said = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // `join` has ended the process already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// All lines but those about skipped runs, of which there are hardly ever any.
    fn events(&self) -> Cow<'_, [Value]> {
        match self.skipped {
            0 => Cow::Borrowed(&self.lines),
            _ => self.lines.iter().filter(|line| !is_skipped(line)).cloned().collect(),
        }
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.lock());
        self.more.notify_all();
    }
}

/// A line that is not JSON stays text, which no check takes for an event.
fn parsed(line: String) -> Value {
    serde_json::from_str(&line).unwrap_or(Value::String(line))
}

/// Whether a line tells of runs of programs that the kernel skipped.
fn is_skipped(line: &Value) -> bool {
    match line.as_str() {
        Some(text) => {
            text.contains(r#""lost_what":"runs""#) || text.contains("runs of kernel programs")
        }
        None => line["lost_what"] == "runs",
    }
}

/// The agent's message that tracing has started.
fn greeting(said: &Said) -> Option<&str> {
    said.errors.lines().find(|line| line.starts_with("Tracing inotify"))
}

fn listen(
    heard: &Arc<Heard>,
    out: ChildStdout,
    keep: fn(String) -> Value,
    mut log: Log,
) -> JoinHandle<()> {
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for line in BufReader::with_capacity(1 << 20, out).lines().map_while(Result::ok) {
            log.line(&line);
            let line = keep(line);
            heard.add(|said| {
                said.skipped += usize::from(is_skipped(&line));
                said.lines.push(line);
            });
        }
        heard.add(|said| said.ended = true);
    })
}

fn listen_to_errors(
    heard: &Arc<Heard>,
    err: impl Read + Send + 'static,
    mut log: Log,
) -> JoinHandle<()> {
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for line in BufReader::new(err).lines().map_while(Result::ok) {
            log.line(&line);
            heard.add(|said| said.errors = format!("{}{line}\n", said.errors));
        }
    })
}

/// Whether an event has all of these fields.
#[must_use]
pub fn has(event: &Value, fields: &Value) -> bool {
    let fields = fields.as_object().expect("an object of fields");
    fields.iter().all(|(name, value)| event.get(name) == Some(value))
}

/// A replay must print the same as the agent.
fn check_replay(recording: &Path, events: &[Value], summary: &Value) {
    let replay = Command::new(binary()).arg("replay").arg(recording).args(ALL).output();
    let replay = replay.expect("the agent must start");
    let errors = String::from_utf8_lossy(&replay.stderr);
    assert!(replay.status.success(), "replay: {}: {errors}", replay.status);
    let told = String::from_utf8(replay.stdout).expect("JSON is UTF-8");
    let told: Vec<_> = told.lines().map(|line| parsed(line.to_owned())).collect();
    let live = events.iter().chain([summary]);
    for (number, (told, live)) in told.iter().zip(live).enumerate() {
        assert_eq!(told, live, "line {number} of the replay differs from that of the run");
    }
    assert_eq!(told.len(), events.len() + 1, "lines of the replay");
}

/// The summary must agree with the lines: the counts of events, and of open instances.
fn check_summary(events: &[Value], summary: &Value) {
    let (mut counts, mut open) = (BTreeMap::new(), HashSet::new());
    let mut ended = HashSet::new();
    for event in events {
        let name = event["event"].as_str().expect("every line has an event");
        if name != "lost" {
            *counts.entry(name).or_insert(0_u64) += 1;
        }
        let Some(instance) = event["instance"].as_u64() else { continue };
        assert!(!ended.contains(&instance), "told of after its end: {event}");
        match name {
            "create" => assert!(open.insert(instance), "made twice: {event}"),
            "found" => _ = open.insert(instance),
            "release" => {
                assert!(open.remove(&instance), "ended unknown: {event}");
                ended.insert(instance);
            }
            _ => assert!(open.contains(&instance), "unknown instance: {event}"),
        }
    }
    assert_eq!(summary["events"], serde_json::json!(counts), "counts of the summary");
    assert_eq!(summary["open"], open.len(), "open instances of the summary: {open:?}");
}
