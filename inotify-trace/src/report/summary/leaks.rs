//! Verdicts that were reached in the course of a run, and what became of them.

use std::collections::HashSet;

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Comm},
    tracker::Tracker,
    verdict::{Grace, Kind, Verdict, verdicts},
};

use crate::output::Findings;

/// How many are told.
const TOLD: usize = 200;

/// How many of the others are counted.
const COUNTED: usize = 10_000;

/// A verdict, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What is wrong.
    pub kind: Kind,
    /// Who holds the instances, how many, and what is wrong with them.
    pub line: String,
    /// What else there is to say: `since`, `for`, `known`, `do`.
    pub details: Vec<String>,
    /// When that was reached.
    pub reached: BootTime,
    /// When these words were true.
    pub said: BootTime,
    /// The process, as the kernel keeps its name.
    pub comm: String,
    /// What became of it, where that is not what the words say.
    pub afterwards: Option<String>,
    /// Whether what was wrong was right again at the end.
    pub is_over: bool,
    /// How many instances.
    pub count: usize,
}

impl Leak {
    /// What to do, if that is said.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.detail("do: ")
    }

    /// How fast it gets worse, if it does.
    #[must_use]
    pub fn pace(&self) -> Option<&str> {
        self.detail("pace: ")
    }

    fn detail(&self, label: &str) -> Option<&str> {
        self.details.iter().find_map(|line| line.strip_prefix(label))
    }
}

#[derive(Debug)]
pub(super) struct Leaks {
    findings: Findings,
    known: Vec<(Key, Leak)>,
    /// Verdicts there was no room for.
    pub(super) others: HashSet<Key>,
}

/// What a verdict is known by.
type Key = (Kind, u32, Comm);

impl Leaks {
    pub(super) fn new(clock: Clock) -> Self {
        Self { findings: Findings::new(clock), known: Vec::new(), others: HashSet::new() }
    }

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
                leak.afterwards =
                    Some(format!("It grew no more at the end, and held {held} instances then."));
                leak.is_over = held < leak.count;
            } else if leak.is_over {
                leak.afterwards = Some("That was over before the end.".to_owned());
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
            (!it.kind.is_leak(), it.is_over, std::cmp::Reverse(it.count), it.reached)
        });
    }

    pub(super) fn all(&self) -> Vec<Leak> {
        self.known.iter().map(|(_, leak)| leak.clone()).collect()
    }

    /// Takes in a verdict that was reached.
    pub(super) fn add(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) {
        let key = key(verdict, tracker);
        let text = self.findings.text(verdict, tracker, now);
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let line = lines.next().unwrap_or_default();
        // The label is for a terminal, where there are no headings.
        let line = line.split_once("  ").map_or(line.as_str(), |(_, line)| line).to_owned();
        let mut leak = Leak {
            kind: verdict.kind,
            line,
            details: lines.collect(),
            reached: now,
            said: now,
            comm: key.2.to_str().into_owned(),
            afterwards: None,
            is_over: false,
            count: verdict.evidence.len(),
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
