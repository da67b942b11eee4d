//! Kernel programs of inotify-trace.
//!
//! `hooks` holds the programs, one file for each place of the kernel they attach to. They only
//! say *when* something happens; *what* happened is read and sent by the modules beside it,
//! which every backend shares.
#![no_std]
#![no_main]

mod call;
mod cgroup;
mod emit;
mod function;
mod hooks;
mod inotify;
mod instance;
mod maps;
mod quota;
mod read;
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
