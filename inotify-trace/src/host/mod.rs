//! The host without the kernel programs: clocks, users, procfs, cgroupfs and container runtimes.

pub mod cgroup;
pub mod confined;
pub mod helper;
mod machine;
pub mod privileges;
pub mod procfs;
mod root;
pub mod runtimes;
pub mod surroundings;
mod targets;
mod users;

pub use machine::{OpenFiles, clock, header, host_name, now};
pub use root::{root, set_root};
pub use targets::{Targets, Whereabouts};
pub use users::users;
