//! Points in time.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    Timestamp, civil,
    fmt::friendly::{Spacing, SpanPrinter},
};

use super::duration;

/// A point in time of a recording, in the forms of the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Moment {
    /// `2026-01-31T03:05:00Z`, or `@1769828700`.
    Absolute(Timestamp),
    /// `2026-01-31T03:05`, in this machine's time zone.
    Local(civil::DateTime),
    /// `03:05`: the last such time of day in this machine's time zone.
    TimeOfDay(civil::Time),
    /// `+90s`: this long after the beginning.
    AfterBeginning(Duration),
    /// `-10m`: this long before the end.
    BeforeEnd(Duration),
    Now,
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            "must be a time of day (03:05 or 03:05:30), a date and time (2026-01-31T03:05:30, with \
             Z or an offset if it is not local), @ and seconds since 1970, +90s (after the \
             beginning), -10m (before the end) or now"
                .to_owned()
        })
    }
}

fn parse(text: &str) -> Option<Moment> {
    if text == "now" {
        return Some(Moment::Now);
    }
    if let Some(after) = text.strip_prefix('+') {
        return duration(after).ok().map(Moment::AfterBeginning);
    }
    if let Some(before) = text.strip_prefix('-') {
        return duration(before).ok().map(Moment::BeforeEnd);
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return since_1970(seconds).map(Moment::Absolute);
    }
    // jiff would ignore a zone, and take a time other than the one given.
    let is_without_zone =
        |time: &str| time.bytes().all(|it| it.is_ascii_digit() || b":.".contains(&it));
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else {
        if text.contains(':') && is_without_zone(text) {
            return with_two_digits(text).parse().ok().map(Moment::TimeOfDay);
        }
        // A date alone means its midnight.
        return text.parse::<civil::Date>().ok().map(|it| Moment::Local(it.to_datetime(MIDNIGHT)));
    };
    let text = format!("{date}T{}", with_two_digits(time));
    if is_without_zone(time) {
        return text.parse().ok().map(Moment::Local);
    }
    text.parse().ok().map(Moment::Absolute)
}

const MIDNIGHT: civil::Time = civil::Time::midnight();

/// `7:20` as jiff takes it: `07:20`.
fn with_two_digits(time: &str) -> String {
    if time.find(':') == Some(1) { format!("0{time}") } else { time.to_owned() }
}

/// Seconds with at most nine digits after the point.
fn since_1970(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !are_digits(seconds) || !are_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    Timestamp::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?).ok()
}

impl fmt::Display for Moment {
    /// In a form that parses to the same moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |it| SpanPrinter::new().spacing(Spacing::None).unsigned_duration_to_string(it);
        match self {
            Self::Absolute(timestamp) => timestamp.fmt(f),
            Self::Local(time) => time.fmt(f),
            Self::TimeOfDay(time) => time.fmt(f),
            Self::AfterBeginning(time) => write!(f, "+{}", short(time)),
            Self::BeforeEnd(time) => write!(f, "-{}", short(time)),
            Self::Now => f.write_str("now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn absolute(text: &str) -> Moment {
        Moment::Absolute(text.parse().unwrap())
    }

    fn local(text: &str) -> Moment {
        Moment::Local(text.parse().unwrap())
    }

    fn time(text: &str) -> Moment {
        Moment::TimeOfDay(text.parse().unwrap())
    }

    #[test]
    fn points_in_time_are_written_in_many_ways() {
        for (text, moment) in [
            ("03:05", time("03:05:00")),
            ("3:05", time("03:05:00")),
            ("7:20", time("07:20:00")),
            ("23:59:59.5", time("23:59:59.5")),
            ("2026-03-01T13:00:05", local("2026-03-01T13:00:05")),
            ("2026-03-01 13:00:05", local("2026-03-01T13:00:05")),
            ("2026-03-01T13:00", local("2026-03-01T13:00:00")),
            ("2026-03-01 7:20", local("2026-03-01T07:20:00")),
            ("2026-03-01T12", local("2026-03-01T12:00:00")),
            ("2026-03-01", local("2026-03-01T00:00:00")),
            ("2026-03-01T11:00:05Z", absolute("2026-03-01T11:00:05Z")),
            ("2026-03-01 11:00:05z", absolute("2026-03-01T11:00:05Z")),
            ("2026-03-01T06:00:05.25-05:00", absolute("2026-03-01T11:00:05.25Z")),
            ("@0", absolute("1970-01-01T00:00:00Z")),
            ("@1769828700", absolute("2026-01-31T03:05:00Z")),
            ("@1769828700.5", absolute("2026-01-31T03:05:00.5Z")),
            ("@1769828700.000002", absolute("2026-01-31T03:05:00.000002Z")),
            ("+5", Moment::AfterBeginning(Duration::from_secs(5))),
            ("+1m30s", Moment::AfterBeginning(Duration::from_secs(90))),
            ("-10m", Moment::BeforeEnd(Duration::from_secs(600))),
            ("-0", Moment::BeforeEnd(Duration::ZERO)),
            ("now", Moment::Now),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time_is_refused() {
        for bad in [
            "",
            "noon",
            "25:00",
            "24:00",
            "7:2",
            "+",
            "-",
            "+x",
            "-x",
            "++5",
            "--5",
            "+-5",
            "@",
            "@x",
            "@-1",
            "@1.",
            "@.5",
            "@1.0000000001",
            "@99999999999999999999",
            "@999999999999999",
            "2026-13-01T00:00:00",
            "2026-02-30 00:00",
            "12",
            "2026",
            "T03:05",
            "03:05Z",
            "03:05+01:00",
            "2026-03-01T",
            "Now",
            "-36501d",
            "3:05 ",
            " 3:05",
        ] {
            let error = bad.parse::<Moment>().expect_err(bad);
            assert!(error.starts_with("must be a time of day"), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(
            seconds in -377_705_023_201_i64..=253_402_207_200,
            nanoseconds in 0..1_000_000_000_i32,
            kind in 0..5,
        ) {
            let timestamp = Timestamp::new(seconds, nanoseconds).unwrap_or_default();
            let civil = jiff::tz::TimeZone::UTC.to_datetime(timestamp);
            let duration = Duration::new(seconds.unsigned_abs() % 3_153_600_000, nanoseconds.unsigned_abs());
            // Years before 0 have a sign, which means something else here.
            prop_assume!(civil.year() >= 0);
            let moment = match kind {
                0 => Moment::Absolute(timestamp),
                1 => Moment::Local(civil),
                2 => Moment::TimeOfDay(civil.time()),
                3 => Moment::AfterBeginning(duration),
                _ => Moment::BeforeEnd(duration),
            };
            prop_assert_eq!(moment.to_string().parse(), Ok(moment), "{}", moment);
        }

        #[test]
        fn seconds_since_1970_are_read_as_they_are(seconds in 0..=253_402_207_200_i64, nanoseconds in 0..1_000_000_000_i32) {
            let moment = Moment::Absolute(Timestamp::new(seconds, nanoseconds).unwrap());
            prop_assert_eq!(format!("@{seconds}.{nanoseconds:09}").parse(), Ok(moment));
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<Moment>();
        }

        #[test]
        fn what_looks_like_a_time_does_not_make_it_panic(text in "[-+@]?[0-9:.TZ -]{1,24}") {
            if let Ok(moment) = text.parse::<Moment>() {
                prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            }
        }
    }
}
