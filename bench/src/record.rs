//! The cost and the size of recordings, next to other programs that write the same events to disk;
//! and the speed of reading a recording.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xtask::apt;
use xtask::step;
use xtask::workspace::which;

use crate::context::Bench;
use crate::load::{self, Storm};
use crate::proc::Process;
use crate::stats::{Spread, cell, number, table};
use crate::sys;
use crate::told::{Format, Subject};
use crate::tracer::SAME_EVENTS;

/// The heading of the section.
pub const HEADING: &str = "## Recording";

/// Programs to compare with, and the packages they are in.
const PROGRAMS: [(&str, &str); 3] = [("perf", "linux-perf"), ("jq", "jq"), ("zcat", "gzip")];

/// The time in which a recorder must attach, and in which it must write its remaining events when
/// it ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two checks.
const LOOK: Duration = Duration::from_millis(5);

/// The events that perf writes: the same, and every close of every process, since it cannot know
/// which descriptors are inotify's.
const PERF_EVENTS: [&str; 3] = [
    "syscalls:sys_exit_inotify_init1",
    "syscalls:sys_enter_inotify_add_watch",
    "syscalls:sys_enter_close",
];

/// The programs that record events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recorder {
    Nobody,
    Ours,
    Perf,
    Bpftrace,
}

impl Recorder {
    const ALL: [Self; 4] = [Self::Nobody, Self::Ours, Self::Perf, Self::Bpftrace];

    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no recorder",
            Self::Ours => "inotify-trace record",
            Self::Perf => "perf record",
            Self::Bpftrace => "bpftrace, text",
        }
    }

    /// The command that writes to `file`; `None` for [`Self::Nobody`], or a missing program.
    fn command(self, bench: &Bench, file: &Path) -> Option<Command> {
        let mut command = match self {
            Self::Nobody => return None,
            Self::Ours => Command::new(&bench.agent),
            Self::Perf => Command::new(which("perf")?),
            Self::Bpftrace => Command::new(bench.bpftrace.as_ref()?),
        };
        match self {
            Self::Nobody => {}
            Self::Ours => drop(command.args(["record", "-o"]).arg(file)),
            Self::Perf => {
                // At its end perf looks up build ids, which events do not need.
                command.args(["record", "-q", "-a", "--no-buildid", "-o"]).arg(file);
                for event in PERF_EVENTS {
                    command.args(["-e", event]);
                }
            }
            Self::Bpftrace => drop(command.args(["-B", "full", "-o"]).arg(file)),
        }
        if self == Self::Bpftrace {
            command.args(["-e", SAME_EVENTS]);
        }
        Some(command)
    }

    /// How many events of a process are in `file`.
    fn count(self, bench: &Bench, file: &Path, pid: u32) -> Result<u64> {
        match self {
            Self::Nobody => Ok(0),
            Self::Ours => {
                let mut replay = Command::new(&bench.agent);
                replay.arg("replay").arg(file).args(["--no-verdicts", "-p", &pid.to_string()]);
                let subject = Subject::new(Format::Text, pid);
                count_lines(&mut replay, |line| subject.is_in(line))
            }
            Self::Perf => {
                let mut script = Command::new(which("perf").context("perf has gone")?);
                script.args(["script", "-F", "pid,event", "-i"]).arg(file);
                let pid = pid.to_string();
                count_lines(&mut script, |line| {
                    let mut words = line.split(u8::is_ascii_whitespace);
                    words.find(|word| !word.is_empty()) == Some(pid.as_bytes())
                })
            }
            Self::Bpftrace => {
                let file = File::open(file).context("cannot open what bpftrace wrote")?;
                let subject = Subject::new(Format::Bpftrace, pid);
                count_in(file, |line| subject.is_in(line))
            }
        }
    }
}

/// Counts lines of a program's output.
fn count_lines(command: &mut Command, wanted: impl Fn(&[u8]) -> bool) -> Result<u64> {
    let shown = step::shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let out = child.stdout.take().context("no output")?;
    let count = count_in(out, wanted)?;
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    ensure!(status.success(), "{shown} failed ({status})");
    Ok(count)
}

fn count_in(input: impl std::io::Read, wanted: impl Fn(&[u8]) -> bool) -> Result<u64> {
    let mut input = BufReader::with_capacity(1 << 20, input);
    let (mut count, mut line) = (0, Vec::new());
    while input.read_until(b'\n', &mut line).context("cannot read what was recorded")? > 0 {
        count += u64::from(wanted(&line));
        line.clear();
    }
    Ok(count)
}

