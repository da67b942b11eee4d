//! How to hook inotify, and how much to say about it.

use super::{choice::one_of, units::buffer_size};
use crate::kernel::{Backend, Settings};

/// How to hook inotify.
#[derive(Debug, clap::Args)]
pub(super) struct KernelArgs {
    /// How to hook inotify [default: the best that this kernel allows]
    #[arg(long, value_parser = one_of::<Backend>(), value_name = "BACKEND")]
    backend: Option<Backend>,
    /// Look for what exists in /proc, even if the kernel has BPF iterators
    #[arg(long, hide_short_help = true)]
    walk_proc: bool,
    /// Size of the ring buffer between kernel and agent, a power of two from 64K to 1G: larger
    /// survives longer storms
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

/// Says on standard error what goes on, as much as is asked for.
pub(super) fn log_at(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Trace,
    };
    // aya passes on what the verifier says of the object's debug information, which is long and
    // of use to nobody but developers.
    let libraries = if verbose > 1 { log::LevelFilter::Debug } else { log::LevelFilter::Error };
    env_logger::Builder::new().filter_level(level).filter_module("aya", libraries).init();
}
