//! What the live tests and the command-line tests are made of: the agent under test, processes
//! that do exactly what they are told, and the truth about it.
//!
//! A [`World`] tells processes what to do, takes down what the kernel answered, and from that
//! alone derives which events a correct agent reports. Nothing here looks at how the agent works.

pub mod actor;
pub mod agent;
pub mod backend;
pub mod cgroup;
#[cfg(target_arch = "x86_64")]
pub mod compat;
pub mod expected;
mod keep;
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
