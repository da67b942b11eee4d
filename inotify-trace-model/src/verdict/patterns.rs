//! Known bugs, as data.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{Evidence, Kind};
use crate::tracker::{Process, Tracker};

/// The known bugs, each with its source.
const FILE: &str = include_str!("patterns.json");

/// A known bug, and how to recognize it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// Command names of the processes that have it, as the kernel cuts them (15 bytes).
    pub comms: Vec<String>,
    /// The kind of verdict it leads to.
    kind: String,
    /// The name of the file that is watched, if it is always the same.
    file: Option<String>,
    /// Whether these processes keep an instance without a watch only because of this bug.
    #[serde(default)]
    leaves_empty: bool,
    /// What goes wrong, in a sentence.
    pub about: String,
    /// The versions that fix it, in words.
    pub fixed_in: Option<String>,
    /// The first fixed version of each series that has one.
    #[serde(default)]
    fixed: Vec<String>,
    /// The number of instances that each restart of a container leaves behind, if restarts do.
    pub(super) per_restart: Option<u32>,
    /// The remedy.
    pub remedy: String,
    /// Where to read about it.
    pub source: String,
}

impl Pattern {
    /// Whether a version has this bug; None if unknown.
    #[must_use]
    pub fn is_in(&self, version: &str) -> Option<bool> {
        let version = release(version)?;
        let fixed: Vec<_> = self.fixed.iter().filter_map(|it| release(it)).collect();
        // A series without a fix has the bug if it is older than the last series with one.
        let of_series = fixed.iter().find(|it| it[..2] == version[..2]);
        Some(version < *of_series.or_else(|| fixed.iter().max())?)
    }
}

/// The numbers of a release; None for a pre-release, since the fix may have come after it.
fn release(version: &str) -> Option<[u32; 3]> {
    if ["-alpha", "-beta", "-rc"].iter().any(|it| version.contains(it)) {
        return None;
    }
    let mut numbers = version.splitn(3, '.').map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse().ok()
    });
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// All known bugs.
#[must_use]
pub fn patterns() -> &'static [Pattern] {
    static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
        // The file is part of the program, and a test parses it.
        serde_json::from_str(FILE).unwrap_or_default()
    });
    &PATTERNS
}

/// The known bug that matches a verdict.
pub(super) fn find(
    tracker: &Tracker,
    kind: Kind,
    process: &Process,
    evidence: &[Evidence],
) -> Option<&'static Pattern> {
    let watches = |file: &str| {
        // A watch has a path if it was seen being added; a watch of the snapshot may lack one, and
        // matches.
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

/// Whether the kernel has removed the watches of an instance of this process that has none.
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

    #[test]
    fn a_version_has_the_bug_until_its_series_was_fixed() {
        let pattern = patterns().iter().find(|it| it.name == "containerd#5670").unwrap();
        for version in ["1.4.13", "1.4.13~ds1", "1.5.11", "1.5.9-k3s1", "1.2.0"] {
            assert_eq!(pattern.is_in(version), Some(true), "{version}");
        }
        for version in ["1.5.12", "1.5.18", "1.6.0", "1.6.20~ds1", "1.7.24", "2.0.1"] {
            assert_eq!(pattern.is_in(version), Some(false), "{version}");
        }
        for version in ["", "1.6", "1.6.0-rc.1", "main", "1.x.2"] {
            assert_eq!(pattern.is_in(version), None, "{version}");
        }
        let calico = patterns().iter().find(|it| it.fixed.is_empty()).unwrap();
        assert_eq!(calico.is_in("1.0.0"), None);
    }
}
