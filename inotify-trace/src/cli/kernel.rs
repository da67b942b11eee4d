//! How to hook inotify, and how much to say about it.

use super::choice::one_of;
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
    /// Size of the ring buffer between kernel and agent, as in 8M: larger survives longer storms
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

/// A power of two, which ring buffers need, of at least a page.
fn buffer_size(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.trim_end_matches(['K', 'k', 'M', 'm']) {
        number if number.len() == text.len() => (number, 1),
        number if text.ends_with(['K', 'k']) => (number, 1 << 10),
        number => (number, 1 << 20),
    };
    number
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|size| size.is_power_of_two() && (64 << 10..=1 << 30).contains(size))
        .ok_or_else(|| "must be a power of two from 64K to 1024M".to_owned())
}
