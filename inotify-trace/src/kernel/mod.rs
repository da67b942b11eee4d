//! The kernel side: probes the kernel's features, loads and attaches the programs, and reads their
//! records. The only module that uses aya.

pub mod layout;
mod links;
pub mod probe;

mod ahead;
mod ask;
mod backend;
mod error;
mod functions;
mod iterate;
mod loader;
mod meter;
mod misses;
mod programs;
mod records;
mod tracefs;
mod trial;
mod untyped;
mod window;

pub use ask::{Asker, InstanceAddress, copy};
pub use backend::Backend;
pub use error::KernelError;
pub use iterate::Iteration;
pub use meter::{Meter, measure_programs};
pub use misses::Figures;
pub use programs::{Capacity, Programs, Settings};
pub use records::{RawEvent, decode};
pub use trial::{Trial, try_backends};
