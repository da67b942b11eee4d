//! The memory use of a program.

use std::{
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus},
    ptr,
};

/// Runs a program. Returns its peak resident memory in KiB, and its exit status.
///
/// Reads the peak when the program is about to exit. wait4(2) would count the memory of the test
/// process too, which forked the program; polling may miss the peak on a busy machine.
///
/// # Panics
/// If the program cannot be started or traced.
#[expect(clippy::zombie_processes, reason = "waitpid is called until it has ended")]
pub fn peak_kib(command: &mut Command) -> (u64, ExitStatus) {
    // SAFETY: this system call, the only one between fork and exec, takes no pointer.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0)) };
    let child = command.spawn().expect("the program must start");
    let pid = libc::pid_t::try_from(child.id()).expect("process ids fit");
    let mut peak = 0;
    // The program is stopped after execve(2), before its first instruction.
    let mut status = wait_for(pid);
    assert!(libc::WIFSTOPPED(status), "stopped at its beginning: {status:#x}");
    ptrace(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_TRACEEXIT).expect("it is traced");
    let mut signal = 0;
    loop {
        ptrace(libc::PTRACE_CONT, pid, signal).expect("it stands still");
        status = wait_for(pid);
        if !libc::WIFSTOPPED(status) {
            return (peak, ExitStatus::from_raw(status));
        }
        signal = libc::WSTOPSIG(status);
        if status >> 16 == libc::PTRACE_EVENT_EXIT {
            (peak, signal) = (high_water_kib(pid), 0);
        }
    }
}

/// What C libraries declare it as.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

fn ptrace(request: Request, pid: libc::pid_t, data: libc::c_int) -> io::Result<()> {
    // SAFETY: none of the requests passed to this function writes to memory of this process.
    let result = unsafe { libc::ptrace(request, pid, ptr::null_mut::<u8>(), i64::from(data)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn wait_for(pid: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: the kernel writes the child's status to a local variable.
    let result = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(result, pid, "waitpid: {}", io::Error::last_os_error());
    status
}

fn high_water_kib(pid: libc::pid_t) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_else(|| panic!("no VmHWM of {pid}: {status}"))
}
