//! System calls of 32-bit programs on x86. The kernel accepts them from a 64-bit process too, so the tests
//! need no second toolchain.

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

/// Whether this machine accepts 32-bit system calls.
#[must_use]
pub fn is_possible() -> bool {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    // `entry_INT80_compat`, later `int80_emulation`: the kernel's entry for 32-bit calls.
    symbols.lines().any(|line| line.to_ascii_lowercase().contains("int80"))
}

/// Makes a 32-bit system call; arguments are cut to 32 bits. Returns the kernel's result.
///
/// # Safety
/// As for the system call itself.
#[must_use]
pub unsafe fn call(number: i64, [a, b, c]: [i64; 3]) -> i64 {
    let mut answer = number;
    // SAFETY: the registers are declared as the kernel reads and writes them; rbx, which the
    // compiler reserves, is restored. The caller answers for the arguments.
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
    // The result is an `int`.
    i64::from(answer as i32)
}

/// Copies a path to an address that fits 32 bits. The copy lives as long as the process.
///
/// # Panics
/// If there is no memory, or the path is longer than a page.
#[must_use]
pub fn low_address(path: &[u8]) -> i64 {
    const PAGE: usize = 4096;
    assert!(path.len() < PAGE, "a path of {} bytes", path.len());
    // SAFETY: a new private mapping that nothing else uses; the write stays within its bounds, and
    // the path ends with a zero because the mapping is all zeros.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        std::ptr::copy_nonoverlapping(path.as_ptr(), page.cast(), path.len());
        page as i64
    }
}
