//! The `inotify-trace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    inotify_trace::cli::main()
}
