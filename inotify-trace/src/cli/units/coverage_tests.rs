use jiff::tz;
use proptest::prelude::*;

use super::*;

/// In a zone two hours ahead of UTC; `now` is 2026-03-05 in it.
fn coverage(runs: &[(&str, &str)]) -> Coverage {
    in_zone(runs, TimeZone::fixed(tz::offset(2)))
}

fn in_zone(runs: &[(&str, &str)], zone: TimeZone) -> Coverage {
    let time = |text: &str| {
        let time: civil::DateTime = text.parse().unwrap();
        time.to_zoned(zone.clone()).unwrap().timestamp()
    };
    let runs = runs.iter().enumerate().map(|(number, (from, to))| Run {
        machine: Machine { number, name: format!("n{number}"), ..Machine::default() },
        from: time(from),
        to: time(to),
    });
    let runs = runs.collect();
    Coverage { runs, now: time("2026-03-05T00:00"), zone }
}

/// The run and the local time of a moment.
fn at(coverage: &Coverage, text: &str) -> Result<(usize, String), String> {
    let moment = text.parse().unwrap();
    match coverage.find(moment) {
        Ok(Some((run, time))) => {
            Ok((run, time.to_zoned(coverage.zone.clone()).datetime().to_string()))
        }
        Ok(None) => Err(coverage.outside("--at", moment)),
        Err(error) => Err(error.to_string()),
    }
}

