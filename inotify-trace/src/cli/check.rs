//! `inotify-trace check`: the features that this machine supports, and those missing.

use std::{io, process::ExitCode};

use super::EXIT_ERROR;
use crate::{
    host::surroundings,
    kernel::{
        Trial,
        probe::{self, Finding, State},
        try_backends,
    },
};

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if let Err(problem) = surroundings::prepare() {
        line(&mut out, "surroundings", State::Missing, &problem.to_string())?;
        return Ok(ExitCode::from(EXIT_ERROR));
    }
    let findings = probe::examine();
    for Finding { subject, state, detail } in &findings {
        line(&mut out, subject, *state, detail)?;
    }
    let trials = match try_backends() {
        Ok(trials) => trials,
        Err(error) => {
            line(&mut out, "tracing", State::Missing, &error.to_string())?;
            return Ok(ExitCode::from(EXIT_ERROR));
        }
    };
    let mut is_chosen = false;
    for Trial { backend, result } in trials {
        let subject = format!("backend {backend}");
        match result {
            Ok(unseen) => {
                let choice = if is_chosen { "" } else { "CHOSEN: " };
                is_chosen = true;
                let meaning = backend.meaning();
                let (state, unseen) = match unseen.join(", ") {
                    nothing if nothing.is_empty() => (State::Good, nothing),
                    unseen => (State::Limited, format!("; not seen here: {unseen}")),
                };
                line(&mut out, &subject, state, &format!("{choice}{meaning}{unseen}"))?;
            }
            Err(error) => line(&mut out, &subject, State::Limited, &error.to_string())?,
        }
    }
    if !is_chosen {
        line(&mut out, "tracing", State::Missing, "no backend works here: see above")?;
        return Ok(ExitCode::from(EXIT_ERROR));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(out: &mut impl io::Write, subject: &str, state: State, detail: &str) -> io::Result<()> {
    let state = match state {
        State::Good => "ok",
        State::Limited => "limited",
        State::Missing => "MISSING",
    };
    writeln!(out, "{subject:18} {state:8} {detail}")
}
