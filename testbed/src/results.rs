//! Results of tests, as written by `run-tests`.

use std::fs;
use std::path::Path;

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub outcome: Outcome,
    pub seconds: f32,
    pub binary: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Reads the results in a directory; empty if there are none.
pub fn read(directory: &Path) -> Vec<Test> {
    let text = fs::read_to_string(directory.join("results.tsv")).unwrap_or_default();
    parse(&text)
}

fn parse(text: &str) -> Vec<Test> {
    text.lines().filter_map(test).collect()
}

fn test(line: &str) -> Option<Test> {
    let fields: Vec<_> = line.split('\t').collect();
    let [word, seconds, binary, name, why] = *fields else { return None };
    let outcome = match word {
        "ok" => Outcome::Passed,
        "skipped" => Outcome::Skipped(why.to_owned()),
        _ => Outcome::Failed(why.to_owned()),
    };
    let (binary, name) = (binary.to_owned(), name.to_owned());
    Some(Test { outcome, seconds: seconds.parse().ok()?, binary, name })
}

/// The tests that took longest, with the place where each ran.
pub fn slowest<'a>(tests: impl Iterator<Item = (String, &'a Test)>, count: usize) -> String {
    let mut tests: Vec<_> = tests.collect();
    tests.sort_by(|(_, one), (_, other)| other.seconds.total_cmp(&one.seconds));
    let line = |(place, test): &(String, &Test)| {
        format!("{:6.1} s  {place}: {} {}\n", test.seconds, test.binary, test.name)
    };
    tests.iter().take(count).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, parse, slowest};

    const TEXT: &str = "ok\t0.50\tlive\ta::here\t\n\
                        skipped\t0.01\tlive\tb::here\tneeds root\n\
                        FAILED\t20.00\tcli\tc\texit status: 101\n\
                        ok\t1.0";

    #[test]
    fn lines_are_tests_and_half_a_line_is_none() {
        let tests = parse(TEXT);
        assert_eq!(tests.len(), 3);
        assert_eq!(tests[1].outcome, Outcome::Skipped("needs root".to_owned()));
        assert_eq!((tests[2].seconds, tests[2].name.as_str()), (20.0, "c"));
    }

    #[test]
    fn the_slowest_come_first() {
        let tests = parse(TEXT);
        let shown = slowest(tests.iter().map(|test| ("here".to_owned(), test)), 2);
        assert_eq!(shown, "  20.0 s  here: cli c\n   0.5 s  here: live a::here\n");
    }
}
