//! What the project's tasks are made of: setting up, building, and telling the user about it.
//! `testbed` and `bench` use it too.

pub mod agent;
pub mod apt;
pub mod architecture;
pub mod bench;
pub mod deny;
pub mod dist;
pub mod environment;
pub mod fuzz;
pub mod image;
pub mod kernel;
pub mod kubernetes;
mod linker;
pub mod lint;
mod object;
pub mod packages;
mod paths;
pub mod privilege;
pub mod programs;
pub mod python;
pub mod sbom;
pub mod step;
pub mod testbed;
mod tool;
mod toolchain;
pub mod vm;
pub mod workspace;
