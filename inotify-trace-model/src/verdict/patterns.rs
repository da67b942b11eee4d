//! Known bugs, as data.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{
    Evidence, Kind,
    conditions::{OfInstance, OfProcess},
};
use crate::tracker::{Instance, Process, Tracker};

/// The known bugs, each with its source.
const FILE: &str = include_str!("patterns.json");

/// A known bug, and how to recognize it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// The kinds of verdicts it leads to.
    kinds: Vec<String>,
    /// What the holder must be: one of these.
    process: Vec<OfProcess>,
    /// What most of its instances must be, each of them one of these; anything if there are none.
    #[serde(default)]
    pub(super) instances: Vec<OfInstance>,
    /// Whether it is several bugs, which only the version of the holder's program tells apart, and that
    /// is not known.
    #[serde(default)]
    version_unknown: bool,
    /// What goes wrong, in a sentence.
    pub about: String,
    /// The versions that fix it, in words.
    pub fixed_in: Option<String>,
    /// The first fixed version of each series that has one.
    #[serde(default)]
    fixed: Vec<String>,
    /// The number of instances that each restart of a container leaves behind, if restarts do.
    #[serde(default)]
    pub(super) per_restart: Option<u32>,
    /// The remedy.
    pub remedy: String,
    /// Where to read about it.
    pub source: String,
}

impl Pattern {
    fn is_of(&self, process: &Process, tracker: &Tracker) -> bool {
        self.process.iter().any(|it| it.are_met_by(process, tracker))
    }

    /// Whether at least four of five instances are so. Of the others, a program may have made some for
    /// another purpose.
    fn is_of_most(&self, evidence: &[Evidence], process: &Process, tracker: &Tracker) -> bool {
        let version = process.shim.as_ref().and_then(|shim| shim.version.as_deref());
        let has_it = version.and_then(|version| self.is_in(version));
        if self.version_unknown && has_it.is_some() {
            return false;
        }
        // Instances without a watch are all alike: only the version tells bugs apart.
        let may_be_emptied = self.version_unknown || has_it == Some(true);
        let instances = evidence.iter().filter_map(|it| tracker.instance(it.instance));
        let is_one = |instance: &&Instance| {
            let mut conditions = self.instances.iter().filter(|it| may_be_emptied || !it.emptied);
            conditions.any(|it| it.is_met_by(instance))
        };
        let fitting = instances.filter(is_one).count();
        self.instances.is_empty() || (5 * fitting >= 4 * evidence.len() && fitting > 0)
    }

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

/// The words that patterns look for among the arguments of a program. Other arguments are not
/// needed, and may be secrets.
pub fn known_arguments() -> impl Iterator<Item = &'static str> {
    let processes = patterns().iter().flat_map(|it| &it.process);
    processes.flat_map(|it| &it.argument).map(String::as_str)
}

/// The known bug that matches a verdict: the first of the file.
pub(super) fn find(
    tracker: &Tracker,
    kind: Kind,
    process: &Process,
    evidence: &[Evidence],
) -> Option<&'static Pattern> {
    find_by_name(tracker, kind.name(), process, evidence)
}

fn find_by_name(
    tracker: &Tracker,
    kind: &str,
    process: &Process,
    evidence: &[Evidence],
) -> Option<&'static Pattern> {
    patterns().iter().find(|pattern| {
        pattern.kinds.iter().any(|it| it == kind)
            && pattern.is_of(process, tracker)
            && pattern.is_of_most(evidence, process, tracker)
    })
}

/// Whether the kernel has removed the watches of an instance of this process that has none.
pub(super) fn leaves_empty(tracker: &Tracker, process: &Process) -> bool {
    let leaves_empty =
        |pattern: &Pattern| pattern.instances.iter().any(|instance| instance.emptied);
    patterns().iter().any(|pattern| leaves_empty(pattern) && pattern.is_of(process, tracker))
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod rows;

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 8] = [
        Kind::TargetGone,
        Kind::ContainerGone,
        Kind::Growing,
        Kind::WatchesGrowing,
        Kind::PilingUp,
        Kind::LimitNear,
        Kind::Alike,
        Kind::Idle,
    ];

    #[test]
    fn the_file_can_be_read_and_says_where_each_comes_from() {
        let all: Vec<Pattern> = serde_json::from_str(FILE).unwrap();
        assert!(!all.is_empty());
        for pattern in all {
            assert!(pattern.source.starts_with("https://"), "{}", pattern.name);
            let is_kind = |name: &String| KINDS.iter().any(|kind| kind.name() == name);
            assert!(pattern.kinds.iter().all(is_kind), "{}", pattern.name);
            assert!(!pattern.kinds.is_empty() && !pattern.process.is_empty(), "{}", pattern.name);
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
