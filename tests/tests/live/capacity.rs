//! The kernel programs' maps, each of them full: what is not seen is counted.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::mpsc,
    thread,
};

use inotify_trace_tests::{Agent, Process, live_test, system, wait};
use serde_json::Value;

/// A page whose contents no read can get until [`resolve`](Self::resolve): whoever reads it waits
/// (userfaultfd(2)).
struct Withheld {
    page: *mut libc::c_void,
    faults: OwnedFd,
}

const PAGE: usize = 4096;

impl Withheld {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the call takes no pointers, and returns a new descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: it is new, and owned by nobody.
        let withheld = Self { page, faults: unsafe { OwnedFd::from_raw_fd(fd) } };
        // `UFFDIO_API` with `UFFD_API`; `UFFDIO_REGISTER` with `UFFDIO_REGISTER_MODE_MISSING`.
        withheld.ioctl(0xc018_aa3f, &mut [0xaa, 0, 0])?;
        withheld.ioctl(0xc020_aa00, &mut [page as u64, PAGE as u64, 1, 0])?;
        Ok(withheld)
    }

    /// Gives the page this content: all who wait go on.
    fn resolve(&self, content: &[u8]) {
        let mut whole = [0_u8; PAGE];
        whole[..content.len()].copy_from_slice(content);
        let from = whole.as_ptr() as u64;
        // `UFFDIO_COPY`.
        self.ioctl(0xc028_aa03, &mut [self.page as u64, from, PAGE as u64, 0, 0]).unwrap();
    }

    fn ioctl(&self, request: libc::c_ulong, argument: &mut [u64]) -> io::Result<()> {
        // SAFETY: each request takes a pointer to as many words as it is called with here
        // (linux/userfaultfd.h).
        match unsafe { libc::ioctl(self.faults.as_raw_fd(), request as _, argument.as_mut_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Says that a test is left out with this agent.
fn skip_kprobes(test: &str) {
    system::skip(test, "kprobes follow only some calls at once to their ends");
}

/// Adds a watch from each of `count` threads, all calls of which are in progress at once.
fn watch_at_once(count: usize, directory: &std::path::Path) -> io::Result<()> {
    let withheld = Withheld::new()?;
    // SAFETY: the call takes no pointers.
    let instance = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) };
    assert!(instance >= 0, "{}", io::Error::last_os_error());
    let (threads, path) = (mpsc::channel(), withheld.page as usize);
    let watchers: Vec<_> = (0..count)
        .map(|_| {
            let threads = threads.0.clone();
            thread::spawn(move || {
                // SAFETY: the call takes no pointers.
                threads.send(unsafe { libc::gettid() }).unwrap();
                // SAFETY: a path that ends with a zero, once it is there.
                let wd =
                    unsafe { libc::inotify_add_watch(instance, path as *const _, libc::IN_OPEN) };
                assert!(wd > 0, "{}", io::Error::last_os_error());
            })
        })
        .collect();
    let call = libc::SYS_inotify_add_watch.to_string();
    for thread in threads.1.iter().take(count) {
        wait::until("the thread waits within the call", || {
            let state = fs::read_to_string(format!("/proc/self/task/{thread}/syscall"));
            state.is_ok_and(|state| state.split(' ').next() == Some(&call))
        });
    }
    withheld.resolve(directory.as_os_str().as_encoded_bytes());
    watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
    // SAFETY: the instance is not used any more, and nor is the page.
    unsafe {
        libc::close(instance);
        libc::munmap(withheld.page, PAGE);
    }
    Ok(())
}

fn lost(events: &[Value], what: &str) -> u64 {
    let losses = events.iter().filter(|it| it["event"] == "lost" && it["lost_what"] == what);
    losses.filter_map(|it| it["lost_count"].as_u64()).sum()
}

/// The calls that were told; those that were forgotten; and the runs of programs that the kernel
/// skipped, since another thread was preempted in the same program: so the beginning or the end of a
/// call may be missing.
fn of_calls(events: &[Value], skipped: &[Value]) -> (u64, u64, u64) {
    let told = events.iter().filter(|it| it["event"] == "watch").count() as u64;
    (told, lost(events, "calls"), lost(skipped, "runs"))
}

#[live_test(each = kernel)]
fn calls_that_are_forgotten_are_counted() {
    const CALLS: usize = 300;
    let directory = system::directory();
    let pid = std::process::id().to_string();
    let agent = Agent::with(&["--capacity", "calls=8", "-p", &pid, "-e", "watch,release,lost"]);
    let test = "capacity::calls_that_are_forgotten_are_counted";
    if agent.has_kprobes() {
        return skip_kprobes(test);
    }
    if let Err(error) = watch_at_once(CALLS, directory.path()) {
        system::skip(test, &format!("no userfaultfd here: {error}"));
        return;
    }
    wait::until("each call is told or counted", || {
        let (told, forgotten, skipped) = of_calls(&agent.events(), &agent.skipped());
        told + forgotten + skipped >= CALLS as u64
    });
    let run = agent.stop();
    let (told, forgotten, skipped) = of_calls(&run.events, &run.skipped);
    // Other programs' calls may be forgotten, too.
    assert!(told + forgotten + skipped >= CALLS as u64, "{told}, {forgotten}, {skipped}");
    assert!(forgotten > 0, "8 places hold no {CALLS} calls");
}

#[live_test(each = kernel)]
fn calls_are_lost_only_if_there_are_too_many() {
    const CALLS: usize = 300;
    let directory = system::directory();
    let pid = std::process::id().to_string();
    let agent = Agent::with(&["-p", &pid, "-e", "watch,release,lost"]);
    let test = "capacity::calls_are_lost_only_if_there_are_too_many";
    if agent.has_kprobes() {
        return skip_kprobes(test);
    }
    if let Err(error) = watch_at_once(CALLS, directory.path()) {
        system::skip(test, &format!("no userfaultfd here: {error}"));
        return;
    }
    wait::until("each call is told", || {
        let (told, _, skipped) = of_calls(&agent.events(), &agent.skipped());
        told + skipped >= CALLS as u64
    });
    let run = agent.stop();
    let (_, forgotten, skipped) = of_calls(&run.events, &run.skipped);
    assert!(forgotten <= skipped, "{forgotten} forgotten, {skipped} skipped");
}

#[live_test(each = kernel)]
fn holders_that_find_no_place_are_counted() {
    const HOLDERS: usize = 20;
    let agent = Agent::with(&["--capacity", "holders=8", "-e", "create,lost"]);
    let mut processes: Vec<_> = (0..HOLDERS).map(|_| Process::start()).collect();
    for process in &mut processes {
        assert!(process.call("create 1").is_ok());
    }
    let pids: Vec<_> = processes.iter().map(|it| it.pid).collect();
    let ours = |events: &[Value]| {
        let creates = events.iter().filter(|it| it["event"] == "create");
        creates.filter(|it| pids.iter().any(|pid| it["pid"] == *pid)).count()
    };
    // Nothing that they do is lost, only that their descriptors are closed at once.
    agent.wait_for("each is told, and the loss", |events| {
        ours(events) == HOLDERS && lost(events, "holders") >= (HOLDERS - 8) as u64
    });
    let _ = agent.stop();
}
