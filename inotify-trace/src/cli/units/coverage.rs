//! Resolves a time on the command line to a moment of the recordings.

use std::{collections::BTreeMap, fmt::Write as _, io};

use anyhow::{Context as _, anyhow, bail};
use jiff::{RoundMode, Timestamp, TimestampRound, ToSpan as _, Unit, Zoned, civil, tz::TimeZone};

use super::{
    super::{
        machines::{Machine, machines_of},
        say::say,
    },
    Moment,
};
use crate::feed::Replay;

/// The number of runs that the error for a time outside of all runs names.
const NAMED: usize = 5;

/// The times that recordings cover, from the beginning of each run to its end.
#[derive(Debug)]
pub(in crate::cli) struct Coverage {
    /// Oldest first; never empty.
    runs: Vec<Run>,
    /// The zone of times of day.
    zone: TimeZone,
    now: Timestamp,
}

/// The times that a run covers, both ends included.
#[derive(Clone, Debug)]
struct Run {
    machine: Machine,
    from: Timestamp,
    to: Timestamp,
}

impl Coverage {
    /// The coverage of runs. These must not have been read yet.
    ///
    /// # Errors
    /// If `runs` is empty.
    pub(in crate::cli) fn of(runs: &[Replay]) -> anyhow::Result<Self> {
        let first = runs.first().context("nothing was recorded")?;
        let zone = first.header().clock().zone().clone();
        let now = Timestamp::now();
        let covered = runs.iter().zip(machines_of(runs));
        let covered = covered
            .map(|(run, machine)| {
                let (header, end) = (run.header(), run.end());
                let clock = header.clock();
                let (from, to) = (clock.timestamp(header.started), clock.timestamp(end.time));
                // A recording in progress covers the time until now.
                let to = if end.is_being_written { to.max(now) } else { to };
                Run { machine, from, to: to.max(from) }
            })
            .collect();
        Ok(Self { runs: covered, zone, now })
    }

    /// The indices of the runs that show the moment of --at, of each machine the last, and that moment;
    /// without one, the end of each machine's last run.
    ///
    /// # Errors
    /// If no run covers it.
    pub(in crate::cli) fn chosen(
        &self,
        at: Option<Moment>,
    ) -> anyhow::Result<(Vec<usize>, Option<Timestamp>)> {
        Ok(match at {
            Some(at) => {
                let (places, at) = self.at("--at", at)?;
                (places, Some(at))
            }
            None => (self.latest()?, None),
        })
    }

    /// The moment of `option`, and the indices of the runs that show it: of each machine, the last
    /// that covers it. Prints the full time to standard error if the option's value leaves it open, as
    /// a time of day does, and the machines of which nothing was recorded then.
    ///
    /// # Errors
    /// If no run covers it.
    fn at(&self, option: &str, at: Moment) -> anyhow::Result<(Vec<usize>, Timestamp)> {
        let (_, time) = self.find(at)?.ok_or_else(|| anyhow!(self.outside(option, at)))?;
        self.say(option, at, time)?;
        let places = self.last(|run| (run.from..=run.to).contains(&time));
        for run in self.last(|_| true).into_iter().filter_map(|place| self.runs.get(place)) {
            let is_shown =
                |&place: &usize| self.runs.get(place).is_some_and(|it| it.is_of_machine_of(run));
            if !places.iter().any(is_shown) {
                say(format_args!(
                    "inotify-trace: {}: nothing was recorded at {}",
                    run.machine.name,
                    self.shown(time)
                ))?;
            }
        }
        Ok((places, time))
    }

    /// A moment that was typed.
    ///
    /// # Errors
    /// If no run covers it.
    #[cfg(feature = "top")]
    pub(in crate::cli) fn moment(&self, at: Moment) -> anyhow::Result<Timestamp> {
        let (_, time) =
            self.find(at)?.ok_or_else(|| anyhow!("{at} is outside of the recording"))?;
        Ok(time)
    }

