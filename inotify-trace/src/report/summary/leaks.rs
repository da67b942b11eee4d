//! Verdicts that were reached in the course of a run, and what became of them.

use std::collections::HashSet;

use inotify_trace_model::{
    event::{BootTime, Comm},
    findings::{Afterwards, Finding},
    tracker::Tracker,
    verdict::{Grace, Kind, Verdict, verdicts},
};

/// How many are told.
const TOLD: usize = 200;

/// How many of the others are counted.
const COUNTED: usize = 10_000;

/// A verdict, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// Who holds the instances, how many, and what is wrong with them.
    pub finding: Finding,
    /// When that was reached.
    pub reached: BootTime,
    /// When the finding was true.
    pub said: BootTime,
    /// The process, as the kernel keeps its name.
    pub comm: String,
    /// What became of it, where that is not what the finding says.
    pub afterwards: Option<Afterwards>,
    /// Whether what was wrong was right again at the end.
    pub is_over: bool,
}

impl Leak {
    /// Whether it is a leak, rather than something to know.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        self.finding.kind.is_leak()
    }
}

#[derive(Debug, Default)]
pub(super) struct Leaks {
    known: Vec<(Key, Leak)>,
    /// Verdicts there was no room for.
    pub(super) others: HashSet<Key>,
}

/// What a verdict is known by.
type Key = (Kind, u32, Comm);

impl Leaks {
    /// Brings up to date what is still so at the end.
    pub(super) fn finish(&mut self, tracker: &Tracker, now: BootTime) {
        let last = verdicts(tracker, now, &Grace::default());
        let still: HashSet<_> = last.iter().map(|verdict| key(verdict, tracker)).collect();
        for (key, leak) in &mut self.known {
            leak.is_over = !still.contains(key);
            let (kind, pid, comm) = *key;
            let process = tracker.process(pid).filter(|it| it.task.comm == comm);
            let held = process.map(|it| it.descriptors.values().collect::<HashSet<_>>().len());
            // Where a limit is reached, nothing grows any more, and nothing is right again.
            if let Some(held) = held.filter(|_| kind == Kind::Growing && leak.is_over) {
                leak.afterwards = Some(Afterwards::Stopped { held });
                leak.is_over = held < leak.finding.count;
            } else if leak.is_over {
                leak.afterwards = Some(Afterwards::Over);
            }
        }
        for verdict in &last {
            // One that nobody was told of was not reached in the run either.
            let key = key(verdict, tracker);
            if self.known.iter().any(|(known, _)| *known == key) {
                self.add(verdict, tracker, now);
            }
        }
        // What is a leak comes first, and of these what still is.
        self.known.sort_by_key(|(_, it)| {
            (!it.is_leak(), it.is_over, std::cmp::Reverse(it.finding.count), it.reached)
        });
    }

    pub(super) fn all(&self) -> Vec<Leak> {
        self.known.iter().map(|(_, leak)| leak.clone()).collect()
    }

    /// Takes in a verdict that was reached.
    pub(super) fn add(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) {
        let key = key(verdict, tracker);
        let mut leak = Leak {
            finding: Finding::of(verdict, tracker),
            reached: now,
            said: now,
            comm: key.2.to_str().into_owned(),
            afterwards: None,
            is_over: false,
        };
        if let Some((_, known)) = self.known.iter_mut().find(|(known, _)| *known == key) {
            leak.reached = known.reached;
            *known = leak;
        } else if self.known.len() < TOLD {
            self.known.push((key, leak));
        } else if self.others.len() < COUNTED {
            self.others.insert(key);
        }
    }
}

fn key(verdict: &Verdict, tracker: &Tracker) -> Key {
    let comm = tracker.process(verdict.pid).map(|it| it.task.comm).unwrap_or_default();
    (verdict.kind, verdict.pid, comm)
}
