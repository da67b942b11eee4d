//! Formats of output that several commands have.

use anyhow::bail;
use clap::ValueEnum;

use crate::output::Formulas;

/// For people, or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TextOrJson {
    /// Lines for people, on a terminal as wide as that is
    #[default]
    #[value(alias = "table")]
    Text,
    /// JSON for programs
    Json,
}

/// For people, programs or spreadsheets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum TextJsonOrCsv {
    /// Lines for people, on a terminal as wide as that is
    #[default]
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
    /// Comma-separated values, a row for each subject or user
    Csv,
}

/// For whom CSV is.
#[derive(Debug, clap::Args)]
pub(super) struct CsvArgs {
    /// With csv, for a spreadsheet: put an apostrophe before texts that begin with =, +, -, @, a tab
    /// or a line end, since a spreadsheet would run them as formulas
    #[arg(long)]
    csv_safe: bool,
}

impl CsvArgs {
    /// Fails if there is no CSV to make safe.
    pub(super) fn check(&self, is_csv: bool) -> anyhow::Result<()> {
        if self.csv_safe && !is_csv {
            bail!("--csv-safe is for the format csv");
        }
        Ok(())
    }

    pub(super) fn formulas(&self) -> Formulas {
        if self.csv_safe { Formulas::Quoted } else { Formulas::Kept }
    }
}
