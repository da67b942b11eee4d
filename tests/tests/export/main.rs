//! Exports, compared with recordings of made-up machines and read by the programs they are made
//! for.

mod fleet;
mod formats;
mod made;
mod memory;
mod perfetto;
mod sbom;
mod simulated;
mod trouble;

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use inotify_trace_tests::{agent::binary, system};
use serde_json::Value;

/// The variable with the path of a Python that has the packages of requirements.txt; `cargo xtask
/// test` sets it.
const PYTHON: &str = "INOTIFY_TRACE_PYTHON";

/// The Python with the packages that read exports. Prints a warning and returns None without it.
fn python(test: &str) -> Option<PathBuf> {
    let python = std::env::var_os(PYTHON).map(PathBuf::from);
    if python.is_none() {
        let why = "tests/requirements.txt is not installed: `cargo xtask test` does that";
        system::skip(test, why);
    }
    python
}

/// Runs a Python program with `input`, and returns its output.
fn answer(python: &Path, program: &str, directory: &Path, input: &Value) -> Value {
    let mut child = Command::new(python)
        .args(["-c", program])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python must start");
    child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("an answer");
    assert!(output.status.success(), "the Python program failed");
    serde_json::from_slice(&output.stdout).expect("an answer in JSON")
}

fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the agent must start")
}

/// Runs `export`, which must succeed.
fn export(files: &[PathBuf], arguments: &[&str]) -> Vec<u8> {
    let files = files.iter().map(|it| it.as_os_str());
    let output = run([OsStr::new("export")]
        .into_iter()
        .chain(files)
        .chain(arguments.iter().map(|it| OsStr::new(*it))));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
