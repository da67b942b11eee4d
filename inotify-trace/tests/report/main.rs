//! `inotify-trace report`: made recordings whose truth is known, read by the program itself, and
//! looked at by a real browser.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

mod browser;
mod facts;
mod made;
mod page;

use std::{
    path::Path,
    process::{Command, Output},
};

/// Runs the command, with the clocks of the machines that were recorded.
fn report(files: &[&Path], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inotify-trace"));
    command.arg("report").args(files).args(arguments).env("TZ", "UTC").output().unwrap()
}

/// What it wrote, which must have gone well.
fn written(output: &Output) -> &str {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    std::str::from_utf8(&output.stdout).unwrap()
}
