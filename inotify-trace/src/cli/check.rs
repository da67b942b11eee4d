//! `inotify-trace check`: what this machine allows, and what is missing.

use std::{
    io,
    process::ExitCode,
};

use super::EXIT_ERROR;
use crate::kernel::{
    Backend, Programs, Settings,
    probe::{self, Finding, State},
};

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let findings = probe::examine();
    // Loading and attaching for real: nothing less proves that it works.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut out = io::stdout().lock();
    for Finding { subject, state, detail } in &findings {
        line(&mut out, subject, *state, detail)?;
    }
    let mut chosen = None;
    for backend in Backend::ALL {
        let subject = format!("backend {backend}");
        match Programs::attach_as(backend, Settings::default()) {
            Ok(programs) => {
                let unseen = programs.unseen();
                let choice = if chosen.is_none() { "CHOSEN: " } else { "" };
                let mut detail = format!("{choice}{}", backend.meaning());
                if !unseen.is_empty() {
                    detail += &format!("; not seen here: {}", unseen.join(", "));
                }
                let state = if unseen.is_empty() { State::Good } else { State::Limited };
                line(&mut out, &subject, state, &detail)?;
                chosen = chosen.or(Some(backend));
            }
            Err(error) => line(&mut out, &subject, State::Limited, &error.to_string())?,
        }
    }
    match chosen {
        Some(_) => Ok(ExitCode::SUCCESS),
        None => {
            line(&mut out, "tracing", State::Missing, "no backend works here: see above")?;
            Ok(ExitCode::from(EXIT_ERROR))
        }
    }
}

fn line(out: &mut impl io::Write, subject: &str, state: State, detail: &str) -> io::Result<()> {
    let state = match state {
        State::Good => "ok",
        State::Limited => "limited",
        State::Missing => "MISSING",
    };
    writeln!(out, "{subject:18} {state:8} {detail}")
}