/// One round with one recorder.
struct Round {
    rate: f64,
    truth: u64,
    recorded: u64,
    bytes: u64,
    cpu: f64,
}

/// Installs the tools to compare with; the report names those that are not available.
pub fn setup() {
    for (program, package) in PROGRAMS {
        if which(program).is_none()
            && let Err(error) = apt::install(&[package], "to compare recordings with")
        {
            step::say(&format!("{error:#}"));
        }
    }
}

/// Both storms, and reading.
pub fn measure(bench: &Bench) -> Result<String> {
    let mut text = format!(
        "{HEADING}\n\nThe loops of the storms above, with what happens written to a file in memory: \
         by `inotify-trace record`; by `perf record` of the system calls' tracepoints for all \
         processes, which is what one gets without a program of one's own; and by bpftrace as text. \
         *Recorded* are events of the loop that are found in the file afterwards. *CPU %* is what \
         the recorder's process used, in percent of one core over the time the loop ran.\n\n"
    );
    let millis = bench.pick(10_000, 1000);
    let with_watch = Storm { watch: Some("/tmp".to_owned()), millis, ..Storm::default() };
    let without = Storm { watch: None, millis: bench.pick(3000, 500), ..Storm::default() };
    for (title, storm, events) in
        [("Make, watch, close", &with_watch, 3), ("Make, close", &without, 2)]
    {
        step::say(&format!("recording: {title}"));
        let seconds = Duration::from_millis(storm.millis).as_secs_f64();
        text += &format!("### {title}, for {seconds:.1} s\n\n{}\n", storms(bench, storm, events)?);
    }
    text += &reading(bench)?;
    Ok(text)
}

fn storms(bench: &Bench, storm: &Storm, events: u64) -> Result<String> {
    let mut rounds: Vec<(Recorder, Vec<Round>)> = Vec::new();
    for _ in 0..bench.pick(3, 1) {
        bench.look_for_tracers();
        for recorder in Recorder::ALL {
            let Some(round) = round(bench, recorder, storm, events)? else { continue };
            match rounds.iter_mut().find(|(other, _)| *other == recorder) {
                Some((_, rounds)) => rounds.push(round),
                None => rounds.push((recorder, vec![round])),
            }
        }
    }
    let rows: Vec<_> = rounds.iter().map(|(recorder, rounds)| row(*recorder, rounds)).collect();
    let head =
        ["", "loops/s", "events", "recorded", "missing", "file, MB", "bytes an event", "CPU %"];
    Ok(table(&head, &rows))
}

fn row(recorder: Recorder, rounds: &[Round]) -> Vec<String> {
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
    let (truth, recorded, bytes) = (sum(|it| it.truth), sum(|it| it.recorded), sum(|it| it.bytes));
    let rate = Spread::of(rounds.iter().map(|round| round.rate));
    let mut row = vec![recorder.name().to_owned(), cell(rate, 0), number(truth as f64, 0)];
    if recorder != Recorder::Nobody {
        let missing = truth.saturating_sub(recorded);
        row.extend([
            number(recorded as f64, 0),
            format!("{:.1} %", missing as f64 / truth as f64 * 100.0),
            number(bytes as f64 / 1e6, 1),
            number(bytes as f64 / recorded.max(1) as f64, 1),
            cell(Spread::of(rounds.iter().map(|round| round.cpu)), 0),
        ]);
    }
    row.resize(8, String::new());
    row
}

/// None if the recorder is missing.
fn round(bench: &Bench, recorder: Recorder, storm: &Storm, events: u64) -> Result<Option<Round>> {
    let file = bench.scratch.join("recording");
    let mut round = Round { rate: 0.0, truth: 0, recorded: 0, bytes: 0, cpu: 0.0 };
    let running = match recorder.command(bench, &file) {
        Some(command) => Some(Running::start(bench, command)?),
        None if recorder == Recorder::Nobody => None,
        None => return Ok(None),
    };
    let done = load::storm(storm)?;
    (round.rate, round.truth) = (done.rate(), done.loops * events);
    if let Some(running) = running {
        let cpu_seconds = running.end().with_context(|| recorder.name().to_owned())?;
        round.cpu = cpu_seconds / done.seconds * 100.0;
        round.bytes = fs::metadata(&file).context("nothing was recorded")?.len();
        round.recorded = recorder.count(bench, &file, done.pid)?;
        fs::remove_file(&file).context("cannot remove the recording")?;
    }
    Ok(Some(round))
}

/// A recorder that is attached.
struct Running {
    child: Child,
    process: Process,
    cpu_before: f64,
    ended: bool,
}

