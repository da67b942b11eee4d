//! System calls as a 32-bit program makes them. The kernel takes them from a 64-bit one too, which
//! spares the tests a second toolchain.

/// Numbers of 32-bit system calls (`arch/x86/entry/syscalls/syscall_32.tbl`).
pub mod number {
    /// `close`.
    pub const CLOSE: i64 = 6;
    /// `inotify_add_watch`.
    pub const INOTIFY_ADD_WATCH: i64 = 292;
    /// `inotify_rm_watch`.
    pub const INOTIFY_RM_WATCH: i64 = 293;
    /// `inotify_init1`.
    pub const INOTIFY_INIT1: i64 = 332;
}

/// Whether this machine takes 32-bit system calls.
#[must_use]
pub fn is_possible() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    // `entry_INT80_compat`, later `int80_emulation`: where such calls enter the kernel.
    cfg!(target_arch = "x86_64")
        && symbols.lines().any(|line| line.to_ascii_lowercase().contains("int80"))
}

/// A 32-bit system call; arguments are cut to 32 bits. The answer is the kernel's.
///
/// # Safety
/// As for the call that is made.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub unsafe fn call(number: i64, [a, b, c]: [i64; 3]) -> i64 {
    let mut answer = number;
    // SAFETY: the registers are declared as the kernel takes and leaves them; rbx, which the
    // compiler keeps for itself, is put back. The rest is the caller's.
    unsafe {
        std::arch::asm!(
            "xchg {a}, rbx",
            "int 0x80",
            "xchg {a}, rbx",
            a = inout(reg) a => _,
            inlateout("rax") answer,
            in("rcx") b,
            in("rdx") c,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    // The answer is an `int`.
    i64::from(answer as i32)
}

/// A path at an address that fits 32 bits, for as long as the process lives.
///
/// # Panics
/// If there is no memory, or the path is longer than a page.
#[must_use]
pub fn low_address(path: &[u8]) -> i64 {
    const PAGE: usize = 4096;
    assert!(path.len() < PAGE, "a path of {} bytes", path.len());
    // SAFETY: a new private mapping, which nothing else uses; it is filled within its bounds and
    // ends with a zero, since it is all zeros before.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        std::ptr::copy_nonoverlapping(path.as_ptr(), page.cast(), path.len());
        page as i64
    }
}
