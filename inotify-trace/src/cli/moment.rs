//! Points in time, as people write them.

use std::{str::FromStr, time::Duration};

use anyhow::Context as _;
use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};

use inotify_trace_model::{clock::Clock, event::BootTime};

/// A point in time of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Moment {
    /// With an offset from UTC.
    Absolute(Timestamp),
    /// By the calendar and the clock of this machine.
    Local(civil::DateTime),
    /// The first time after the beginning that clocks here show it.
    TimeOfDay(civil::Time),
    /// So long after the beginning.
    After(Duration),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(seconds) = text.strip_prefix('+') {
            return super::session::seconds(seconds).map(Self::After);
        }
        let is_time = text.len() <= "23:59:59.999999999".len() && text.contains(':');
        if is_time && !text.contains('-') {
            if let Ok(time) = text.parse() {
                return Ok(Self::TimeOfDay(time));
            }
        } else if let Ok(time) = text.parse() {
            return Ok(Self::Absolute(time));
        } else if let Ok(time) = text.parse() {
            return Ok(Self::Local(time));
        }
        Err("must be a time of day (02:55 or 02:55:30), a date and time (2026-01-31T02:55:30, with \
             Z or an offset if it is not local), or +SECONDS after the beginning"
            .to_owned())
    }
}

impl Moment {
    /// As everyone's clocks have it, on a recording that began at `started`.
    pub(super) fn timestamp(self, clock: &Clock, started: BootTime) -> anyhow::Result<Timestamp> {
        let zone = clock.zone();
        Ok(match self {
            Self::Absolute(timestamp) => timestamp,
            Self::Local(time) => local(time, zone)?,
            Self::TimeOfDay(time) => {
                let begun = clock.timestamp(started).to_zoned(zone.clone());
                let same_day = local(begun.date().to_datetime(time), zone)?;
                if same_day < begun.timestamp() {
                    local(begun.date().checked_add(1.day())?.to_datetime(time), zone)?
                } else {
                    same_day
                }
            }
            Self::After(time) => {
                let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                clock.timestamp(BootTime(started.0.saturating_add(nanoseconds)))
            }
        })
    }
}

fn local(time: civil::DateTime, zone: &TimeZone) -> anyhow::Result<Timestamp> {
    let zoned = time.to_zoned(zone.clone()).with_context(|| format!("{time} is no time here"))?;
    Ok(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Booted at noon, two hours ahead of UTC.
    fn boot_time(text: &str) -> BootTime {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let clock = Clock::new("2026-03-01T10:00:00Z".parse().unwrap(), zone);
        let moment: Moment = text.parse().unwrap();
        clock.boot_time(moment.timestamp(&clock, BootTime(3_600_000_000_000)).unwrap())
    }

    #[test]
    fn points_in_time_are_written_in_many_ways() {
        let seconds = |hours: u64, seconds: u64| BootTime((hours * 3600 + seconds) * 1_000_000_000);
        assert_eq!(boot_time("13:00:05"), seconds(1, 5));
        assert_eq!(boot_time("14:00"), seconds(2, 0));
        // Before the beginning on that day.
        assert_eq!(boot_time("12:59"), seconds(24, 3540));
        assert_eq!(boot_time("2026-03-01T13:00:05"), seconds(1, 5));
        assert_eq!(boot_time("2026-03-01 13:00:05"), seconds(1, 5));
        assert_eq!(boot_time("2026-03-01T11:00:05Z"), seconds(1, 5));
        assert_eq!(boot_time("2026-03-01T06:00:05-05:00"), seconds(1, 5));
        assert_eq!(boot_time("+5"), seconds(1, 5));
    }

    #[test]
    fn what_is_no_point_in_time_is_refused() {
        for bad in ["", "noon", "25:00", "+", "+x", "2026-13-01T00:00:00", "12"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
