//! The parts of live tests and command-line tests: the agent under test, processes that execute
//! commands, and the expected events.
//!
//! A [`World`] sends commands to processes, notes the kernel's results, and derives from them alone
//! the events of a correct agent. Nothing in this crate depends on how the agent works.

pub mod actor;
pub mod agent;
#[cfg(target_arch = "aarch64")]
pub mod arm32;
pub mod backend;
pub mod cgroup;
#[cfg(target_arch = "x86_64")]
pub mod compat;
pub mod expected;
pub mod fuse;
pub mod hostile;
mod keep;
pub mod leftovers;
pub mod listing;
pub mod live;
pub mod peak;
pub mod process;
pub mod subject;
pub mod system;
pub mod wait;
pub mod world;

pub use agent::{Agent, Run};
pub use backend::Backend;
pub use cgroup::Cgroup;
pub use inotify_trace_test_macros::live_test;
pub use listing::Listing;
pub use process::Process;
pub use subject::Subject;
pub use world::World;
