//! Types shared by the kernel programs and the agent: the records in the ring buffer, and the
//! configuration that is fixed when the programs are loaded.
//!
//! Plain data without dependencies. The two sides are compiled by different compilers for
//! different targets, so everything here is `repr(C)` and free of implicit padding.
#![no_std]

pub mod layout;
pub mod record;

pub use layout::{ABSENT, Layout};
pub use record::{Kind, Quota, Record};
