//! Reports: what happened in a recording, on one page.
//!
//! A [`Builder`] takes in a recording, in memory that does not grow with its length, and makes facts
//! of it: a [`Run`]. [`html`] and [`text`] show the same facts. Everything here is pure.

pub mod html;
mod summary;
pub mod text;
mod times;

pub use summary::{Builder, Charged, Charts, Failure, Leak, Levels, Refusal, Rows, Run, Severity};
pub use times::Times;

/// The number of newest runs that are shown in full; older runs have only a headline.
pub const FULL: usize = 20;

/// The facts of all runs.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs of the recorder, oldest first.
    pub runs: Vec<Run>,
    /// Files that could not be read at all, and the reasons.
    pub unreadable: Vec<String>,
}

impl Report {
    /// The run with the highest severity, the newest of several.
    #[must_use]
    pub fn worst(&self) -> Option<&Run> {
        self.runs.iter().max_by_key(|run| (run.severity, run.is_incomplete()))
    }

    /// The worst problem, in a few words. Whether something is missing comes first.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        let title = &self.worst()?.title;
        let is_incomplete = !self.unreadable.is_empty() || self.runs.iter().any(Run::is_incomplete);
        Some(if is_incomplete { format!("INCOMPLETE: {title}") } else { title.clone() })
    }

    /// Whether a run, counted from 0, is shown in full.
    #[must_use]
    pub fn is_full(&self, run: usize) -> bool {
        run + FULL >= self.runs.len()
    }
}
