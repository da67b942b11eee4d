//! Compares replays on this machine with the output of the machine that recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::truth::Pod;
use super::verdict::verdicts;
use xtask::step;

/// The kinds of event that the traces of pods show, as in the machine's script.
const EVENTS: &str = "found,watch-found,create,create-failed,watch,watch-failed,unwatch,close,\
    release,cgroup-create,cgroup-remove,container-name,shim,exit,lost";

/// The errors in the recording of a pod's trace: its replay must equal the live output byte for
/// byte, and show the same leaks.
pub fn of_pod(agent: &Path, files: &Path, pod: &Pod, leaks: usize) -> Result<Vec<String>> {
    let name = format!("trace-{}", pod.backend);
    let mut problems = difference(agent, files, &name, &["-e", EVENTS])?;
    let told = verdicts(&leaks_of(agent, &recording(files, &name))?, pod.shim)?;
    let told: usize = told.iter().map(|verdict| verdict.instances).sum();
    if told != leaks {
        problems.push(format!("leaked by the recording: {told} instead of {leaks}"));
    }
    Ok(problems)
}

/// What `leaks` says of the recording of the pod whose app ends at once, and the errors of its
/// replay.
pub fn of_instant(agent: &Path, files: &Path) -> Result<(String, Vec<String>)> {
    let name = "trace-instant";
    let problems = difference(agent, files, name, &["-e", EVENTS])?;
    Ok((leaks_of(agent, &recording(files, name))?, problems))
}

/// The output of `leaks` for a recording. The exit code says whether anything leaks, and so does
/// the text.
fn leaks_of(agent: &Path, recording: &Path) -> Result<String> {
    let mut command = Command::new(agent);
    command.args(["leaks", "-o", "json", "--recording"]).arg(recording);
    let output = command.output().with_context(|| step::shown(&command))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The same errors for the trace that runs all along, which shows verdicts too.
pub fn of_onlooker(agent: &Path, files: &Path) -> Result<Vec<String>> {
    difference(agent, files, "trace", &["-c", "containerd-shim"])
}

fn recording(files: &Path, name: &str) -> PathBuf {
    files.join(format!("{name}.itrec"))
}

/// The differences between the replay of a recording and the live output.
fn difference(agent: &Path, files: &Path, name: &str, view: &[&str]) -> Result<Vec<String>> {
    let live = fs::read(files.join(format!("{name}.json")))
        .with_context(|| format!("the machine left no {name}.json"))?;
    let mut command = Command::new(agent);
    command.arg("replay").arg(recording(files, name)).args(["-o", "json"]).args(view);
    let output = command.output().with_context(|| step::shown(&command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(vec![format!("the recording of {name} can't be replayed: {}", said.trim())]);
    }
    if output.stdout == live {
        return Ok(Vec::new());
    }
    let (told, live) = (lines(&output.stdout), lines(&live));
    let at = told.iter().zip(&live).take_while(|(told, live)| told == live).count();
    let shown = |lines: &[&[u8]]| match lines.get(at) {
        Some(line) => String::from_utf8_lossy(line).into_owned(),
        None => "the end".to_owned(),
    };
    Ok(vec![format!(
        "line {} of the replay of {name} is {}, and was {}",
        at + 1,
        shown(&told),
        shown(&live)
    )])
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|&byte| byte == b'\n').collect()
}
