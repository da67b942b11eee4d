//! The kernel side: what this kernel offers, loading and attaching the programs, and reading what
//! they say. The only module that knows aya.

pub mod layout;
pub mod probe;

mod ask;
mod backend;
mod error;
mod iterate;
mod loader;
mod misses;
mod programs;
mod records;
mod tracefs;
mod window;

pub use ask::{Asker, InstanceAddress, copy};
pub use backend::Backend;
pub use error::KernelError;
pub use iterate::Iteration;
pub use programs::{Programs, Settings};
pub use records::{RawEvent, decode};
