//! `inotify-trace report` on made-up recordings: the program reads them, and a real browser shows
//! the pages.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

mod browser;
mod facts;
mod made;
mod page;

use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs `report` in UTC, the time zone of the recorded machines.
fn report(files: &[&Path], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inotify-trace"));
    command.arg("report").args(files).args(arguments).env("TZ", "UTC").output().unwrap()
}

/// The output of a successful run.
fn written(output: &Output) -> &str {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    std::str::from_utf8(&output.stdout).unwrap()
}
