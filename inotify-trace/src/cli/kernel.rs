//! Options of the backend, and logging.

use super::{choice::one_of, memory::Memory, units::buffer_size};
use crate::kernel::{Backend, Capacity, Settings};

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
    #[command(flatten)]
    pub(super) memory: Memory,
    /// Entries of a map of the kernel programs, to try what happens when it is full: `holders=8`,
    /// `calls=8` or `payers=8`
    #[arg(long, value_name = "MAP=ENTRIES", value_parser = capacity, hide = true)]
    capacity: Vec<(Map, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Map {
    Holders,
    Calls,
    Payers,
}

fn capacity(text: &str) -> Result<(Map, u32), String> {
    let usage = || "must be holders=N, calls=N or payers=N".to_owned();
    let (map, entries) = text.split_once('=').ok_or_else(usage)?;
    let map = match map {
        "holders" => Map::Holders,
        "calls" => Map::Calls,
        "payers" => Map::Payers,
        _ => return Err(usage()),
    };
    let entries = entries.parse().ok().filter(|entries| (1..=1 << 20).contains(entries));
    Ok((map, entries.ok_or_else(usage)?))
}

impl KernelArgs {
    pub(super) fn settings(&self, verbose: u8) -> Settings {
        Settings {
            buffer: self.buffer,
            diagnostics: verbose > 0,
            backend: self.backend,
            walk_proc: self.walk_proc,
            capacity: self.capacity(),
        }
    }

    fn capacity(&self) -> Capacity {
        let mut all = Capacity::default();
        for &(map, entries) in &self.capacity {
            match map {
                Map::Holders => all.holders = entries,
                Map::Calls => all.calls = entries,
                Map::Payers => all.payers = entries,
            }
        }
        all
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
