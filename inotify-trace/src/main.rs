//! The `inotify-trace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    inotify_trace::host::helper::main().unwrap_or_else(inotify_trace::cli::main)
}