fn range(
    coverage: &Coverage,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(String, String), String> {
    let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
    let local = |time: Timestamp| time.to_zoned(coverage.zone.clone()).datetime().to_string();
    coverage
        .find_range(parse(from), parse(to))
        .map(|(to, from)| (local(from), local(to)))
        .map_err(|error| error.to_string())
}

#[test]
fn a_moment_is_found_however_it_is_written() {
    let coverage = coverage(&[("2026-03-01T07:20:05", "2026-03-01T09:30:00")]);
    for (text, local) in [
        ("07:21", "2026-03-01T07:21:00"),
        ("7:20:05", "2026-03-01T07:20:05"),
        ("9:30", "2026-03-01T09:30:00"),
        ("2026-03-01T08:00", "2026-03-01T08:00:00"),
        ("2026-03-01T06:00:00Z", "2026-03-01T08:00:00"),
        ("2026-03-01T01:00:00-05:00", "2026-03-01T08:00:00"),
        ("@1772344800", "2026-03-01T08:00:00"),
        ("+0", "2026-03-01T07:20:05"),
        ("+90s", "2026-03-01T07:21:35"),
        ("-10m", "2026-03-01T09:20:00"),
        ("-0", "2026-03-01T09:30:00"),
    ] {
        assert_eq!(at(&coverage, text), Ok((0, local.to_owned())), "{text}");
    }
}

#[test]
fn what_is_outside_is_refused_with_what_there_is() {
    let coverage = coverage(&[("2026-03-01T07:20:05.1234", "2026-03-01T09:30:00")]);
    for text in [
        "03:05",
        "07:20:05",
        "09:30:00.1",
        "2026-03-01",
        "2026-02-01T08:00",
        "2026-03-02T08:00",
        "2026-03-01T08:00:00Z",
        "@0",
        "+3h",
        "-3h",
        "now",
    ] {
        let error = at(&coverage, text).expect_err(text);
        for words in [
            "--at",
            "outside of the recording",
            // Not before it begins.
            "2026-03-01T07:20:05.124+02:00 to 2026-03-01T09:30:00+02:00 on n0",
            "such as 2026-03-01T08:25:02+02:00, or -10s",
        ] {
            assert!(error.contains(words), "{text}: no {words:?} in: {error}");
        }
    }
}

#[test]
fn of_times_of_day_the_last_is_meant() {
    // Two days and a bit.
    let coverage = coverage(&[("2026-03-01T07:00", "2026-03-03T06:00")]);
    for (text, local) in [
        ("05:00", "2026-03-03T05:00:00"),
        ("06:00", "2026-03-03T06:00:00"),
        ("06:01", "2026-03-02T06:01:00"),
        ("07:00", "2026-03-02T07:00:00"),
        ("23:59", "2026-03-02T23:59:00"),
    ] {
        assert_eq!(at(&coverage, text), Ok((0, local.to_owned())), "{text}");
    }
}

#[test]
fn the_last_run_that_covers_a_moment_has_it() {
    // A machine that booted again, and another one meanwhile.
    let coverage = coverage(&[
        ("2026-03-01T07:00", "2026-03-01T09:00"),
        ("2026-03-01T08:00", "2026-03-01T08:30"),
        ("2026-03-01T10:00", "2026-03-01T11:00"),
    ]);
    for (text, run, local) in [
        ("07:30", 0, "2026-03-01T07:30:00"),
        ("08:15", 1, "2026-03-01T08:15:00"),
        ("2026-03-01T08:45", 0, "2026-03-01T08:45:00"),
        ("10:30", 2, "2026-03-01T10:30:00"),
        ("+15m", 0, "2026-03-01T07:15:00"),
        ("-45m", 2, "2026-03-01T10:15:00"),
    ] {
        assert_eq!(at(&coverage, text), Ok((run, local.to_owned())), "{text}");
    }
    // Nothing was recorded between runs.
    for text in ["09:30", "-90m"] {
        let error = at(&coverage, text).expect_err(text);
        for host in ["on n0", "on n1", "on n2"] {
            assert!(error.contains(host), "{error}");
        }
    }
}

#[test]
fn of_many_runs_the_last_are_named() {
    let runs: Vec<_> = (1..=9)
        .map(|day| (format!("2026-03-0{day}T07:00"), format!("2026-03-0{day}T08:00")))
        .collect();
    let runs: Vec<_> = runs.iter().map(|(from, to)| (&from[..], &to[..])).collect();
    let coverage = coverage(&runs);
    assert_eq!(at(&coverage, "7:30"), Ok((8, "2026-03-09T07:30:00".to_owned())));
    let error = at(&coverage, "12:00").expect_err("outside");
    assert!(error.contains("2026-03-09T07:00:00+02:00 to 2026-03-09T08:00:00+02:00"), "{error}");
    assert!(error.contains("4 earlier runs since 2026-03-01T07:00:00+02:00"), "{error}");
    assert!(!error.contains("2026-03-04"), "{error}");
}

#[test]
fn a_range_overlaps_what_was_recorded() {
    let coverage = coverage(&[
        ("2026-03-01T07:00", "2026-03-01T09:00"),
        ("2026-03-02T10:00", "2026-03-02T11:00"),
    ]);
    let range = |from, to| range(&coverage, from, to);
    let local = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
    assert_eq!(
        range(Some("10:15"), Some("-30m")),
        local("2026-03-02T10:15:00", "2026-03-02T10:30:00")
    );
    // Between runs, too: something else was recorded then.
    assert_eq!(
        range(Some("2026-03-01T12:00"), Some("now")),
        local("2026-03-01T12:00:00", "2026-03-05T00:00:00")
    );
    // The last such time before the other.
    assert_eq!(
        range(Some("23:00"), Some("01:00")),
        local("2026-03-01T23:00:00", "2026-03-02T01:00:00")
    );
    assert_eq!(
        range(Some("10:30"), Some("10:15")),
        local("2026-03-01T10:30:00", "2026-03-02T10:15:00")
    );
    // What reaches beyond is cut off there.
    assert_eq!(
        range(Some("2020-01-01"), Some("2030-01-01")),
        local("2020-01-01T00:00:00", "2030-01-01T00:00:00")
    );
    assert!(range(Some("-40d"), None).is_ok());
    for (from, to, words) in [
        (Some("2026-03-02T11:01"), None, "--from"),
        (Some("+40d"), None, "--from"),
        (None, Some("2026-03-01T06:59"), "--to"),
        (None, Some("@0"), "--to"),
        (Some("now"), Some("2027-01-01"), "--from"),
        (Some("+2h"), Some("+1h"), "--to is before --from: +1h is 2026-03-01T08:00:00+02:00"),
    ] {
        let error = range(from, to).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_time_of_day_that_no_clock_showed_is_outside() {
    let coverage = coverage(&[("2026-03-01T07:00", "2026-03-01T09:00")]);
    let error = range(&coverage, Some("06:30"), None).expect_err("it is before the beginning");
    assert!(error.contains("--from 06:30:00 is outside"), "{error}");
}

#[test]
fn clocks_that_are_put_back_show_times_twice() {
    // 2026-10-25 03:00 became 02:00; 2026-03-29 02:00 became 03:00.
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let autumn = in_zone(&[("2026-10-24T12:00", "2026-10-25T12:00")], zone.clone());
    let moment = "02:30".parse().unwrap();
    let (_, last) = autumn.find(moment).unwrap().unwrap();
    assert_eq!(last, "2026-10-25T02:30:00+01:00".parse::<Timestamp>().unwrap());
    // Only the first of them was recorded.
    let mut first = autumn;
    first.runs[0].to = "2026-10-25T02:45:00+02:00".parse().unwrap();
    let (_, last) = first.find(moment).unwrap().unwrap();
    assert_eq!(last, "2026-10-25T02:30:00+02:00".parse::<Timestamp>().unwrap());
    // No clock showed it on the last day.
    let spring = in_zone(&[("2026-03-27T12:00", "2026-03-29T12:00")], zone);
    assert_eq!(at(&spring, "02:30"), Ok((0, "2026-03-28T02:30:00".to_owned())));
}

#[test]
fn a_moment_alone_can_be_given_back() {
    let mut coverage = coverage(&[("2026-03-01T07:00:00.0001", "2026-03-01T07:00:00.0002")]);
    let error = at(&coverage, "12:00").expect_err("outside");
    assert!(error.contains("2026-03-01T07:00:00.0001+02:00 to 2026-03-01T07:00:00.0002+02:00"));
    coverage.runs[0].to = coverage.runs[0].from;
    assert!(at(&coverage, "2026-03-01T07:00:00.0001+02:00").is_ok());
}

proptest! {
    /// Every time that an error names is one that is covered, and is taken as it is written.
    #[test]
    fn what_an_error_names_is_covered(
        from in 1_700_000_000_000_000_000_i128..1_900_000_000_000_000_000,
        length in 0..10_000_000_000_000_000_i128,
        shift in 0..50_u32,
    ) {
        let time = |nanoseconds| Timestamp::from_nanosecond(nanoseconds).unwrap();
        let (from, to) = (time(from), time(from + (length >> shift)));
        let run = Run { machine: Machine::default(), from, to };
        let zone = TimeZone::fixed(tz::offset(-3));
        let coverage = Coverage { runs: vec![run], zone, now: Timestamp::MAX };
        let error = at(&coverage, "now").expect_err("it is long after");
        let times: Vec<_> = error
            .split([' ', '\n', ','])
            .filter(|word| word.starts_with("20"))
            .collect();
        prop_assert_eq!(times.len(), 3, "{}", error);
        for text in times {
            prop_assert!(at(&coverage, text).is_ok(), "{} in: {}", text, error);
        }
    }

    /// Against every day, one by one.
    #[test]
    fn the_last_time_of_day_is_the_last(
        from in 1_700_000_000_i64..1_900_000_000,
        length in 0..1_000_000_i64,
        second in 0..86_400_i64,
    ) {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let time = |seconds| Timestamp::from_second(seconds).unwrap();
        let wanted = civil::Time::midnight().saturating_add(second.seconds());
        let shows = |seconds: &i64| time(*seconds).to_zoned(zone.clone()).time() == wanted;
        // Zones differ by whole hours, so only one second of each hour can show it.
        let (low, high) = (from, from + length);
        let first = low + (second - low).rem_euclid(3600);
        let expected = (first..=high).step_by(3600).filter(shows).last();
        let found = last_time_of_day(wanted, time(low), time(high), &zone);
        prop_assert_eq!(found, expected.map(time));
    }
}
