//! Durations.

use std::time::Duration;

use jiff::{SpanRelativeTo, fmt::friendly::SpanParser};

const EXAMPLES: &str = "90, 90s, 1m30s or 2h";

/// A century: adding it to the current time cannot overflow.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// Shorter intervals would only repeat the same figures.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A duration; it may be zero.
///
/// # Errors
/// If it is no duration, or longer than a century.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse(text).ok_or_else(|| format!("must be a duration such as {EXAMPLES}"))?;
    if duration > LONGEST {
        return Err("must be a duration of at most 36500d, a century".to_owned());
    }
    Ok(duration)
}

/// A duration above zero.
///
/// # Errors
/// As [`duration`], and if it is zero.
pub(in crate::cli) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err(format!("must be a duration above 0, such as {EXAMPLES}"));
    }
    Ok(duration)
}

/// The interval of a repeated action.
///
/// # Errors
/// As [`duration`], and if it is below 100 milliseconds.
pub(in crate::cli) fn interval(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration < SHORTEST_INTERVAL {
        return Err(format!("must be a duration of at least 100ms, such as {EXAMPLES}"));
    }
    Ok(duration)
}

/// Parses jiff's durations without a sign, of days and shorter units; a number alone is seconds.
fn parse(text: &str) -> Option<Duration> {
    let is_part_of_number = |c: char| c.is_ascii_digit() || c == '.';
    if !text.starts_with(is_part_of_number) {
        return None;
    }
    let (number, unit) = text.split_at(text.find(|c| !is_part_of_number(c)).unwrap_or(text.len()));
    // The zero in front is for `.5`, which jiff does not take; nor does it take parts of days.
    let (text, times) = match unit {
        "" => (format!("0{number}s"), 1),
        "d" if number.contains('.') => (format!("0{number}h"), 24),
        _ => (format!("0{text}"), 1),
    };
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use jiff::fmt::friendly::{Spacing, SpanPrinter};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_alone_is_seconds() {
        for (text, milliseconds) in [
            ("90", 90_000),
            ("0", 0),
            ("0.1", 100),
            (".5", 500),
            ("90s", 90_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("2min", 120_000),
            ("1d", 86_400_000),
            ("1d12h", 129_600_000),
            ("1.5d", 129_600_000),
            ("1:30:00", 5_400_000),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_plainly() {
        for bad in [
            "", "soon", "s", ".", "-1", "+1", "-1s", "1x", "1M", "1mo", "1y", "inf", "nan", "1e3",
            "5m ago", "1.2.3", "1h30", "1,", "١s", "1h2h", "1.5h30m", "P1D", " 1", "0x10", "3:05",
        ] {
            let error = duration(bad).expect_err(bad);
            assert_eq!(error, "must be a duration such as 90, 90s, 1m30s or 2h", "{bad}");
        }
        for bad in ["36501d", "9999999999", "1000000h"] {
            assert!(duration(bad).expect_err(bad).contains("at most 36500d"), "{bad}");
        }
        for bad in ["1e300d", "99999999999999999999", "99999999999999999999h", "1e400"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_must_pass_is_not_zero() {
        for zero in ["0", "0s", "0h", "0.0"] {
            assert_eq!(duration(zero), Ok(Duration::ZERO));
            assert!(positive_duration(zero).expect_err(zero).contains("above 0"), "{zero}");
            assert!(interval(zero).expect_err(zero).contains("at least 100ms"), "{zero}");
        }
        assert_eq!(positive_duration("1ns"), Ok(Duration::from_nanos(1)));
        assert!(interval("99ms").is_err());
        assert_eq!(interval("0.1"), Ok(SHORTEST_INTERVAL));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read(seconds in 0..=LONGEST.as_secs(), nanoseconds in 0..1_000_000_000_u32) {
            let wanted = Duration::new(seconds, nanoseconds).min(LONGEST);
            for spacing in [Spacing::None, Spacing::BetweenUnits] {
                let text = SpanPrinter::new().spacing(spacing).unsigned_duration_to_string(&wanted);
                prop_assert_eq!(duration(&text), Ok(wanted), "{}", text);
            }
            let text = format!("{}.{:09}", wanted.as_secs(), wanted.subsec_nanos());
            prop_assert_eq!(duration(&text), Ok(wanted), "{}", text);
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC*") {
            let _ = duration(&text);
        }

        #[test]
        fn units_in_any_order_do_not_make_it_panic(text in "[0-9.:,]{1,20}(ns|us|ms|s|m|h|d|w)?[0-9.]{0,3}[hms]?") {
            if let Ok(duration) = duration(&text) {
                prop_assert!(duration <= LONGEST);
            }
        }
    }
}