impl Running {
    fn start(bench: &Bench, mut command: Command) -> Result<Self> {
        let shown = step::shown(&command);
        let messages = bench.scratch.join("messages");
        let errors = File::create(&messages).context("cannot write below the scratch directory")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let process = Process(child.id());
        let mut running = Self { child, process, cpu_before: 0.0, ended: false };
        let started = Instant::now();
        let (mut hooks, mut unchanged) = (0, started);
        loop {
            // Other recorders do not report that they have attached: wait until they add no more
            // hooks.
            let now = process.perf_events();
            if now != hooks {
                (hooks, unchanged) = (now, Instant::now());
            }
            let said = fs::read_to_string(&messages).unwrap_or_default();
            let is_quiet = hooks > 0 && unchanged.elapsed() > bench.settle;
            if said.contains("Tracing inotify") || is_quiet {
                break;
            }
            if running.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                bail!("{shown} did not attach; it said: {}", said.trim());
            }
            thread::sleep(LOOK);
        }
        running.cpu_before = process.cpu_seconds()?;
        Ok(running)
    }

    /// Lets the recorder catch up and ends it; returns the CPU seconds that it used.
    fn end(mut self) -> Result<f64> {
        thread::sleep(Duration::from_millis(200));
        sys::interrupt(self.process.0).context("cannot interrupt the recorder")?;
        let started = Instant::now();
        while !self.process.has_ended()? {
            ensure!(started.elapsed() < PATIENCE, "a recorder did not end");
            thread::sleep(LOOK);
        }
        let seconds = self.process.cpu_seconds()? - self.cpu_before;
        self.child.wait().context("cannot wait for the recorder")?;
        self.ended = true;
        Ok(seconds)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an error no recorder may stay attached. One that has ended already is fine.
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The speed of reading a recording, next to the usual way to read lines of JSON.
fn reading(bench: &Bench) -> Result<String> {
    step::say("recording: reading");
    let file = bench.scratch.join("to-read.itrec");
    let mut command = Command::new(&bench.agent);
    command.args(["record", "-o"]).arg(&file);
    let running = Running::start(bench, command)?;
    load::storm(&Storm { millis: bench.pick(2000, 300), ..Storm::default() })?;
    running.end()?;
    let agent = bench.agent.display().to_string();
    let (recording, lines) = (file.display().to_string(), lines(&file));
    shell(&format!("{agent} replay {recording} -o json 2>/dev/null | gzip > {}", lines.display()))?;
    let mut all = Command::new(&bench.agent);
    all.arg("replay").arg(&file).args(["-o", "json"]);
    let events = count_lines(&mut all, |_| true)? as f64;
    let mut ways = vec![
        ("`inotify-trace list --recording`", format!("{agent} list --recording {recording}")),
        ("`inotify-trace replay -x`", format!("{agent} replay {recording} -x")),
        ("`inotify-trace replay`", format!("{agent} replay {recording}")),
        ("`inotify-trace replay -o json`", format!("{agent} replay {recording} -o json")),
    ];
    if which("jq").is_some() {
        let lines = lines.display();
        ways.push(("`zcat` of the JSON lines", format!("zcat {lines}")));
        ways.push(("`zcat` and `jq .event`", format!("zcat {lines} | jq -c .event")));
    }
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..bench.pick(5, 1) {
        for (way, times) in ways.iter().zip(&mut times) {
            let started = Instant::now();
            shell(&format!("{} > /dev/null 2>&1", way.1))?;
            times.push(events / started.elapsed().as_secs_f64() / 1e6);
        }
    }
    let rows: Vec<_> = ways
        .iter()
        .zip(times)
        .map(|((name, _), times)| vec![(*name).to_owned(), cell(Spread::of(times), 2)])
        .collect();
    let size = |path: &Path| fs::metadata(path).map_or(f64::NAN, |it| it.len() as f64);
    let (own, gzipped) = (size(&file), size(&lines));
    Ok(format!(
        "### Reading\n\nA recording of {} events, {} MB; as lines of JSON in gzip {} MB, {} times as \
         much. Millions of events a second, from the start of a program to its end, output to \
         `/dev/null`; in turns.\n\n{}",
        number(events, 0),
        number(own / 1e6, 1),
        number(gzipped / 1e6, 1),
        number(gzipped / own, 1),
        table(&["", "million events/s"], &rows)
    ))
}

fn lines(recording: &Path) -> PathBuf {
    recording.with_extension("jsonl.gz")
}

fn shell(script: &str) -> Result<()> {
    step::output_of(Command::new("sh").args(["-c", script])).map(drop)
}
