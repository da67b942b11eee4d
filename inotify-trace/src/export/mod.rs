//! Recordings in the formats of other tools: lines of JSON or CSV, Parquet, Perfetto's traces.
//!
//! docs/export.md describes what is written. As everywhere, the tracker has taken in an event
//! before it is shown, so that a row tells what was known then.

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
    file::Output,
    json::JsonLines,
    perfetto::Perfetto,
    row::{Flat, Rows},
};

use inotify_trace_model::story::Audience;

use crate::{
    output::{Context, Run, UserNames},
    recording::Header,
};

/// Writes runs in a format: an audience of each run, one after the other.
pub trait Exporter: Audience<Error = ExportError> {
    /// A run begins.
    ///
    /// # Errors
    /// If what came before cannot be written.
    fn begin(&mut self, header: &Header) -> Result<(), ExportError>;

    /// There are no more runs: what was written gets its name.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// What all that is written of a run has.
fn context(header: &Header) -> Context {
    Context {
        clock: header.clock(),
        users: UserNames::from_map(header.users.clone()),
        run: Some(Run {
            node: header.host.clone(),
            boot_id: header.boot_id.clone(),
            id: format!("{:016x}", header.run),
        }),
    }
}
