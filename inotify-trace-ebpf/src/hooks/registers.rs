//! Arguments of system calls in the registers of the task that made them.

use crate::{call::Call, read::value};

/// Offsets in `struct pt_regs` of the first three arguments of a 64-bit system call.
#[cfg(any(bpf_target_arch = "x86_64", not(bpf_target_arch = "aarch64")))]
const NATIVE: [u32; 3] = [112, 104, 96];
#[cfg(bpf_target_arch = "aarch64")]
const NATIVE: [u32; 3] = [0, 8, 16];

/// Offsets of the first three arguments of a 32-bit system call: ebx, ecx and edx on x86.
#[cfg(any(bpf_target_arch = "x86_64", not(bpf_target_arch = "aarch64")))]
const COMPAT: [u32; 3] = [40, 88, 96];
#[cfg(bpf_target_arch = "aarch64")]
const COMPAT: [u32; 3] = NATIVE;

/// How a system call passes its arguments.
#[derive(Clone, Copy)]
pub(super) enum Convention {
    /// Of 64-bit programs.
    Native,
    /// Of 32-bit programs, in the lower halves of registers.
    Compat,
}

/// The `n`th argument of a call whose registers are at `registers`.
#[inline(always)]
fn argument(registers: u64, convention: Convention, n: usize) -> u64 {
    match convention {
        Convention::Native => value(registers, NATIVE[n]),
        Convention::Compat => u64::from(value::<u32>(registers, COMPAT[n])),
    }
}

/// `inotify_add_watch(int fd, const char *pathname, u32 mask)`.
#[inline(always)]
pub(super) fn add_watch(registers: u64, convention: Convention) -> Call {
    Call {
        fd: argument(registers, convention, 0) as i32,
        path: argument(registers, convention, 1),
        mask: argument(registers, convention, 2) as u32,
        ..Call::EMPTY
    }
}

/// `inotify_rm_watch(int fd, __s32 wd)`.
#[inline(always)]
pub(super) fn rm_watch(registers: u64, convention: Convention) -> Call {
    Call {
        fd: argument(registers, convention, 0) as i32,
        wd: argument(registers, convention, 1) as i32,
        ..Call::EMPTY
    }
}