    /// The indices of the last run of each machine. Says on standard error how many others are not shown.
    ///
    /// # Errors
    /// If standard error cannot be written.
    fn latest(&self) -> io::Result<Vec<usize>> {
        let places = self.last(|_| true);
        for run in places.iter().filter_map(|&place| self.runs.get(place)) {
            let count = self.runs.iter().filter(|it| it.is_of_machine_of(run)).count() - 1;
            if count > 0 {
                say(format_args!(
                    "inotify-trace: {}: the end of the last recording is shown, which begins at {}; \
                     {count} earlier one{} left out: give a moment with --at",
                    run.machine.name,
                    self.shown(run.from),
                    if count == 1 { " is" } else { "s are" },
                ))?;
                if !run.machine.is_certain {
                    say(format_args!(
                        "inotify-trace: {}: whether these are of one machine cannot be told: not all \
                         of them have its id, as recordings made by this version of inotify-trace do",
                        run.machine.name,
                    ))?;
                }
            }
        }
        Ok(places)
    }

    /// The name of a run's machine.
    pub(in crate::cli) fn name(&self, place: usize) -> &str {
        self.runs.get(place).map_or("", |run| &run.machine.name)
    }

    /// The last run of each machine of those that are `wanted`, by the machines' names.
    fn last(&self, wanted: impl Fn(&Run) -> bool) -> Vec<usize> {
        let wanted = self.runs.iter().enumerate().filter(|(_, run)| wanted(run));
        let last: BTreeMap<_, _> =
            wanted.map(|(place, run)| ((&run.machine.host, run.machine.number), place)).collect();
        last.into_values().collect()
    }

    /// The moments of `--from` and `--to`; the earliest and the latest possible if absent. Either
    /// may be outside of the recordings, as long as a run overlaps the range.
    ///
    /// # Errors
    /// If no run does.
    pub(in crate::cli) fn range(
        &self,
        from: Option<Moment>,
        to: Option<Moment>,
    ) -> anyhow::Result<(Timestamp, Timestamp)> {
        let (until, since) = self.find_range(from, to)?;
        for (option, moment, time) in [("--from", from, since), ("--to", to, until)] {
            if let Some(moment) = moment {
                self.say(option, moment, time)?;
            }
        }
        Ok((since, until))
    }

    fn find(&self, at: Moment) -> anyhow::Result<Option<(usize, Timestamp)>> {
        let runs = self.runs.iter().enumerate();
        if let Moment::TimeOfDay(time) = at {
            let last = |run: &Run| last_time_of_day(time, run.from, run.to, &self.zone);
            let found = runs.filter_map(|(place, run)| Some((place, last(run)?)));
            return Ok(found.max_by_key(|(_, time)| *time));
        }
        let time = self.timestamp(at)?;
        let covers = |(_, run): &(usize, &Run)| (run.from..=run.to).contains(&time);
        Ok(runs.rev().find(covers).map(|(place, _)| (place, time)))
    }

    /// The end of the range, and its beginning.
    fn find_range(
        &self,
        from: Option<Moment>,
        to: Option<Moment>,
    ) -> anyhow::Result<(Timestamp, Timestamp)> {
        let (first, last) = self.ends();
        // A time of day is the last one before `until`.
        let find = |option, moment, until: Timestamp| match moment {
            Moment::TimeOfDay(time) => last_time_of_day(time, first, until.min(last), &self.zone)
                .ok_or_else(|| anyhow!(self.outside(option, moment))),
            other => self.timestamp(other),
        };
        let until = to.map(|to| find("--to", to, last)).transpose()?.unwrap_or(Timestamp::MAX);
        let since = from.map(|from| find("--from", from, until)).transpose()?;
        let since = since.unwrap_or(Timestamp::MIN);
        if let (Some(from), Some(to)) = (from, to)
            && until < since
        {
            bail!(
                "--to is before --from: {to} is {}, and {from} is {}",
                self.shown(until),
                self.shown(since)
            );
        }
        match (from, to) {
            (_, Some(to)) if until < first => bail!(self.outside("--to", to)),
            (Some(from), _) if since > last => bail!(self.outside("--from", from)),
            _ => Ok((until, since)),
        }
    }

