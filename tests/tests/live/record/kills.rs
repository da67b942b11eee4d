//! SIGKILL at any moment.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{Agent, live_test, system, wait::Wait};

use super::{Replayed, Witness, in_directory, record, replay};

/// A deterministic random number generator: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A recorder that the test will kill.
struct Doomed {
    /// None once it is killed.
    agent: Option<Agent>,
    path: PathBuf,
    /// The time of the kill, from the first one's start.
    moment: Duration,
    /// The content of the file right before the kill.
    before: Vec<u8>,
}

impl Doomed {
    /// Whether the time of the kill has come.
    fn is_due(&self, since: Instant) -> bool {
        self.agent.is_some() && since.elapsed() >= self.moment
    }

    /// Whether the file has events yet.
    fn tells(&self, witness: &Witness) -> bool {
        let copy = self.path.with_extension("now");
        fs::copy(&self.path, &copy).unwrap();
        !told(witness, &copy).0.is_empty()
    }

    fn kill(&mut self) {
        if let Some(agent) = self.agent.take() {
            self.before = fs::read(&self.path).unwrap();
            agent.signal(libc::SIGKILL);
            // Waits for the exit.
            drop(agent);
        }
    }

    /// The numbers of the deeds in the file, and whether the file ends in mid-frame.
    fn told(&self, witness: &Witness) -> (BTreeSet<usize>, bool) {
        let (told, is_cut_short) = told(witness, &self.path);
        let after = fs::read(&self.path).unwrap();
        assert!(after.starts_with(&self.before), "what was on disk is there, and as it was");
        let copy = self.path.with_extension("before");
        fs::write(&copy, &self.before).unwrap();
        let missing: Vec<_> = self::told(witness, &copy).0.difference(&told).copied().collect();
        assert!(missing.is_empty(), "on disk before it was killed: {missing:?}");
        (told, is_cut_short)
    }
}

fn told(witness: &Witness, path: &Path) -> (BTreeSet<usize>, bool) {
    let Replayed { events, errors, code } =
        replay(path, &["-e", "create,release", "-p", &witness.pid()]);
    assert_eq!(code, Some(2), "{errors}");
    let is_cut_short = errors.contains("ends in the middle");
    assert!(is_cut_short || errors.contains("the end is missing"), "{errors}");
    let missing: BTreeSet<_> = witness.missing(&events).into_iter().collect();
    ((0..witness.deeds.len()).filter(|it| !missing.contains(it)).collect(), is_cut_short)
}

/// Runs several recorders at once, each with its own file, because attaching takes most of the
/// time.
#[live_test]
fn whenever_it_is_killed_all_is_there_up_to_some_moment() {
    let _machine = system::the_machine();
    // The time until the last kill, in milliseconds.
    let (rounds, at_once, longest) = match (system::is_emulated(), system::soak()) {
        (true, _) => (2, 2, 8000),
        (false, None) => (6, 5, 900),
        (false, Some(_)) => (20, 5, 900),
    };
    let directory = system::directory();
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut there, mut cut_short) = (0, 0);
    for round in 0..rounds {
        let mut witness = Witness::start();
        let path = |number| in_directory(&directory, &format!("{round}-{number}.itrec"));
        let start = |number| record(&path(number), &["--flush", "50ms"]);
        let agents: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> =
                (0..at_once).map(|number| scope.spawn(move || start(number))).collect();
            starts.into_iter().map(|it| Some(it.join().unwrap())).collect()
        });
        let mut doomed: Vec<_> = (0..at_once)
            .zip(agents)
            .map(|(number, agent)| {
                // Any moment is a valid test. No event must be on disk by then.
                let moment = Duration::from_micros(random.below(longest * 1000));
                Doomed { agent, path: path(number), moment, before: Vec::new() }
            })
            .collect();
        // The last one runs until an event is on disk, however long that takes.
        let last = (0..at_once).max_by_key(|&number| doomed[number].moment).unwrap();
        let (begun, wait) = (Instant::now(), Wait::begin());
        while doomed.iter().any(|it| it.agent.is_some()) {
            witness.step();
            for (number, it) in doomed.iter_mut().enumerate() {
                if it.is_due(begun) && (number != last || it.tells(&witness)) {
                    it.kill();
                }
            }
            // Limits the number of events to read afterwards.
            wait.look_again(|| "nothing is on disk".to_owned());
        }
        let all: Vec<_> = doomed.iter().map(|it| it.told(&witness)).collect();
        let known: BTreeSet<_> = all.iter().flat_map(|(told, _)| told).copied().collect();
        // If the kernel skipped a program for one recorder, it did so for all.
        let hidden: Vec<_> = (0..known.last().map_or(0, |it| it + 1))
            .filter(|number| !known.contains(number))
            .collect();
        assert!(hidden.len() < 10, "round {round}: {hidden:?}");
        for (told, is_cut_short) in &all {
            let end = told.last().map_or(0, |it| it + 1);
            let missing: Vec<_> = (0..end)
                .filter(|number| known.contains(number) && !told.contains(number))
                .collect();
            assert!(missing.is_empty(), "round {round}: {missing:?} of {end}");
            there += told.len();
            cut_short += usize::from(*is_cut_short);
        }
        doomed.iter().for_each(|it| fs::remove_file(&it.path).unwrap());
    }
    eprintln!("{there} events were there; {cut_short} files end in mid-frame");
    assert!(there > 0);
}
