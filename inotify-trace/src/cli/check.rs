//! `inotify-trace check`: the features that this machine supports, and those missing.

use std::{
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use serde_json::json;

use super::{
    EXIT_ERROR,
    agent_state::{self, AgentState},
    format::TextJsonOrCsv,
};
use crate::{
    host::surroundings,
    kernel::{
        Trial,
        probe::{self, Finding, State},
        try_backends,
    },
    output::{Cell, Formulas, Patient, Screen, Tone, wrapped, write_csv},
    serve::protocol::SOCKET,
};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Say how the agent fares that `inotify-trace serve` runs at this socket, instead of what this
    /// machine supports [default: /run/inotify-trace.sock]
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = SOCKET)]
    agent: Option<PathBuf>,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextJsonOrCsv,
}

const EXAMPLES: &str = "\
Examples:
  sudo inotify-trace check                   what this machine supports
  sudo inotify-trace check -o json | jq .backend    the backend that is used
  sudo inotify-trace check --agent           how the agent fares: losses, its recording, its memory

A subject is ok, limited (tracing works, and something is missing), MISSING (tracing cannot
work), or unknown (it cannot be probed). Without --agent, no agent is asked: the question is what
could be done here.

Exit code: 0 if tracing works, or the agent answers; 2 if not.";

/// The column in which details begin.
const DETAIL: usize = 28;

/// What was found out.
#[derive(Default)]
struct Report {
    /// What the agent says, if it is asked.
    agent: Option<AgentState>,
    findings: Vec<Finding>,
    trials: Vec<Trial>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = match &args.agent {
        Some(path) => Report { agent: Some(agent_state::ask(path)?), ..Report::default() },
        None => examine(),
    };
    let mut out = BufWriter::new(Patient::stdout_to_the_end());
    match args.output {
        TextJsonOrCsv::Text => report.write(&mut out)?,
        TextJsonOrCsv::Json => {
            serde_json::to_writer(&mut out, &report.json())?;
            writeln!(out)?;
        }
        TextJsonOrCsv::Csv => report.write_csv(&mut out)?,
    }
    out.flush()?;
    Ok(if report.works() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ERROR) })
}

fn examine() -> Report {
    let missing = |subject, detail| Finding { subject, state: State::Missing, detail };
    if let Err(problem) = surroundings::prepare() {
        let findings = vec![missing("surroundings", problem.to_string())];
        return Report { findings, ..Report::default() };
    }
    let mut report = Report { findings: probe::examine(), ..Report::default() };
    match try_backends() {
        Ok(trials) => report.trials = trials,
        Err(error) => report.findings.push(missing("tracing", error.to_string())),
    }
    report
}

impl Report {
    /// The place of the backend that is used: the first that works.
    fn chosen(&self) -> Option<usize> {
        self.trials.iter().position(|trial| trial.result.is_ok())
    }

    /// What the agent says, or what was found on this machine.
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.agent.iter().flat_map(|it| &it.findings).chain(&self.findings)
    }

    fn works(&self) -> bool {
        self.agent.is_some() || self.chosen().is_some()
    }

    fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        for Finding { subject, state, detail } in self.findings() {
            line(out, subject, *state, detail)?;
        }
        for (at, trial) in self.trials.iter().enumerate() {
            let choice = if Some(at) == self.chosen() { "CHOSEN: " } else { "" };
            let (state, detail) = of_trial(trial);
            line(out, &format!("backend {}", trial.backend), state, &format!("{choice}{detail}"))?;
        }
        if !self.trials.is_empty() && self.chosen().is_none() {
            line(out, "tracing", State::Missing, "no backend works here: see above")?;
        }
        Ok(())
    }

    fn write_csv(&self, out: &mut impl io::Write) -> io::Result<()> {
        let row = |subject: &str, state: State, is_used: bool, detail: &str| {
            let used = Cell::from(is_used.then_some("yes"));
            vec![Cell::from(subject), Cell::from(state.name()), used, Cell::from(detail)]
        };
        let mut rows: Vec<_> =
            self.findings().map(|it| row(it.subject, it.state, false, &it.detail)).collect();
        for (at, trial) in self.trials.iter().enumerate() {
            let (state, detail) = of_trial(trial);
            let subject = format!("backend {}", trial.backend);
            rows.push(row(&subject, state, Some(at) == self.chosen(), &detail));
        }
        let names = ["subject", "state", "used", "detail"];
        write_csv(&rows, out, Some(&names), Formulas::Kept)
    }

    fn json(&self) -> serde_json::Value {
        let finding = |it: &Finding| json!({ "subject": it.subject, "state": it.state.name(), "detail": it.detail });
        let backend = |trial: &Trial| {
            let (state, detail) = of_trial(trial);
            let name = trial.backend.to_string();
            let works = trial.result.is_ok();
            json!({ "backend": name, "works": works, "state": state.name(), "detail": detail })
        };
        let chosen = self.chosen().and_then(|at| self.trials.get(at));
        if let Some(agent) = &self.agent {
            let findings = self.findings().map(finding).collect::<Vec<_>>();
            return json!({ "works": true, "backend": agent.backend, "findings": findings });
        }
        json!({
            "works": chosen.is_some(),
            "backend": chosen.map(|trial| trial.backend.to_string()),
            "findings": self.findings().map(finding).collect::<Vec<_>>(),
            "backends": self.trials.iter().map(backend).collect::<Vec<_>>(),
        })
    }
}

fn of_trial(trial: &Trial) -> (State, String) {
    let unseen = match &trial.result {
        Ok(unseen) => unseen.join(", "),
        Err(error) => return (State::Limited, error.to_string()),
    };
    let meaning = trial.backend.meaning();
    if unseen.is_empty() {
        (State::Good, meaning.to_owned())
    } else {
        (State::Limited, format!("{meaning}; not seen here: {unseen}"))
    }
}

fn line(out: &mut impl io::Write, subject: &str, state: State, detail: &str) -> io::Result<()> {
    let (state, tone) = match state {
        State::Missing => ("MISSING", Tone::Bad),
        state => (state.name(), Tone::Plain),
    };
    let (line, screen) = (format!("{subject:18} {state:8} {detail}"), Screen::of_stdout());
    let line = wrapped(&line, 0).hanging(DETAIL).on(screen.width);
    writeln!(out, "{}", screen.colours.paint(tone, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_what_the_agent_says() {
        let lost =
            Finding { subject: "lost", state: State::Limited, detail: "7 events".to_owned() };
        let agent = AgentState { backend: "kprobe".to_owned(), findings: vec![lost] };
        let report = Report { agent: Some(agent), ..Report::default() };
        let (mut text, mut csv) = (Vec::new(), Vec::new());
        report.write(&mut text).unwrap();
        report.write_csv(&mut csv).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["lost", "limited", "7", "events"]);
        let csv = String::from_utf8(csv).unwrap();
        assert_eq!(csv, "subject,state,used,detail\nlost,limited,,7 events\n");
        assert_eq!(report.json()["findings"][0]["detail"], "7 events");
    }
}
