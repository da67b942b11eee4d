//! Results from the lines of the looks.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::plot::Curve;
use super::tools::{DISTURBED, GROWING, LOOK, LSOF, MISSING, SCALE, TOOLS};
use crate::stats::{Spread, cell, number, table};

/// With at least this many descriptors, the fixed cost of a look counts for little.
const MANY: f64 = 9_000.0;

/// The results, in the order of [`TOOLS`] and [`GROWING`].
#[derive(Default)]
pub struct Measured {
    looks: [Vec<f64>; TOOLS.len()],
    /// Instances and watches in the output of the last look.
    told: [(String, String); TOOLS.len()],
    missing: Vec<String>,
    /// By the number of processes: the number of descriptors, and milliseconds.
    scale: BTreeMap<usize, (f64, [Vec<f64>; GROWING.len()])>,
    rounds: usize,
    disturbed: usize,
}

impl Measured {
    pub fn parse(lines: &str) -> Result<Self> {
        let mut measured = Self::default();
        for line in lines.lines() {
            measured.take(line).with_context(|| format!("the looks said {line:?}"))?;
        }
        Ok(measured)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let words: Vec<_> = line.split('\t').collect();
        match words[..] {
            [LOOK, name, ms, instances, watches] => {
                let index = TOOLS.iter().position(|(other, _)| *other == name);
                let index = index.context("there is no such tool")?;
                self.looks[index].push(ms.parse()?);
                self.told[index] = (instances.to_owned(), watches.to_owned());
            }
            [SCALE, name, processes, descriptors, ms] => {
                let index = GROWING.iter().position(|other| *other == name);
                let index = index.context("there is no such tool")?;
                let point = self.scale.entry(processes.parse()?).or_default();
                point.0 = descriptors.parse()?;
                point.1[index].push(ms.parse()?);
            }
            [MISSING, name, why] => {
                self.missing.push(format!("**Not measured: {name}, because {why}.**"));
            }
            [DISTURBED, answer] => {
                self.rounds += 1;
                self.disturbed += usize::from(answer == "yes");
            }
            _ => bail!("that is no known kind of line"),
        }
        Ok(())
    }

    /// A warning if other programs took processors from the looks.
    pub fn warning(&self) -> String {
        if self.disturbed == 0 {
            return String::new();
        }
        format!(
            "**Warning: other programs kept CPUs busy before {} of {} rounds.**\n\n",
            self.disturbed, self.rounds
        )
    }

    fn of(&self, name: &str) -> &[f64] {
        let index = TOOLS.iter().position(|(other, _)| *other == name);
        index.map_or(&[], |index| &self.looks[index])
    }

    pub fn rounds_of(&self, name: &str) -> usize {
        self.of(name).len()
    }

    /// The ratio of two tools' times, round by round.
    pub fn ratio(&self, name: &str, other: &str) -> Option<Spread> {
        let pairs = self.of(name).iter().zip(self.of(other));
        Spread::of(pairs.map(|(one, other)| one / other))
    }

    /// The time and the output of each tool.
    pub fn table(&self) -> String {
        let rows: Vec<_> = TOOLS
            .iter()
            .zip(&self.looks)
            .zip(&self.told)
            .filter(|((_, looks), _)| !looks.is_empty())
            .map(|(((name, _), looks), (instances, watches))| {
                let or_nothing = |told: &str| {
                    let told = told.parse::<f64>().map(|told| number(told, 0));
                    told.unwrap_or_else(|_| "not counted".to_owned())
                };
                let spread = cell(Spread::of(looks.iter().copied()), 1);
                vec![format!("`{name}`"), spread, or_nothing(instances), or_nothing(watches)]
            })
            // Descriptions are not commands.
            .map(|mut row| {
                if row[0].contains(" (in ") || row[0].contains("the same") {
                    row[0] = row[0].replace('`', "").replace("--walk-proc", "`--walk-proc`");
                }
                row
            })
            .collect();
        let mut text = table(&["", "milliseconds", "instances", "watches"], &rows) + "\n";
        for missing in &self.missing {
            text += &format!("{missing}\n\n");
        }
        if self.rounds_of(LSOF) > 0 {
            text += &format!(
                "`{LSOF}` was measured in {} rounds only. It lists the descriptors of each thread.\n\n",
                self.rounds_of(LSOF)
            );
        }
        text
    }

