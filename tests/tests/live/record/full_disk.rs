//! A file system that fills up and gets space again.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use inotify_trace_tests::{
    Agent, Listing,
    agent::EVERYTHING,
    live_test, system,
    wait::{self, Wait},
};
use serde_json::Value;

use super::{Witness, held, hidden, replay, told_of};

/// A tmpfs that is unmounted after the test.
struct Mounted {
    path: CString,
    directory: tempfile::TempDir,
}

impl Mounted {
    fn new(options: &str) -> Self {
        let directory = system::directory();
        let path = CString::new(directory.path().as_os_str().as_bytes()).unwrap();
        let (kind, options) = (c"tmpfs".as_ptr(), CString::new(options).unwrap());
        // SAFETY: strings that end with a zero and live until the call returns.
        let result = unsafe { libc::mount(kind, path.as_ptr(), kind, 0, options.as_ptr().cast()) };
        assert_eq!(result, 0, "mount: {}", std::io::Error::last_os_error());
        Self { path, directory }
    }

    fn join(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Fills the file system.
    fn fill(&self) -> PathBuf {
        let path = self.join("ballast");
        let mut file = File::create(&path).unwrap();
        loop {
            match file.write_all(&[7; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return path,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: a string that ends with a zero.
        unsafe { libc::umount2(self.path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Makes events until the agent's messages meet the condition.
fn act_until(witness: &mut Witness, agent: &Agent, is_so: impl Fn(&str) -> bool) {
    let wait = Wait::begin();
    while !is_so(&agent.errors()) {
        witness.step();
        wait.look_again(|| agent.errors());
    }
}

/// The events of a recording, without verdicts about the whole run.
fn everything(recording: &Path) -> Vec<Value> {
    let replayed = replay(recording, &["-e", EVERYTHING, "--no-verdicts"]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.errors);
    replayed.events
}

#[live_test]
fn a_full_disk_costs_what_happens_meanwhile_and_nothing_else() {
    let _machine = system::the_machine();
    let disk = Mounted::new("size=10m");
    let watched = system::directory();
    let file = disk.join("run.itrec");
    let name = file.to_str().unwrap();
    let mut witness = Witness::start();
    witness.hold(watched.path(), libc::IN_CREATE);
    let agent = Agent::with(&["-e", EVERYTHING, "--no-verdicts", "--record", name]);
    witness.deeds.clear();
    witness.hold(watched.path(), libc::IN_DELETE);
    witness.steps(50);
    wait::until("all of it is on disk", || {
        let told = told_of(&witness, &file);
        witness.missing(&told).len() <= hidden(&told)
    });
    let before = witness.deeds.len();

    let ballast = disk.fill();
    act_until(&mut witness, &agent, |said| said.contains("No space left"));
    let said = agent.errors();
    let line = said.lines().find(|line| line.contains("No space left")).unwrap();
    assert!(line.contains(name) && line.contains("recording stopped"), "{line}");
    // The file is a valid recording.
    let kept = told_of(&witness, &file);
    let missing = witness.missing(&kept).into_iter().filter(|number| *number < before);
    assert!(missing.count() <= hidden(&kept));
    witness.hold(watched.path(), libc::IN_MODIFY);
    witness.steps(50);
    fs::remove_file(ballast).unwrap();
    // The last page of the file may have had room for a state, which resumes and stops the
    // recording.
    let goes_on = |said: &str| {
        said.matches("recording goes on").count() == said.matches("recording stopped").count()
    };
    act_until(&mut witness, &agent, goes_on);
    let meanwhile = before..witness.deeds.len();
    witness.steps(50);
    let live = Listing::by("instance", &["--watches"]);
    let run = agent.stop();
    let told = told_of(&witness, &file);
    let (at_that_time, otherwise): (Vec<_>, Vec<_>) =
        witness.missing(&told).into_iter().partition(|number| meanwhile.contains(number));
    assert!(!at_that_time.is_empty(), "it was full, and nothing is missing");
    assert!(otherwise.len() <= hidden(&told), "{otherwise:?}, not of {meanwhile:?}");

    // Each line of the agent's output is in the recording, or counted as missing at its place.
    let recorded = everything(&file);
    let (mut live_lines, mut missing) = (run.events.iter(), 0);
    for line in &recorded {
        if line["event"] == "lost" && line["lost_what"] == "unrecorded" {
            let count = line["lost_count"].as_u64().unwrap();
            missing += count;
            (0..count).for_each(|_| assert!(live_lines.next().is_some(), "{line} is too many"));
        } else {
            assert_eq!(live_lines.next(), Some(line), "after {missing} missing");
        }
    }
    assert_eq!(live_lines.next(), None);
    for words in [
        format!("{missing} events could not be recorded"),
        format!("Recorded {} events in 1 file", run.events.len() as u64 - missing),
        format!("recording goes on; {missing} events are missing"),
    ] {
        assert!(run.errors.contains(&words), "no {words:?} in: {}", run.errors);
    }
    // The recording has all held instances: from before the full disk, during it, and the start.
    let known = Listing::recorded(&file, "instance", &["--watches"]);
    let held_now = held(&witness, &live);
    assert_eq!(held_now.len(), 3, "{held_now:?}");
    assert_eq!(held(&witness, &known), held_now);
}
