//! Where events come from.

mod live;
mod reader;
mod snapshot;
mod sweep;

pub use live::Live;
