//! A loader of aya's that knows none of the kernel's types.
//!
//! aya 0.14 reads and parses all types of the kernel wherever it makes a loader, a third of what a
//! listing costs, for relocations that our object doesn't have. It goes on without them where
//! they can't be read, and there is no other way to have it do so.

use std::io;

use aya::EbpfLoader;

use crate::threads;

/// Makes a loader in a thread that can open no file. Where there is no such thread, it is one that
/// knows the types, which changes nothing else.
pub(super) fn loader() -> EbpfLoader<'static> {
    let made = threads::spawn("loader", || {
        if let Err(error) = forbid_opening() {
            log::debug!("the loader parses the kernel's types: {error}");
        }
        EbpfLoader::new()
    });
    made.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(EbpfLoader::new)
}

/// Has each attempt of this thread to open a file fail from now on (seccomp(2), with prctl(2)). It is no
/// protection: other calls, and other threads, can open files.
fn forbid_opening() -> io::Result<()> {
    const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOENT as u32;
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const IS_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    // Which of the two the C library calls differs between libraries.
    #[cfg(target_arch = "x86_64")]
    let open = libc::SYS_open;
    #[cfg(not(target_arch = "x86_64"))]
    let open = libc::SYS_openat;
    let instruction = |code: u32, k: u32, jt| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut filter = [
        // The number of the call, which comes first in `struct seccomp_data`.
        instruction(LOAD, 0, 0),
        instruction(IS_EQUAL, libc::SYS_openat as u32, 2),
        instruction(IS_EQUAL, open as u32, 1),
        instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0),
        instruction(RETURN, REFUSED, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // The kernel's condition for a filter of someone without CAP_SYS_ADMIN, for this thread alone.
    rustix::thread::set_no_new_privs(true)?;
    // As prctl(2), which services and containers may always call; seccomp(2) is in no group of
    // systemd's before 254, and ends a service that calls it.
    // SAFETY: the program and its instructions live until the call has returned, which copies them.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{forbid_opening, loader};
    use crate::threads;

    #[test]
    fn it_knows_no_type_and_files_can_be_opened_afterwards() {
        let told = format!("{:?}", loader());
        assert!(told.starts_with("EbpfLoader { btf: None,"), "{}", &told[..60]);
        assert!(File::open("/proc/self/stat").is_ok());
    }

    #[test]
    fn only_the_thread_that_asks_for_it_can_open_nothing() {
        let thread = threads::spawn("loader", || {
            forbid_opening().unwrap();
            File::open("/proc/self/stat").is_ok()
        });
        assert!(!thread.unwrap().join().unwrap());
        assert!(File::open("/proc/self/stat").is_ok());
    }
}
