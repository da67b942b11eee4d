//! Thousands of damaged recordings: wherever something is missing, it is said, and what is whole is
//! not doubted.
//!
//! What is missing follows from the events that come out, compared with those that were recorded.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use inotify_trace::{
    feed::{Recordings, Until},
    output::Screen,
    recording::{Header, Recorder, Rotation, Store},
    report::{Builder, Report, html, text},
};
use inotify_trace_model::{
    event::{BootTime, Event, EventKind},
    feed::Batch,
    story::{Audience, Story},
    tracker::Tracker,
    verdict::Grace,
};
use inotify_trace_tests::wait;

/// Set for the long tests.
const LONG: &str = "INOTIFY_TRACE_SOAK";

/// How many mutations there are of a single file, and as many of a set: in all and by default.
const MUTATIONS: u64 = 5000;
const SOME: u64 = 1200;

/// Of so many mutations, one is shown to the program itself.
const PROGRAM: u64 = 500;

const EVENTS: u64 = 60;
const SECOND: u64 = 1_000_000_000;

/// A stream of numbers that is the same in each run.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    /// The two ends of a part.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length);
        (from, from + 1 + self.below((length - from).min(400)))
    }
}

/// Records an event a second, and returns the files. Each event has a frame of its own.
fn record(path: &Path, rotation: Rotation) -> Vec<(String, Vec<u8>)> {
    let started = BootTime(100 * SECOND);
    let header = Header { run: 7, host: "node".to_owned(), started, ..Header::default() };
    let store = Store::new(path, rotation).unwrap();
    let say = Box::new(|what: &str| panic!("{what}"));
    let mut recorder = Recorder::start(store, header, Duration::ZERO, say).unwrap();
    let mut tracker = Tracker::new();
    let mut time = started;
    for number in 1..=EVENTS {
        time = BootTime(time.0 + SECOND);
        // It changes no state: so files are as long as they are to be.
        let kind = EventKind::WatchFailed {
            instance: None,
            fd: i32::try_from(number).unwrap(),
            path: Some(format!("/made/up/number-{number}").into()),
            mask: 0,
            errno: 2,
            quota: None,
        };
        let event = Event { time, task: None, kind };
        tracker.apply(&event);
        recorder.record(Batch { time, judged: false, events: vec![event] }, &tracker);
        wait::until("it is written", || recorder.waiting() == 0);
    }
    recorder.finish(time).1.unwrap();
    let files = if path.is_dir() {
        fs::read_dir(path).unwrap().map(|it| it.unwrap().path()).collect()
    } else {
        vec![path.to_owned()]
    };
    let file = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    };
    let mut files: Vec<_> = files.into_iter().map(file).collect();
    files.sort();
    files
}

/// The numbers of the events.
#[derive(Default)]
struct Seen {
    numbers: Vec<u64>,
    ends: usize,
}

impl Audience for Seen {
    type Error = std::convert::Infallible;

    fn event(&mut self, event: &Event, _: &Tracker) -> Result<(), Self::Error> {
        if let EventKind::WatchFailed { fd, .. } = event.kind {
            self.numbers.push(fd.unsigned_abs().into());
        }
        Ok(())
    }

    fn closed(&mut self, _: &Tracker, _: BootTime) -> Result<(), Self::Error> {
        self.ends += 1;
        Ok(())
    }
}

/// What is said of recordings.
struct Said {
    /// The events that come out.
    numbers: Vec<u64>,
    /// How many files have an end.
    ends: usize,
    /// What cannot be read.
    problems: Vec<String>,
    /// Whether `nothing lost` is said.
    is_lossless: bool,
    text: String,
    page: String,
}

/// Reads recordings as all commands do.
fn read(paths: &[PathBuf]) -> Said {
    let Recordings { runs, problems } = Recordings::open(paths);
    let mut problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let mut report = Report { runs: Vec::new(), unreadable: problems.clone() };
    let mut is_lossless = !runs.is_empty();
    let mut seen = Seen::default();
    for mut run in runs {
        let mut story = Story::new(run.header().started, Grace::default());
        let mut both = (Builder::new(run.header()), seen);
        let Ok(()) = Until::end(&mut run).run(&mut story, &mut both, |_| {});
        let Ok(()) = story.end(&mut both);
        let own: Vec<_> = run.problems().iter().map(ToString::to_string).collect();
        is_lossless &= story.tracker().summary().lost.is_empty();
        report.runs.push(both.0.finish(story.tracker(), &own));
        problems.extend(own);
        seen = both.1;
    }
    let (text, page) = (text::render(&report, Screen::default()), html::render(&report));
    Said { numbers: seen.numbers, ends: seen.ends, problems, is_lossless, text, page }
}