    /// The moment, which may be outside of the recordings; for a time of day the last one.
    fn timestamp(&self, moment: Moment) -> anyhow::Result<Timestamp> {
        let (first, last) = self.ends();
        Ok(match moment {
            Moment::Absolute(timestamp) => timestamp,
            Moment::Local(time) => time.to_zoned(self.zone.clone())?.timestamp(),
            Moment::TimeOfDay(time) => {
                last_time_of_day(time, first, last, &self.zone).unwrap_or(last)
            }
            // Durations of at most a century don't reach these bounds.
            Moment::AfterBeginning(time) => first.saturating_add(time).unwrap_or(Timestamp::MAX),
            Moment::BeforeEnd(time) => last.saturating_sub(time).unwrap_or(Timestamp::MIN),
            Moment::Now => self.now,
        })
    }

    /// The beginning of the first run, and the latest end.
    fn ends(&self) -> (Timestamp, Timestamp) {
        let from = self.runs.iter().map(|run| run.from).min().unwrap_or_default();
        let to = self.runs.iter().map(|run| run.to).max().unwrap_or_default();
        (from, to)
    }

    fn say(&self, option: &str, moment: Moment, time: Timestamp) -> io::Result<()> {
        if !matches!(moment, Moment::TimeOfDay(_)) {
            return Ok(());
        }
        say(format_args!("inotify-trace: {option} {moment} is {}", self.shown(time)))
    }

    /// The error for a moment outside of all runs.
    fn outside(&self, option: &str, moment: Moment) -> String {
        let mut text = format!("{option} {moment} is outside of the recording:");
        for run in self.runs.iter().rev().take(NAMED).rev() {
            let (from, to) = run.inner();
            // Writing to a String cannot fail.
            let _ = match run.machine.name.as_str() {
                "" => write!(text, "\n  {} to {}", self.shown(from), self.shown(to)),
                host => write!(text, "\n  {} to {} on {host}", self.shown(from), self.shown(to)),
            };
        }
        if self.runs.len() > NAMED {
            let (earlier, (first, _)) = (self.runs.len() - NAMED, self.ends());
            let _ = write!(text, "\n  and {earlier} earlier runs since {}", self.shown(first));
        }
        let example = self.runs.last().map_or(self.now, Run::middle);
        let _ = write!(
            text,
            "\nGive a time in between, such as {}, or -10s for ten seconds before the end",
            self.shown(example)
        );
        text
    }

    /// In the reader's time zone, in a form that can be given as a time.
    fn shown(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        // `%.f` prints as many digits as are not zero.
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
    }
}

impl Run {
    fn is_of_machine_of(&self, other: &Self) -> bool {
        self.machine.number == other.machine.number
    }

    /// The first and the last whole millisecond that the run covers; the exact ends if it covers
    /// none.
    fn inner(&self) -> (Timestamp, Timestamp) {
        let round = |time: Timestamp, mode| {
            let round = TimestampRound::new().smallest(Unit::Millisecond).mode(mode);
            time.round(round).unwrap_or(time)
        };
        let (from, to) = (round(self.from, RoundMode::Ceil), round(self.to, RoundMode::Floor));
        if from <= to { (from, to) } else { (self.from, self.to) }
    }

    /// A moment that the run covers, a whole second if possible.
    fn middle(&self) -> Timestamp {
        let half = self.to.duration_since(self.from) / 2;
        let middle = self.from.saturating_add(half).unwrap_or(self.to);
        let round = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
        let whole = middle.round(round).unwrap_or(middle);
        if whole >= self.from { whole } else { self.inner().0 }
    }
}

/// The last time within the bounds, both included, at which clocks showed this time of day.
fn last_time_of_day(
    time: civil::Time,
    from: Timestamp,
    to: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let last_day = to.to_zoned(zone.clone()).date();
    // Three days are enough: a time of day is missing only on a day when clocks skip it.
    let days = (0..3).filter_map(|back| last_day.checked_sub(back.days()).ok());
    let shown = days.flat_map(|day| {
        let wanted = day.to_datetime(time);
        let ambiguous = zone.to_ambiguous_zoned(wanted);
        // When clocks are put back, they show it twice.
        let both = [ambiguous.clone().earlier(), ambiguous.later()];
        let shows_it = move |zoned: &Zoned| zoned.datetime() == wanted;
        both.into_iter().flatten().filter(shows_it).map(|zoned| zoned.timestamp())
    });
    shown.filter(|time| (from..=to).contains(time)).max()
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
