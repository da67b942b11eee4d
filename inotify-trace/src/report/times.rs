//! Points in time, in as few words as the length of a recording allows.

use jiff::tz::TimeZone;

use inotify_trace_model::{clock::Clock, event::BootTime};

/// Writes the points in time of one run.
#[derive(Clone, Debug)]
pub struct Times {
    clock: Clock,
    /// Whether the run is over on the day it began.
    is_one_day: bool,
}

impl Times {
    /// Of a run from `start` to `end`.
    #[must_use]
    pub fn new(clock: Clock, start: BootTime, end: BootTime) -> Self {
        let mut times = Self { clock, is_one_day: true };
        times.is_one_day = times.format(start, "%F") == times.format(end, "%F");
        times
    }

    /// Whether no dates are shown.
    #[must_use]
    pub fn is_one_day(&self) -> bool {
        self.is_one_day
    }

    /// The clock of the machine that was recorded.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Date, time, and offset from UTC.
    #[must_use]
    pub fn full(&self, time: BootTime) -> String {
        self.format(time, "%F %T %:z")
    }

    /// The time of day, with the date unless all is on the same one.
    #[must_use]
    pub fn short(&self, time: BootTime) -> String {
        self.format(time, if self.is_one_day { "%T" } else { "%m-%d %T" })
    }

    /// For an axis: seconds only where they say something.
    #[must_use]
    pub fn tick(&self, time: BootTime, step: u64) -> String {
        self.format(
            time,
            match (self.is_one_day, step >= 60) {
                (true, true) => "%H:%M",
                (true, false) => "%T",
                (false, _) => "%m-%d %H:%M",
            },
        )
    }

    /// For machines.
    #[must_use]
    pub fn utc(&self, time: BootTime) -> String {
        self.clock.utc(time)
    }

    /// How many seconds local time is ahead of UTC at that time.
    #[must_use]
    pub fn offset(&self, time: BootTime) -> i64 {
        let zone: &TimeZone = self.clock.zone();
        zone.to_offset(self.clock.timestamp(time)).seconds().into()
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn since_epoch(&self, time: BootTime) -> i128 {
        self.clock.timestamp(time).as_nanosecond()
    }

    fn format(&self, time: BootTime, format: &str) -> String {
        let zoned = self.clock.timestamp(time).to_zoned(self.clock.zone().clone());
        zoned.strftime(format).to_string()
    }
}
