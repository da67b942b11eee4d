//! The agent that runs all the time: what it serves to others.
//!
//! The event loop is the only one that touches the state. It renders a page of metrics when one is
//! wanted, at most once a second; a thread of its own hands that page to whoever asks. So a client, be
//! it slow or hostile, never delays the ring buffer.

#[cfg(feature = "parquet")]
pub mod export;
#[cfg(not(feature = "parquet"))]
#[path = "export_off.rs"]
pub mod export;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod protocol;
mod shared;
pub mod socket;
pub mod systemd;

pub use listen::Listen;
pub use shared::{Asked, Page, Shared};
