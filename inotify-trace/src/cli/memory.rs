//! The option that bounds the memory of the state.

use super::units::memory_size;

#[derive(Debug, clap::Args)]
pub(super) struct Memory {
    /// Most memory for instances, watches and cgroups, such as 64M; beyond it the oldest are
    /// forgotten, and counted as lost; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value = "128M", value_parser = memory_size, hide_short_help = true)]
    memory: usize,
}

impl Memory {
    /// The most bytes; None for no limit.
    pub(super) fn ceiling(&self) -> Option<usize> {
        (self.memory > 0).then_some(self.memory)
    }
}
