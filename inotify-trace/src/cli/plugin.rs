//! `limits` as a plugin of monitoring systems: one line, and the exit codes that they expect.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::bail;

use crate::output::{LimitsReport, Patient, PluginStatus, Thresholds, plugin_unknown};

/// Defaults of `--warning` and `--critical`, in percent of a limit.
const WARNING: u32 = 80;
const CRITICAL: u32 = 95;

#[derive(Debug, clap::Args)]
pub(super) struct PluginArgs {
    /// As a plugin for Nagios, Icinga and others: one line with performance data; exit code 0 for
    /// OK, 1 for WARNING, 2 for CRITICAL, 3 for UNKNOWN
    #[arg(long, conflicts_with_all = ["output", "warn", "apply", "watch", "recordings", "pods"])]
    nagios: bool,
    /// As a plugin for node-problem-detector: one line of at most 80 bytes; exit code 0 if there is
    /// no problem, 1 if a user is above --warning, 2 if that is unknown
    #[arg(long, conflicts_with_all = ["nagios", "output", "warn", "apply", "watch", "recordings", "pods"])]
    node_problem_detector: bool,
    /// With --nagios and --node-problem-detector: a user above this percentage of a limit is worth
    /// a warning [default: 80]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=99))]
    warning: Option<u32>,
    /// With --nagios: a user above this percentage of a limit is critical [default: 95]
    #[arg(long, value_name = "PERCENT", requires = "nagios", value_parser = clap::value_parser!(u32).range(0..=99))]
    critical: Option<u32>,
}

/// A monitoring system with a contract of its own.
#[derive(Clone, Copy)]
enum Contract {
    Nagios,
    NodeProblemDetector,
}

impl PluginArgs {
    fn contract(&self) -> anyhow::Result<Option<Contract>> {
        Ok(match (self.nagios, self.node_problem_detector) {
            (true, _) => Some(Contract::Nagios),
            (_, true) => Some(Contract::NodeProblemDetector),
            _ if self.warning.is_some() => {
                bail!(
                    "--warning goes with --nagios or --node-problem-detector; elsewhere use --warn"
                )
            }
            _ => None,
        })
    }

    /// Answers as a plugin, if it is asked to: also if there is no report, since plugins tell of that
    /// on standard output, and by a code of their own. None otherwise.
    pub(super) fn answer(
        &self,
        report: impl FnOnce() -> anyhow::Result<LimitsReport>,
    ) -> anyhow::Result<Option<ExitCode>> {
        let Some(contract) = self.contract()? else { return Ok(None) };
        let warning = self.warning.unwrap_or(WARNING);
        let critical = match contract {
            Contract::Nagios => self.critical.unwrap_or(CRITICAL.max(warning)),
            // It knows problems of one kind only.
            Contract::NodeProblemDetector => warning,
        };
        let has_data = matches!(contract, Contract::Nagios);
        let (status, line) = if critical < warning {
            let why = format!("--critical {critical} is below --warning {warning}");
            (PluginStatus::Unknown, plugin_unknown(&why))
        } else {
            match report() {
                Ok(report) => report.plugin(Thresholds { warning, critical }, has_data),
                Err(error) => (PluginStatus::Unknown, plugin_unknown(&format!("{error:#}"))),
            }
        };
        print(&line)?;
        Ok(Some(ExitCode::from(contract.code(status))))
    }
}

impl Contract {
    fn code(self, status: PluginStatus) -> u8 {
        match (self, status) {
            (_, PluginStatus::Ok) => 0,
            (Self::Nagios, PluginStatus::Critical)
            | (Self::NodeProblemDetector, PluginStatus::Unknown) => 2,
            (Self::Nagios, PluginStatus::Unknown) => 3,
            (Self::Nagios, PluginStatus::Warning) | (Self::NodeProblemDetector, _) => 1,
        }
    }
}

/// Says what is wrong with a command line, or the help that it asks for; ends with the exit code. For
/// Nagios, the usual one of errors is CRITICAL: a plugin says UNKNOWN.
pub(super) fn refuse(error: &clap::Error) -> ExitCode {
    // If it cannot be said, the code says it.
    let _ = error.print();
    let is_plugin = std::env::args_os().any(|it| it == "--nagios");
    if !error.use_stderr() || !is_plugin {
        return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let _ = print(&plugin_unknown(first.trim_start_matches("error: ")));
    ExitCode::from(Contract::Nagios.code(PluginStatus::Unknown))
}

fn print(line: &str) -> io::Result<()> {
    Patient::stdout_to_the_end().write_all(format!("{line}\n").as_bytes())
}
