//! Threads of the agent.

use std::{io, thread};

/// Bytes of a thread's stack, whatever RUST_MIN_STACK says: the environment may come from others.
pub(crate) const STACK: usize = 2 << 20;

/// Starts a thread.
///
/// # Errors
/// If the system has no room for one.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}
