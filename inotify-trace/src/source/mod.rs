//! Where events come from.

mod live;
mod sweep;

pub use live::Live;
