//! `inotify-trace check`: what this machine allows, and what is missing.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::EXIT_ERROR;
use crate::kernel::{
    Programs, Settings,
    probe::{self, Finding, State},
};

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let findings = probe::examine();
    let backend = try_backend()?;
    let mut out = io::stdout().lock();
    for Finding { subject, state, detail } in &findings {
        let state = match state {
            State::Good => "ok",
            State::Limited => "limited",
            State::Missing => "MISSING",
        };
        writeln!(out, "{subject:14} {state:8} {detail}")?;
    }
    let code = match backend {
        Ok(backend) => {
            writeln!(out, "{:14} {:8} {backend}", "backend", "ok")?;
            ExitCode::SUCCESS
        }
        Err(error) => {
            writeln!(out, "{:14} {:8} {error}", "backend", "MISSING")?;
            ExitCode::from(EXIT_ERROR)
        }
    };
    Ok(code)
}

/// Loads and attaches for real: nothing less proves that it works. What it says for a line.
fn try_backend() -> anyhow::Result<Result<String, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    Ok(Programs::attach(Settings::default())
        .map(|programs| {
            format!(
                "{} (loaded, attached and detached): costs every system call a few nanoseconds; \
                 ends by exit or exec are noticed within milliseconds",
                programs.backend()
            )
        })
        .map_err(|error| error.to_string()))
}
