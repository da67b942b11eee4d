//! Kernel programs of inotify-trace.
//!
//! `hooks` holds the programs, one file for each kind of hook. They decide *when* to record; the
//! modules beside it, shared by all backends, read and send *what* to record.
#![no_std]
#![no_main]

mod call;
mod cgroup;
mod descriptors;
mod emit;
mod function;
mod hooks;
mod inotify;
mod instance;
mod maps;
mod queue;
mod quota;
mod read;
mod share;
mod target;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Unreachable: nothing in this crate can panic, or it would not pass the verifier.
    loop {}
}

/// Asks the kernel for its GPL-only helpers, such as reading kernel memory.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
