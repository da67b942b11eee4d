//! The host without the kernel programs: clocks, users, procfs, cgroupfs and container runtimes.

pub mod cgroup;
mod machine;
pub mod privileges;
pub mod procfs;
pub mod runtimes;
mod users;

pub use machine::{OpenFiles, clock, header, now};
pub use users::users;
