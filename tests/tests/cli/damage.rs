//! Recordings of which parts are missing, and outputs that cannot be written.

use std::{fs, process::Output};

use serde_json::Value;

use crate::{
    agent,
    recordings::{last_frame, listed, made, replay, run, shown},
    refuses, text,
};

#[test]
fn damage_costs_what_is_damaged_and_is_told_by_every_command() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 40);
    let whole = fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let damaged = directory.path().join("damaged.itrec");
    fs::write(&damaged, &bytes).unwrap();
    let path = damaged.to_str().unwrap();
    let is_told = |output: &Output| {
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.matches(path).count(), 1, "once: {errors}");
        assert!(!errors.contains("nothing lost"), "{errors}");
        let at = errors.split_once("damaged at byte ").unwrap_or_else(|| panic!("{errors}")).1;
        let at: usize = at.split(':').next().unwrap().parse().unwrap();
        assert!(at <= middle && middle - at < 200, "{errors}");
    };
    let output = replay(&damaged, &[]);
    is_told(&output);
    let missing: Vec<_> = {
        let shown = shown(&output);
        (0..40).filter(|number| !shown.contains(number)).collect()
    };
    assert!(missing.len() == 1 && (10..30).contains(&missing[0]), "{missing:?}");
    let lost = r#""event":"lost","lost_count":1,"lost_what":"frames""#;
    assert_eq!(text(&output.stdout).matches(lost).count(), 1);
    let output = run(&["replay", path]);
    is_told(&output);
    assert!(text(&output.stderr).contains("LOST 1 frames"), "{}", text(&output.stderr));
    // The other instances are known.
    for command in ["list", "leaks", "limits"] {
        let output = run(&[command, "--recording", path, "-o", "json"]);
        is_told(&output);
        if command == "list" {
            let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(listing["total"]["instances"], 39, "{listing}");
        }
    }
    // Before the damage, nothing is missing.
    assert_eq!(listed(&damaged, "+0.3").0, 4);
    // A file that is cut, even between two frames.
    let frame = whole.len() - last_frame(&whole);
    for (length, why) in
        [(middle, "ends in the middle"), (whole.len() - frame, "the end is missing")]
    {
        let short = directory.path().join("short.itrec");
        fs::write(&short, &whole[..length]).unwrap();
        let output = replay(&short, &[]);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(why) && errors.matches("short.itrec").count() == 1, "{errors}");
        let there = shown(&output);
        assert!(there.len() > 10 && there.is_sorted() && there[there.len() - 1] < 40, "{there:?}");
        for command in ["list", "leaks", "limits"] {
            let output = run(&[command, "--recording", short.to_str().unwrap()]);
            refuses_in_part(&output, why);
        }
    }
}

/// The output is incomplete, and says why.
fn refuses_in_part(output: &Output, why: &str) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(why) && !output.stdout.is_empty(), "{errors}");
}

#[test]
fn what_cannot_be_written_is_named_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("a.itrec"), 3);
    let file = file.to_str().unwrap();
    let commands: [&[&str]; 8] = [
        &["replay", file],
        &["replay", file, "-o", "json"],
        &["report", file, "--format", "html"],
        &["export", file, "--format", "csv"],
        &["list", "--recording", file],
        &["list", "--recording", file, "-o", "json"],
        &["leaks", "--recording", file],
        &["limits", "--recording", file],
    ];
    for command in commands {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = agent(command).stdout(full).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        let why = "cannot write to standard output: No space left on device";
        assert!(said.contains(why) && said.matches("No space").count() == 1, "{command:?}: {said}");
    }
    let nowhere = directory.path().join("no/such/page.html");
    let nowhere = nowhere.to_str().unwrap();
    let output = run(&["report", file, "-o", nowhere]);
    refuses(&output, &[nowhere, "No such file", "give another path"]);
    let said = text(&output.stderr);
    assert!(said.matches("No such file").count() == 1 && !said.contains(".partial"), "{said}");
}
