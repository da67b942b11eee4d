//! Prints a report on the limits.

use std::io::{self, BufWriter, Write as _};

use super::Args;
use crate::{
    cli::{format::TextJsonOrCsv, past::Past},
    output::{LimitsReport, Patient, Screen},
};

/// Prints the report of a recorded machine, with its name and the moment.
pub(super) fn print_past(
    args: &Args,
    report: &LimitsReport,
    past: &Past,
    is_first: bool,
) -> io::Result<()> {
    let mut out = BufWriter::new(Patient::stdout_to_the_end());
    match args.output {
        TextJsonOrCsv::Json => {
            let mut object = report.json();
            past.name_in(&mut object);
            serde_json::to_writer(&mut out, &object)?;
            writeln!(out)?;
        }
        TextJsonOrCsv::Csv => {
            let node = past.is_one_of_several.then_some(past.name.as_str());
            let formulas = args.csv.formulas();
            report.write_csv(&mut out, node, is_first, formulas)?;
        }
        TextJsonOrCsv::Text => {
            if past.is_one_of_several {
                writeln!(out, "{}\n", past.heading())?;
            }
            report.write(&mut out, Screen::of_stdout())?;
            if past.is_one_of_several {
                writeln!(out)?;
            }
        }
    }
    out.flush()
}

pub(super) fn print(
    args: &Args,
    report: &LimitsReport,
    out: Patient<io::Stdout>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match args.output {
        TextJsonOrCsv::Json => {
            serde_json::to_writer(&mut out, &report.json())?;
            writeln!(out)?;
        }
        TextJsonOrCsv::Csv => {
            report.write_csv(&mut out, None, true, args.csv.formulas())?;
        }
        TextJsonOrCsv::Text => report.write(&mut out, Screen::of_stdout())?,
    }
    out.flush()
}
