//! What the project's tasks are made of: setting up, building, and telling the user about it.
//! `bench` uses it too.

pub mod agent;
pub mod apt;
pub mod bench;
mod environment;
pub mod fuzz;
pub mod kernel;
mod linker;
pub mod lint;
mod object;
pub mod privilege;
mod python;
pub mod step;
pub mod test;
mod tool;
mod toolchain;
pub mod vm;
pub mod workspace;
