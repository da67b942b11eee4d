//! State shared by all measurements of one run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask::step;
use xtask::workspace::which;

use crate::machine;
use crate::scratch::Scratch;

/// The program to measure, and the tools for it.
pub struct Bench {
    pub agent: PathBuf,
    pub bpftrace: Option<PathBuf>,
    /// For output: in memory, if possible, so that no disk is measured.
    pub scratch: PathBuf,
    quick: bool,
    /// The longest pause of a tracer that attaches without a message.
    pub settle: Duration,
    /// Disturbances that make figures worse than they are, each once.
    disturbances: RefCell<BTreeSet<String>>,
}

impl Bench {
    pub fn new(agent: &Path, scratch: &Scratch, quick: bool) -> Self {
        Self {
            agent: agent.to_owned(),
            bpftrace: which("bpftrace"),
            scratch: scratch.path().to_owned(),
            quick,
            settle: Duration::from_millis(400),
            disturbances: RefCell::default(),
        }
    }

    /// A choice between a full run and a quick one.
    pub fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Notes tracers that are not ours, before a round.
    pub fn look_for_tracers(&self) {
        self.disturbed(machine::other_tracers());
    }

    /// Prints a disturbance loudly, and keeps it for the report.
    pub fn disturbed(&self, by: Option<String>) {
        if let Some(by) = by
            && self.disturbances.borrow_mut().insert(by.clone())
        {
            step::say(&format!("WARNING: {by}; every figure may be worse for it"));
        }
    }

    /// Everything that was [`disturbed`](Self::disturbed) so far.
    pub fn disturbances(&self) -> BTreeSet<String> {
        self.disturbances.borrow().clone()
    }
}
