//! Messages for the user, on standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

use crate::output::{Patient, printable_lines};

/// Prints a message with an end of line. It may have names of containers, files and recordings, so
/// it is made harmless for a terminal.
pub(super) fn say(message: fmt::Arguments<'_>) -> io::Result<()> {
    // In one write, so that lines of programs that share it do not mix.
    Patient::stderr().write_all(format!("{}\n", printable_lines(&message.to_string())).as_bytes())
}
