//! What a hostile process or container does to the agent.

mod files;
pub mod loads;
mod memory;
mod soak;

/// The ceiling of the agent's resident memory in these tests, in KiB, as docs/security.md has it.
const CEILING_KIB: u64 = 128 << 10;
