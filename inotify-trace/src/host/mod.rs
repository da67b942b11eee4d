//! The host without the kernel programs: clocks, users, procfs, cgroupfs and container runtimes.

pub mod cgroup;
mod confined;
mod machine;
pub mod privileges;
pub mod procfs;
pub mod runtimes;
pub mod surroundings;
mod users;

pub use machine::{clock, header, now, open_files};
pub use users::users;
