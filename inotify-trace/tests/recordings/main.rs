//! Reads recordings of every released format: the output of `replay` must never change.
//!
//! docs/recording-format.md has the rule: the files of released formats are never rewritten.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use inotify_trace_model::event::EventName;

/// The released formats.
const VERSIONS: [&str; 1] = ["v1"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

/// The output of `replay -o json` for `recording`, with every event.
fn replayed(recording: &Path) -> String {
    let names: Vec<_> = EventName::ALL.iter().map(|name| name.as_str()).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_inotify-trace"))
        .args(["replay", "-o", "json", "--event", &names.join(",")])
        .arg(recording)
        .env("TZ", "UTC")
        .output()
        .expect("the tool can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", recording.display());
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

#[test]
fn recordings_of_every_version_say_what_they_always_said() {
    for version in VERSIONS {
        let expected = fs::read_to_string(fixtures().join(version).with_extension("json")).unwrap();
        let said = replayed(&fixtures().join(version));
        for (number, (said, expected)) in said.lines().zip(expected.lines()).enumerate() {
            assert_eq!(said, expected, "{version}.json, line {}", number + 1);
        }
        assert_eq!(said.lines().count(), expected.lines().count(), "lines in {version}.json");
    }
}

#[test]
fn each_file_of_a_rotated_set_is_a_recording_by_itself() {
    let files = fs::read_dir(fixtures().join("v1")).unwrap();
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 1, "{files:?}");
    for file in files {
        assert!(!replayed(&file).is_empty(), "{}", file.display());
    }
}

/// A recording has pods, and not the number that its machine takes.
#[test]
fn limits_of_a_recording_say_what_they_assume() {
    let limits = |options: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_inotify-trace"))
            .args(["limits", "--recording"])
            .arg(fixtures().join("v1"))
            .args(options)
            .output()
            .expect("the tool can be started");
        let text = String::from_utf8(output.stdout).expect("text is UTF-8");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let assumed = "maxPods, so 110 pods are reckoned with";
    let text = limits(&[]);
    assert!(text.contains("(kubelet's default)") && text.contains(assumed), "{text}");
    let text = limits(&["--pods", "250"]);
    assert!(text.contains("250 pods (--pods)") && !text.contains("maxPods"), "{text}");
}

#[test]
#[ignore = "rewrites v1.json, which nobody may once 0.1 is released"]
fn remake_fixture() {
    let said = replayed(&fixtures().join("v1"));
    fs::write(fixtures().join("v1.json"), said).unwrap();
}
