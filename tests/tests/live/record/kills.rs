//! kill -9 at any moment.

use std::{
    collections::HashSet,
    fs, thread,
    time::{Duration, Instant},
};

use inotify_trace_tests::{live_test, system, system::boot_ns};

use super::{Witness, in_directory, record, replay};

/// After what time an event must be on disk.
const FLUSH: &str = "50ms";

/// Random numbers that are the same each time: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Several recorders at once, each into its own file: to attach takes longer than what is tested.
#[live_test]
fn whenever_it_is_killed_what_was_due_is_there() {
    let _machine = system::the_machine();
    // In milliseconds: how long until the last is killed, and until an event is due, which is
    // `FLUSH` and what a busy machine takes.
    let (rounds, at_once, longest, due) =
        if system::is_emulated() { (2, 2, 8000, 5000) } else { (20, 5, 900, 450) };
    let directory = system::directory();
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut due_and_there, mut cut_short) = (0, 0);
    for round in 0..rounds {
        let mut witness = Witness::start();
        let path = |number| in_directory(&directory, &format!("{round}-{number}.itrec"));
        let start = |number| record(&path(number), &["--flush", FLUSH]);
        let mut agents: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> =
                (0..at_once).map(|number| scope.spawn(move || start(number))).collect();
            starts.into_iter().map(|it| Some(it.join().unwrap())).collect()
        });
        let begun = Instant::now();
        let moments: Vec<_> =
            (0..at_once).map(|_| Duration::from_micros(random.below(longest * 1000))).collect();
        let mut killed = vec![0; at_once];
        while agents.iter().any(Option::is_some) {
            witness.step();
            for ((agent, moment), killed) in agents.iter_mut().zip(&moments).zip(&mut killed) {
                if begun.elapsed() >= *moment
                    && let Some(agent) = agent.take()
                {
                    *killed = boot_ns();
                    agent.signal(libc::SIGKILL);
                    // Waits for its end.
                    drop(agent);
                }
            }
            // Otherwise there is more to look through than to kill.
            thread::sleep(Duration::from_micros(200));
        }
        let mut missing_due = Vec::new();
        let mut told_by = vec![0; witness.deeds.len()];
        for (number, killed) in killed.into_iter().enumerate() {
            let path = path(number);
            let replayed = replay(&path, &["-e", "create,release", "-p", &witness.pid()]);
            let errors = &replayed.errors;
            if replayed.code != Some(0) {
                assert_eq!(replayed.code, Some(2), "{errors}");
                assert!(errors.contains("ends in the middle"), "{errors}");
                cut_short += 1;
            }
            let missing: HashSet<_> = witness.missing(&replayed.events).into_iter().collect();
            for (number, deed) in witness.deeds.iter().enumerate() {
                let is_due = deed.to + due * 1_000_000 < killed;
                if !missing.contains(&number) {
                    told_by[number] += 1;
                    due_and_there += usize::from(is_due);
                } else if is_due {
                    missing_due.push(number);
                }
            }
            fs::remove_file(path).unwrap();
        }
        // What the kernel hid from one, because it skipped a program, it hid from all.
        let (mut hidden, missing): (Vec<_>, Vec<_>) =
            missing_due.into_iter().partition(|number: &usize| told_by[*number] == 0);
        hidden.sort_unstable();
        let is_hidden_from_several = hidden.chunk_by(|a, b| a == b).all(|it| it.len() > 1);
        assert!(missing.is_empty(), "round {round}, killed after {moments:?}: {missing:?}");
        assert!(hidden.len() < 10 && is_hidden_from_several, "round {round}: {hidden:?}");
    }
    eprintln!("{due_and_there} events were due and there; {cut_short} files end in mid-frame");
    assert!(due_and_there > 0);
}
