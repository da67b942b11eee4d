//! What this machine says of itself: its clocks, its users, and what procfs, cgroupfs and container
//! runtimes know. What the kernel programs say comes through `kernel`.

pub mod cgroup;
mod machine;
pub mod procfs;
pub mod runtimes;
mod users;

pub use machine::{clock, header, now};
pub use users::users;
