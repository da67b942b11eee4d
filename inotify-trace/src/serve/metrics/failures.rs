//! Failures by call and cause.

use inotify_trace_model::event::EventKind;

use crate::output::{Limit, failed_limit};

const CALLS: [&str; 2] = ["inotify_init", "inotify_add_watch"];

const CAUSES: [&str; 6] =
    ["instance_limit", "watch_limit", "rlimit_nofile", "file_max", "unknown_limit", "other"];

/// The number of failures of each call for each cause.
#[derive(Debug, Default)]
pub struct Failures([[u64; CAUSES.len()]; CALLS.len()]);

impl Failures {
    /// Counts a failure, and nothing else.
    pub fn add(&mut self, kind: &EventKind) {
        let call = match kind {
            EventKind::CreateFailed { .. } => 0,
            EventKind::WatchFailed { .. } => 1,
            _ => return,
        };
        let cause = match failed_limit(kind) {
            Some(Limit::InotifyInstances) => 0,
            Some(Limit::InotifyWatches) => 1,
            Some(Limit::RlimitNofile) => 2,
            Some(Limit::FileMax) => 3,
            Some(Limit::InstancesOrNofile | Limit::NotKnown) => 4,
            Some(Limit::Neither) | None => 5,
        };
        self.0[call][cause] += 1;
    }

    /// All of them, also those that have not happened.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<String>, f64)> + '_ {
        CALLS.iter().zip(&self.0).flat_map(|(call, counts)| {
            CAUSES.iter().zip(counts).map(|(cause, count)| {
                (vec![(*call).to_owned(), (*cause).to_owned()], *count as f64)
            })
        })
    }
}