    /// Medians by the number of descriptors.
    pub fn curves(&self) -> Vec<Curve<'static>> {
        let curve = |index: usize| {
            let points = self.scale.values().filter_map(|(descriptors, looks)| {
                Some((*descriptors, Spread::of(looks[index].iter().copied())?.median))
            });
            points.collect()
        };
        GROWING.iter().enumerate().map(|(index, name)| (short(name), curve(index))).collect()
    }

    /// How the time grows, in a table and in words.
    pub fn scale(&self) -> String {
        let rows: Vec<_> = self
            .scale
            .iter()
            .map(|(processes, (descriptors, looks))| {
                let looks = looks.iter().map(|looks| cell(Spread::of(looks.iter().copied()), 1));
                [number(*descriptors, 0), number(*processes as f64, 0)]
                    .into_iter()
                    .chain(looks)
                    .collect()
            })
            .collect();
        let head = ["descriptors", "processes added"].into_iter().chain(GROWING.map(short));
        let mut text = table(&head.collect::<Vec<_>>(), &rows) + "\n";
        let said: Vec<_> = self
            .curves()
            .iter()
            .filter_map(|(name, points)| {
                let many: Vec<_> = points.iter().filter(|point| point.0 >= MANY).copied().collect();
                let linear = slope(&many)?;
                Some(format!("{} with {name}", number(linear, 2)))
            })
            .collect();
        if !said.is_empty() {
            text += &format!(
                "From 10,000 descriptors on, the time grows as their number to the power of {} \
                 (the slope of a line through the medians, both axes logarithmic; 1 is linear).\n\n",
                said.join(", ")
            );
        }
        text
    }
}

/// A tool's name without arguments.
fn short(name: &'static str) -> &'static str {
    match name {
        super::tools::JSON => "inotify-trace list",
        super::tools::FIND => "find",
        super::tools::SCANNER => "plain compiled scanner",
        other => other,
    }
}

/// The slope of the line that fits the logarithms best; `None` for fewer than two points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<_> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / logs.len() as f64;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = logs.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    let below: f64 = logs.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    (logs.len() > 1 && below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::super::tools::{FIND, WALK};
    use super::{Measured, slope};

    #[test]
    fn the_slope_is_the_power() {
        let points = [1e3, 1e4, 1e5].map(|x: f64| (x, 3.0 * x.powf(0.9)));
        assert!((slope(&points).unwrap() - 0.9).abs() < 1e-9);
        assert_eq!(slope(&points[..1]), None);
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let lines = format!(
            "disturbed\tyes\nlook\t{FIND}\t10\t8\t\nlook\t{WALK}\t20\t8\t60\n\
             disturbed\tno\nlook\t{FIND}\t40\t8\t\nlook\t{WALK}\t40\t8\t60\n\
             missing\tlsfd\tthere is none\n"
        );
        let measured = Measured::parse(&lines).unwrap();
        assert_eq!(measured.ratio(WALK, FIND).unwrap().median, 1.5);
        assert!(measured.warning().contains("1 of 2 rounds"));
        let table = measured.table();
        assert!(table.contains("| the same with `--walk-proc` | 30.0 (20.0-40.0) | 8 | 60 |"));
        assert!(table.contains("| 25.0 (10.0-40.0) | 8 | not counted |"), "{table}");
        assert!(table.contains("Not measured: lsfd"), "{table}");
        assert!(Measured::parse("look\tx\n").is_err());
    }
}