/// Asks the program itself: whatever is missing has exit code 2, in every command.
fn ask_the_program(paths: &[PathBuf], expects_loss: bool, is_whole: bool, context: &str) {
    let commands: [&[&str]; 8] = [
        &["replay"],
        &["export", "--format", "csv"],
        &["export", "--format", "jsonl"],
        &["report", "--format", "text"],
        &["list", "--recording"],
        &["leaks", "--recording"],
        &["limits", "--recording"],
        &["why", "--recording"],
    ];
    for command in commands {
        let mut all = command.to_vec();
        for path in paths {
            if command.last() == Some(&"--recording") && all.len() > 2 {
                all.push("--recording");
            }
            all.push(path.to_str().unwrap());
        }
        let output = Command::new(env!("CARGO_BIN_EXE_inotify-trace")).args(&all).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let shown = String::from_utf8_lossy(&output.stdout);
        let expected = if expects_loss { 2 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{context}: {command:?}: {said}");
        if expects_loss {
            assert!(is_whole || !said.contains("nothing lost"), "{context}: {command:?}: {said}");
            assert!(!shown.contains("OK:"), "{context}: {command:?}: {shown}");
            assert!(said.contains("inotify-trace: "), "{context}: {command:?} says nothing");
        }
    }
}

/// What is expected of a mutation.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// Everything is there.
    Whole,
    /// Whatever does not come out must be told.
    AsSeen,
    /// The beginning may be missing, as if it had been rotated away.
    WithoutBeginning,
}

/// Checks what is said of recordings, in files of which `ends` have an end.
fn check(paths: &[PathBuf], expected: Expected, ends: usize, context: &str, asks: bool) {
    let said = read(paths);
    let all: Vec<_> = (1..=EVENTS).collect();
    let first = if expected == Expected::WithoutBeginning {
        said.numbers.first().map_or(0, |it| *it as usize - 1)
    } else {
        0
    };
    let is_whole = said.numbers == all[first..] && said.ends >= ends;
    let problems = &said.problems;
    if expected == Expected::Whole {
        assert!(is_whole, "{context}: {:?}", said.numbers);
        assert!(problems.is_empty() && said.is_lossless, "{context}: {problems:?}");
        assert!(said.text.contains("OK: node"), "{context}: {}", said.text);
    }
    // What is there comes once, and in order.
    assert!(said.numbers.is_sorted_by(|one, next| one < next), "{context}: {:?}", said.numbers);
    if !is_whole {
        assert!(!problems.is_empty(), "{context}: nothing is told of {:?}", said.numbers);
        assert!(!said.is_lossless, "{context}: `nothing lost` with {problems:?}");
    }
    if !problems.is_empty() {
        for ok in ["OK:", " OK ", "Lost: nothing", "No leak was found.\n"] {
            assert!(!said.text.contains(ok), "{context}: {ok:?} in {}", said.text);
        }
        assert!(!said.page.contains(">OK<"), "{context}");
        let is_told =
            |page: &str| page.contains("INCOMPLETE") || page.contains("nothing to report");
        assert!(is_told(&said.text) && is_told(&said.page), "{context}: {}", said.text);
    }
    if asks {
        ask_the_program(paths, !problems.is_empty(), is_whole, context);
    }
}

/// Damages a file in one way or another, and returns how.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) -> String {
    let (from, to) = random.range(bytes.len());
    match random.below(10) {
        0 => {
            let bit = random.below(8);
            bytes[from] ^= 1 << bit;
            format!("bit {from}.{bit}")
        }
        1 => {
            bytes[from..to].copy_from_slice(&random.bytes(to - from));
            format!("noise in {from}..{to}")
        }
        2 => {
            bytes[from..to].fill(0);
            format!("zeroes in {from}..{to}")
        }
        3 => {
            bytes.truncate(from);
            format!("cut at {from}")
        }
        4 => {
            bytes.drain(from..to);
            format!("without {from}..{to}")
        }
        5 => {
            let again = bytes[from..to].to_vec();
            bytes.splice(to..to, again);
            format!("{from}..{to} twice")
        }
        6 => {
            let noise = random.bytes(to - from);
            bytes.splice(from..from, noise);
            format!("noise before {from}")
        }
        choice => {
            // Whole frames, so that nothing looks broken.
            let frames = frames(bytes);
            let at = 1 + random.below(frames.len() - 1);
            let count = 1 + random.below((frames.len() - at).min(5));
            let (from, to) = (frames[at].0, frames[at + count - 1].1);
            let part = bytes[from..to].to_vec();
            match choice {
                7 => {
                    bytes.drain(from..to);
                    format!("without frames {at}..{}", at + count)
                }
                8 => {
                    bytes.splice(to..to, part);
                    format!("frames {at}..{} twice", at + count)
                }
                _ => {
                    bytes.drain(from..to);
                    let place = frames[1 + random.below(at)].0;
                    bytes.splice(place..place, part);
                    format!("frames {at}..{} at byte {place}", at + count)
                }
            }
        }
    }
}

