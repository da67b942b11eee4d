//! Misses: program runs that the kernel skipped because another program was running.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use aya::Ebpf;

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const GET_INFO: libc::c_long = 15;

/// The offset of `recursion_misses` in `struct bpf_prog_info` (Linux 5.12), in 64-bit words. Before it
/// are the time of all runs in nanoseconds, and their number.
const MISSES: usize = 26;

/// What the kernel counts of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The time of its runs in nanoseconds, while that was measured.
    pub run_time: u64,
    /// The number of runs that were measured.
    pub runs: u64,
    /// Runs that the kernel skipped; None if it does not count them.
    pub misses: Option<u64>,
}

/// The part of `union bpf_attr` for this command.
#[repr(C)]
struct Query {
    fd: u32,
    length: u32,
    info: u64,
}

/// The misses of all programs since they were loaded. Linux 5.12 counts those of trampolines, 6.7
/// those of kprobes and system call tracepoints; older kernels don't count them.
pub(super) fn count(ebpf: &Ebpf) -> u64 {
    let programs = ebpf.programs().filter_map(|(_, program)| program.fd().ok());
    programs.map(|fd| of_program(fd.as_fd())).sum()
}

/// The misses of one program; 0 if the kernel does not count them.
fn of_program(fd: BorrowedFd<'_>) -> u64 {
    figures(fd).and_then(|it| it.misses).unwrap_or_default()
}

/// What the kernel counts of a program; None if it does not tell.
pub(super) fn figures(fd: BorrowedFd<'_>) -> Option<Figures> {
    let mut info = [0_u64; MISSES + 1];
    let mut query = Query {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes to `info`, and its new length to the query;
    // both live until the call returns.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut query, size_of::<Query>()) };
    let has_misses = query.length as usize >= size_of_val(&info);
    (result == 0).then(|| Figures {
        run_time: info[MISSES - 2],
        runs: info[MISSES - 1],
        misses: has_misses.then(|| info[MISSES]),
    })
}
