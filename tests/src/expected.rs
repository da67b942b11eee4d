//! The expected events of a correct agent, compared with its output.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Stands for a value that the agent cannot know, or need not say.
pub const ANY: &str = "*";

/// Fields that differ from run to run and are checked on their own.
const MEASURED: [&str; 4] = ["time", "boot_ns", "instance", "lived_ns"];

/// One event.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its fields, except the measured ones.
    pub fields: Map<String, Value>,
    /// The instance it is about, by the test's own number.
    pub instance: Option<usize>,
    /// Whether it comes after those expected before it and before those after it. Ends of
    /// instances that nobody closed may come later.
    pub ordered: bool,
    /// The time it must carry lies between these two.
    pub time: (u64, u64),
    /// How long the instance must have lived, where it was seen being made.
    pub lived: Option<(u64, u64)>,
    /// How many may be charged, if that was read at a time the test does not know.
    pub used: Option<(u32, u32)>,
    /// If it is the end of an instance: what an agent that sees it happen must know.
    pub end: Option<End>,
}

/// The expected end of an instance.
#[derive(Clone, Debug)]
pub struct End {
    /// The process that gave it up last.
    pub by: Map<String, Value>,
    /// It was between these two.
    pub time: (u64, u64),
    /// How long the instance lived, where it was seen being made.
    pub lived: Option<(u64, u64)>,
}

/// Compares the events with the expected ones.
///
/// # Errors
/// The first difference, in words.
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

/// Which number of the agent's stands for which of the test's.
#[derive(Default)]
struct Numbers {
    known: HashMap<usize, u64>,
    taken: HashSet<u64>,
}

impl Numbers {
    /// Whether the agent's number may stand for the test's, and does from now on.
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
    /// Rules out most events without saying why, which takes time where there are thousands.
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
            // Where a target is that existed before is looked up for recordings only.
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
