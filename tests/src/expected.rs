//! The expected events of a correct agent, compared with its output.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Matches any value: the agent cannot know it, or may omit it.
pub const ANY: &str = "*";

/// Fields that differ from run to run and are checked separately.
const MEASURED: [&str; 4] = ["time", "boot_ns", "instance", "lived_ns"];

/// One event.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its fields, except the measured ones.
    pub fields: Map<String, Value>,
    /// The instance of the event, by the test's own number.
    pub instance: Option<usize>,
    /// Whether the event must come after all earlier expected events and before all later ones. The
    /// end of an instance without a close(2) may be reported later.
    pub ordered: bool,
    /// The earliest and the latest time of the event.
    pub time: (u64, u64),
    /// The bounds of the instance's lifetime, if its creation was traced.
    pub lived: Option<(u64, u64)>,
    /// The bounds of the charge, if the agent read it at a time the test does not know.
    pub used: Option<(u32, u32)>,
    /// For the end of an instance: the fields that an agent reports if it sees the end happen.
    pub end: Option<End>,
}

/// The expected end of an instance.
#[derive(Clone, Debug)]
pub struct End {
    /// The process that released the instance last.
    pub by: Map<String, Value>,
    /// The earliest and the latest time of the end.
    pub time: (u64, u64),
    /// The bounds of the instance's lifetime, if its creation was traced.
    pub lived: Option<(u64, u64)>,
}

/// Compares the events with the expected ones.
///
/// # Errors
/// The first difference.
pub fn compare(expected: &[Expected], told: &[&Value]) -> Result<(), String> {
    let mut ordered: Vec<&Expected> = expected.iter().filter(|it| it.ordered).rev().collect();
    let mut others: Vec<&Expected> = expected.iter().filter(|it| !it.ordered).collect();
    let mut numbers = Numbers::default();
    for event in told {
        let next = ordered.last().map_or_else(
            || Err("nothing more is expected".to_owned()),
            |next| next.matches(event, &mut numbers),
        );
        let Err(difference) = next else {
            ordered.pop();
            continue;
        };
        let fits =
            |it: &&Expected| it.could_match(event) && it.matches(event, &mut numbers).is_ok();
        let other = others.iter().position(fits);
        match other {
            Some(at) => _ = others.remove(at),
            None => {
                let differences = others.iter().map(|it| it.matches(event, &mut numbers));
                let differences: Vec<_> = differences.filter_map(Result::err).take(9).collect();
                let why = format!("{difference}; {}", differences.join("; "));
                return Err(describe(event, &why, ordered.last(), &others));
            }
        }
    }
    match ordered.last().or(others.first()) {
        None => Ok(()),
        Some(missing) => {
            let told: Vec<_> = told.iter().map(ToString::to_string).collect();
            Err(format!("never told: {missing:?}; told was:\n{}", told.join("\n")))
        }
    }
}

fn describe(event: &Value, why: &str, next: Option<&&Expected>, others: &[&Expected]) -> String {
    let list = |it: &&Expected| format!("  {}", Value::Object(it.fields.clone()));
    let others: Vec<_> = others.iter().map(list).collect();
    format!(
        "{why}\ntold:\n  {event}\nexpected next:\n{}\nor at any time:\n{}",
        next.map(list).unwrap_or_default(),
        others.join("\n")
    )
}

/// Maps the agent's instance numbers to the test's.
#[derive(Default)]
struct Numbers {
    known: HashMap<usize, u64>,
    taken: HashSet<u64>,
}

impl Numbers {
    /// Maps the test's number to the agent's. False if either is mapped to another.
    fn agree(&mut self, ours: usize, theirs: u64) -> bool {
        match self.known.get(&ours) {
            Some(&known) => known == theirs,
            None => {
                self.known.insert(ours, theirs);
                self.taken.insert(theirs)
            }
        }
    }

    fn could_agree(&self, ours: usize, theirs: u64) -> bool {
        match self.known.get(&ours) {
            Some(&known) => known == theirs,
            None => !self.taken.contains(&theirs),
        }
    }
}

impl Expected {
    /// Rejects most events without a reason, which is slow to build for thousands of events.
    fn could_match(&self, event: &Value) -> bool {
        ["event", "pid", "fd", "wd"].iter().all(|&name| match self.fields.get(name) {
            Some(wanted) => wanted == ANY || *wanted == event[name],
            None => event[name].is_null(),
        })
    }

    fn matches(&self, event: &Value, numbers: &mut Numbers) -> Result<(), String> {
        let told = event.as_object().ok_or("no object")?;
        for (name, value) in told.iter().filter(|(name, _)| !MEASURED.contains(&name.as_str())) {
            match self.fields.get(name) {
                Some(wanted) if wanted == ANY || wanted == value => {}
                wanted => return Err(format!("{name} is {value}, expected {wanted:?}")),
            }
        }
        for (name, wanted) in &self.fields {
            // Only recordings look up the path of a watch that existed before.
            let may_be_missing = name == "path" && self.fields["event"] == "watch-found";
            if wanted != ANY && !told.contains_key(name) && !may_be_missing {
                return Err(format!("{name} is missing, expected {wanted}"));
            }
        }
        let theirs = event["instance"].as_u64();
        if theirs.is_some() != self.instance.is_some() {
            return Err(format!("instance is {theirs:?}"));
        }
        if let (Some(ours), Some(theirs)) = (self.instance, theirs)
            && !numbers.could_agree(ours, theirs)
        {
            return Err(format!("{theirs} is not the instance meant"));
        }
        within("boot_ns", event, Some(self.time))?;
        within("lived_ns", event, self.lived)?;
        if let (Some((first, last)), true) = (self.used, event["used"].is_u64()) {
            within("used", event, Some((first.into(), last.into())))?;
        }
        if let (Some(ours), Some(theirs)) = (self.instance, theirs) {
            numbers.agree(ours, theirs);
        }
        Ok(())
    }
}

fn within(name: &str, event: &Value, range: Option<(u64, u64)>) -> Result<(), String> {
    match (event[name].as_u64(), range) {
        (None, None) => Ok(()),
        (Some(value), Some((first, last))) if (first..=last).contains(&value) => Ok(()),
        (value, range) => Err(format!("{name} is {value:?}, expected within {range:?}")),
    }
}
