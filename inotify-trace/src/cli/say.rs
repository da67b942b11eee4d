//! Messages for the user, on standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

use crate::output::printable_lines;

/// Prints a message with an end of line. It may have names of containers, files and recordings, so
/// it is made harmless for a terminal.
pub(super) fn say(message: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{}", printable_lines(&message.to_string()))
}
