//! Options of the backend, and logging.

use super::{choice::one_of, units::buffer_size};
use crate::kernel::{Backend, Settings};

#[derive(Debug, clap::Args)]
pub(super) struct KernelArgs {
    /// Backend that hooks inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND")]
    backend: Option<Backend>,
    /// Find existing instances through /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    /// Size of the ring buffer between kernel and agent, a power of two from 64K to 1G; a larger
    /// buffer holds longer bursts of events
    #[arg(long, value_name = "SIZE", default_value = "4M", value_parser = buffer_size)]
    buffer: u32,
}

impl KernelArgs {
    pub(super) fn settings(&self, verbose: u8) -> Settings {
        Settings {
            buffer: self.buffer,
            diagnostics: verbose > 0,
            backend: self.backend,
            walk_proc: self.walk_proc,
        }
    }
}

/// Logs to standard error, in the detail that `verbose` asks for.
pub(super) fn log_at(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Trace,
    };
    // aya logs the verifier's output on the object's BTF, which is long and useful to developers
    // only.
    let libraries = if verbose > 1 { log::LevelFilter::Debug } else { log::LevelFilter::Error };
    env_logger::Builder::new().filter_level(level).filter_module("aya", libraries).init();
}
