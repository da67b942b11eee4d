//! Leaks that are known by name: data, not code.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Evidence, Kind};
use crate::tracker::{Process, Tracker};

/// The file with them; each says where it comes from.
const FILE: &str = include_str!("patterns.json");

/// A known bug, and what it looks like.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What it is known as.
    pub name: String,
    /// Command names of the processes that have it, as the kernel cuts them (15 bytes).
    pub comms: Vec<String>,
    /// The kind of verdict it leads to.
    kind: String,
    /// The name of the file that is watched, if it is always the same.
    file: Option<String>,
    /// Whether these processes never keep an instance without a watch otherwise.
    #[serde(default)]
    leaves_empty: bool,
    /// What goes wrong, in a sentence.
    pub about: String,
    /// Where it is fixed.
    pub fixed_in: Option<String>,
    /// What to do.
    pub remedy: String,
    /// Where to read about it.
    pub source: String,
}

/// All that are known.
#[must_use]
pub fn patterns() -> &'static [Pattern] {
    static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
        // It is part of the program, and a test reads it.
        serde_json::from_str(FILE).unwrap_or_default()
    });
    &PATTERNS
}

/// The known bug that a verdict looks like.
pub(super) fn find(
    tracker: &Tracker,
    kind: Kind,
    process: &Process,
    evidence: &[Evidence],
) -> Option<&'static Pattern> {
    let watches = |file: &str| {
        // A path is known of what was seen being watched; of what was found, nothing speaks
        // against it.
        let instances = evidence.iter().filter_map(|it| tracker.instance(it.instance));
        let mut paths = instances
            .flat_map(|it| it.watches().values())
            .filter_map(|watch| watch.target.path.as_deref());
        paths.all(|path| path.rsplit('/').next() == Some(file))
    };
    patterns().iter().find(|pattern| {
        pattern.kind == kind.name()
            && is_of(pattern, process)
            && pattern.file.as_deref().is_none_or(watches)
    })
}

/// Whether an instance of this process that has no watch was emptied by the kernel.
pub(super) fn leaves_empty(process: &Process) -> bool {
    patterns().iter().any(|pattern| pattern.leaves_empty && is_of(pattern, process))
}

fn is_of(pattern: &Pattern, process: &Process) -> bool {
    let comm = process.task.comm.to_str();
    pattern.comms.iter().any(|it| *it == comm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read_and_says_where_each_comes_from() {
        let all: Vec<Pattern> = serde_json::from_str(FILE).unwrap();
        assert!(!all.is_empty());
        for pattern in all {
            assert!(pattern.source.starts_with("https://"), "{}", pattern.name);
            assert!(pattern.comms.iter().all(|comm| comm.len() <= 15), "{}", pattern.name);
            let kinds = [Kind::TargetGone, Kind::ContainerGone, Kind::Growing, Kind::Idle];
            assert!(kinds.iter().any(|kind| kind.name() == pattern.kind), "{}", pattern.name);
        }
    }
}
