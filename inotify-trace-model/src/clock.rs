//! Converts time since boot to calendar time.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::event::BootTime;

/// How points in time are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// Local time of day, to the second
    #[default]
    Time,
    /// Local date and time with microseconds and offset (RFC 3339)
    Iso,
    /// Seconds since 1970 with microseconds
    Unix,
    /// Seconds since boot with microseconds
    Boot,
}

/// Writes points in time.
#[derive(Clone, Debug)]
pub struct Clock {
    booted: Timestamp,
    zone: TimeZone,
    /// The last time of day written, and its second: many events share a second.
    latest: Option<(i64, String)>,
}

impl Clock {
    /// A clock for a machine that booted at `booted`.
    #[must_use]
    pub fn new(booted: Timestamp, zone: TimeZone) -> Self {
        Self { booted, zone, latest: None }
    }

    /// A clock for a machine that booted at this time, in nanoseconds since 1970, which shows times
    /// in `zone`.
    #[must_use]
    pub fn of_machine_booted(nanoseconds: i64, zone: TimeZone) -> Self {
        Self::new(Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or_default(), zone)
    }

    /// When the machine booted, in nanoseconds since 1970.
    #[must_use]
    pub fn booted(&self) -> i64 {
        i64::try_from(self.booted.as_nanosecond()).unwrap_or_default()
    }

    /// The time from boot to a point in time; zero if that is before, and the maximum if it is
    /// centuries away.
    #[must_use]
    pub fn boot_time(&self, time: Timestamp) -> BootTime {
        let since_boot = time.as_nanosecond() - self.booted.as_nanosecond();
        BootTime(u64::try_from(since_boot.max(0)).unwrap_or(u64::MAX))
    }

    /// The time zone in which it shows times.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The calendar time of a time since boot.
    #[must_use]
    pub fn timestamp(&self, time: BootTime) -> Timestamp {
        let since_boot = SignedDuration::from_nanos(i64::try_from(time.0).unwrap_or(i64::MAX));
        self.booted.saturating_add(since_boot).unwrap_or(Timestamp::MAX)
    }

    /// RFC 3339 in UTC with nanoseconds.
    #[must_use]
    pub fn utc(&self, time: BootTime) -> String {
        format!("{:.9}", self.timestamp(time))
    }

    /// Date and time to the second in the clock's zone, and the zone's offset.
    #[must_use]
    pub fn local(&self, time: BootTime) -> String {
        let zoned = self.timestamp(time).to_zoned(self.zone.clone());
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    }

    /// Adds a point in time to a line.
    pub fn write(&mut self, line: &mut String, time: BootTime, how: Timestamps) {
        let timestamp = self.timestamp(time);
        // Writing to a String cannot fail.
        let _ = match how {
            Timestamps::Time => {
                line.push_str(self.time_of_day(timestamp));
                Ok(())
            }
            Timestamps::Iso => {
                let zoned = timestamp.to_zoned(self.zone.clone());
                write!(line, "{}", zoned.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"))
            }
            Timestamps::Unix => {
                let (seconds, micros) = (timestamp.as_second(), timestamp.subsec_microsecond());
                write!(line, "{seconds}.{micros:06}")
            }
            Timestamps::Boot => {
                write!(line, "{}.{:06}", time.0 / 1_000_000_000, time.0 / 1000 % 1_000_000)
            }
        };
    }

    fn time_of_day(&mut self, timestamp: Timestamp) -> &str {
        let second = timestamp.as_second();
        if self.latest.as_ref().is_none_or(|&(latest, _)| latest != second) {
            let zoned = timestamp.to_zoned(self.zone.clone());
            self.latest = Some((second, zoned.strftime("%H:%M:%S").to_string()));
        }
        self.latest.as_ref().map_or("", |(_, text)| text)
    }
}

impl Timestamps {
    /// The width of a written time, in columns.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Time => "23:59:59".len(),
            Self::Iso => "2026-01-31T23:59:59.123456+01:00".len(),
            Self::Unix => "1700000000.123456".len(),
            Self::Boot => "1234567.123456".len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_every_form() {
        let booted = "2026-03-01T22:59:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let mut clock = Clock::new(booted, zone);
        let moment = BootTime(61_000_002_003);
        let mut text = |how| {
            let mut line = String::new();
            clock.write(&mut line, moment, how);
            line
        };
        assert_eq!(text(Timestamps::Time), "00:00:01");
        assert_eq!(text(Timestamps::Iso), "2026-03-02T00:00:01.000002+01:00");
        assert_eq!(text(Timestamps::Unix), "1772406001.000002");
        assert_eq!(text(Timestamps::Boot), "61.000002");
        assert_eq!(clock.utc(moment), "2026-03-01T23:00:01.000002003Z");
        assert_eq!(clock.local(moment), "2026-03-02T00:00:01+01:00");
    }

    #[test]
    fn what_is_too_far_away_is_as_far_as_can_be() {
        let clock = Clock::new("2026-03-01T22:59:00Z".parse().unwrap(), TimeZone::UTC);
        assert_eq!(clock.boot_time("2026-03-01T22:59:01Z".parse().unwrap()).0, 1_000_000_000);
        assert_eq!(clock.boot_time("2026-03-01T22:58:59Z".parse().unwrap()).0, 0);
        assert_eq!(clock.boot_time("9000-01-01T00:00:00Z".parse().unwrap()).0, u64::MAX);
    }
}
