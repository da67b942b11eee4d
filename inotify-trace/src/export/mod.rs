//! Recordings in the formats of other tools: lines of JSON or CSV, Parquet, Perfetto's traces.
//!
//! docs/export.md describes the output. As everywhere, the tracker takes in an event before the
//! event is shown, so that its row has everything known at that time.

mod csv;
mod error;
mod file;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod perfetto;
mod row;

#[cfg(feature = "parquet")]
pub use self::parquet::{Parquet, Partitioned};
pub use self::{
    csv::Csv,
    error::ExportError,
    file::{Existing, Output},
    json::JsonLines,
    perfetto::Perfetto,
    row::{Flat, Rows},
};

use inotify_trace_model::story::Audience;

use crate::{
    output::{Context, Run, UserNames},
    recording::Header,
};

/// Writes runs in a format, as the audience of one run after the other.
pub trait Exporter: Audience<Error = ExportError> {
    /// Begins a run.
    ///
    /// # Errors
    /// If the rows before cannot be written.
    fn begin(&mut self, header: &Header) -> Result<(), ExportError>;

    /// Ends the export after the last run: a file gets its name.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// The context of all records of a run.
pub(crate) fn context(header: &Header) -> Context {
    Context {
        clock: header.clock(),
        users: UserNames::from_map(header.users.clone()),
        run: Some(Run {
            node: header.host.clone(),
            machine: header.machine.clone(),
            boot_id: header.boot_id.clone(),
            id: format!("{:016x}", header.run),
        }),
    }
}