/// Where the frames of a whole file begin and end.
fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut all, mut at) = (Vec::new(), 10);
    while let Some(length) = bytes.get(at + 4..at + 8) {
        let end = at + 16 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        if end > bytes.len() {
            break;
        }
        all.push((at, end));
        at = end;
    }
    all
}

fn mutations() -> u64 {
    if std::env::var_os(LONG).is_some() { MUTATIONS } else { SOME }
}

#[test]
fn whatever_happens_to_a_file_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.itrec");
    let (_, whole) = record(&path, Rotation::default()).remove(0);
    check(std::slice::from_ref(&path), Expected::Whole, 1, "whole", true);
    for seed in 1..=mutations() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = whole.clone();
        let mut how = damage(&mut bytes, &mut random);
        if random.below(4) == 0 && frames(&bytes).len() > 1 && bytes.len() > 400 {
            how = format!("{how}, {}", damage(&mut bytes, &mut random));
        }
        fs::write(&path, &bytes).unwrap();
        let asks = seed.is_multiple_of(PROGRAM);
        let expected = if bytes == whole { Expected::Whole } else { Expected::AsSeen };
        check(std::slice::from_ref(&path), expected, 1, &format!("{seed}: {how}"), asks);
    }
}

#[test]
fn whatever_happens_to_a_set_of_files_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let size = Some(500);
    let files = record(&made.join(""), Rotation { size, ..Rotation::default() });
    assert!((5..20).contains(&files.len()), "{} files", files.len());
    check(std::slice::from_ref(&made), Expected::Whole, files.len(), "whole", true);
    for seed in 1..=mutations() {
        let mut random = Random(seed.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mut set = files.clone();
        let mut how = Vec::new();
        let mut expected = Expected::Whole;
        for _ in 0..=random.below(2) {
            let at = random.below(set.len());
            match random.below(6) {
                0 => {
                    let (name, _) = set.remove(at);
                    how.push(format!("without {name}"));
                    expected = Expected::AsSeen;
                }
                1 => {
                    let copy = (format!("copy-{}", set[at].0), set[at].1.clone());
                    how.push(format!("{} twice", set[at].0));
                    set.push(copy);
                }
                2 => {
                    let name = format!("{}.itrec", random.below(1_000_000));
                    how.push(format!("{} as {name}", set[at].0));
                    set[at].0 = name;
                }
                3 => {
                    // As an editor or a shell would: no recording any more for a directory.
                    how.push(format!("{} as a backup", set[at].0));
                    set[at].0.push_str(".bak");
                    expected = Expected::AsSeen;
                }
                4 => {
                    let other = random.below(set.len());
                    how.push(format!("{} is {}", set[at].0, set[other].0));
                    if at != other {
                        expected = Expected::AsSeen;
                    }
                    set[at].1 = set[other].1.clone();
                }
                _ if set[at].1.len() > 400 => {
                    let said = damage(&mut set[at].1, &mut random);
                    how.push(format!("{}: {said}", set[at].0));
                    expected = Expected::AsSeen;
                }
                _ => {}
            }
            if set.is_empty() {
                break;
            }
        }
        let place = directory.path().join("set");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        for (name, bytes) in &set {
            fs::write(place.join(name), bytes).unwrap();
        }
        // The first files look as if they had been deleted to keep the newest, unless they are there.
        let has = |file: &[u8]| {
            set.iter()
                .any(|(name, bytes)| name.ends_with(".itrec") && bytes.starts_with(&file[..200]))
        };
        if expected == Expected::AsSeen && !has(&files[0].1) {
            expected = Expected::WithoutBeginning;
        }
        let context = format!("{seed}: {}", how.join(", "));
        let asks = seed.is_multiple_of(PROGRAM);
        check(std::slice::from_ref(&place), expected, 0, &context, asks);
    }
}
