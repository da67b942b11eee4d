//! The first moments of a recording, and failures to start one.

use std::{fs::File, path::Path, process::Command};

use inotify_trace_tests::{Agent, agent::binary, require_root, system};

use super::{Witness, record, replay};

/// Whether a recording has the path of a watch that existed before it.
fn has_path(recording: &Path, watched: &Path) -> bool {
    let told = replay(recording, &["-e", "watch-found"]).events;
    told.iter().any(|event| event["path"] == watched.to_str().unwrap())
}

#[test]
fn what_a_trace_records_has_the_paths_of_what_was_there() {
    require_root!();
    let _machine = system::the_machine();
    let directory = system::directory();
    let watched = directory.path().canonicalize().unwrap();
    let mut witness = Witness::start();
    witness.hold(&watched, libc::IN_MODIFY);
    let traced = directory.path().join("trace.itrec");
    drop(Agent::unparsed(&["--record", traced.to_str().unwrap()]).stop());
    let recorded = directory.path().join("record.itrec");
    drop(record(&recorded, &[]).stop());
    assert!(has_path(&recorded, &watched), "as `record` tells it");
    assert!(has_path(&traced, &watched), "as `trace --record` does");
}

#[test]
fn a_recording_has_its_end_if_the_greeting_cannot_be_said() {
    require_root!();
    let _machine = system::the_machine();
    let directory = system::directory();
    for (name, before) in [("record", &["record", "-o"][..]), ("trace", &["trace", "--record"])] {
        let file = directory.path().join(name).with_extension("itrec");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(binary());
        let status = command.args(before).arg(&file).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(2), "{name}");
        let report = Command::new(binary()).args(["report", "-f", "text"]).arg(&file).output();
        let report = String::from_utf8(report.unwrap().stdout).unwrap();
        assert!(report.contains("Recorded by") && !report.contains("has no end"), "{report}");
    }
}
