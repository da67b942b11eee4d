//! A process under control of a test. It reads commands from the socket on its standard input, one
//! per line, and replies to each with a line of numbers. A negative number is the kernel's errno.
//!
//! Each command makes the plain system call, so that the test knows exactly which request the
//! kernel got.

use inotify_trace_tests::hostile;
use std::{
    ffi::{CString, OsStr, OsString},
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            net::{SocketAddr, UnixStream},
        },
    },
    path::PathBuf,
    process::ExitCode,
};

/// The first argument of a program that executes itself.
const EXECUTED_AGAIN: &str = "executed-again";

fn main() -> ExitCode {
    // SAFETY: standard input is open, and nothing else in this program uses it.
    let mut control = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        // The executed program replies for the old one.
        Some("executed") => answer(&mut control, &[0]),
        Some("executed-create") => {
            let fd = create(0);
            answer(&mut control, &[fd, close(fd)]);
        }
        Some("executed-close") => {
            let fd = arguments.next().and_then(|fd| fd.parse().ok());
            answer(&mut control, &[close(fd.expect("a descriptor"))]);
        }
        Some(EXECUTED_AGAIN) => execute_until_told(&mut control),
        // Descriptors left open by the test runner would take up numbers.
        _ => _ = call(libc::SYS_close_range, [3, u32::MAX.into(), 0]),
    }
    serve(control);
    ExitCode::SUCCESS
}

/// Executes commands until the test closes the connection.
fn serve(mut control: UnixStream) {
    while let Some(line) = read_line(&mut control) {
        let words: Vec<&str> = line.split(' ').collect();
        let results = obey(&words).unwrap_or_else(|| panic!("not understood: {line}"));
        answer(&mut control, &results);
    }
}

fn read_line(control: &mut UnixStream) -> Option<String> {
    let (mut line, mut buffer) = (Vec::new(), [0; 16 << 10]);
    while line.last() != Some(&b'\n') {
        let read = control.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return None;
        }
        line.extend_from_slice(&buffer[..read]);
    }
    line.pop();
    String::from_utf8(line).ok()
}

fn answer(control: &mut UnixStream, results: &[i64]) {
    let words: Vec<String> = results.iter().map(ToString::to_string).collect();
    // A test that has ended needs no reply.
    let _ = writeln!(control, "{}", words.join(" "));
}

fn obey(words: &[&str]) -> Option<Vec<i64>> {
    let number = |at: usize| words.get(at)?.parse::<i64>().ok();
    let bytes = |at: usize| unhex(words.get(at)?);
    let one = |result| Some(vec![result]);
    match *words.first()? {
        "init" => one(legacy_init()),
        "init1" => one(create(number(1)?)),
        "create" => one(create_many(number(1)?)),
        "watch" => one(watch(number(1)?, &bytes(2)?, number(3)?)),
        "watch_null" => one(call(libc::SYS_inotify_add_watch, [number(1)?, 0, number(2)?])),
        "unwatch" => one(call(libc::SYS_inotify_rm_watch, [number(1)?, number(2)?, 0])),
        "close" => one(close(number(1)?)),
        "dup" => one(call(libc::SYS_dup, [number(1)?, 0, 0])),
        "dup_many" => one(dup_many(number(1)?, number(2)?)),
        "dup2" => one(dup2(number(1)?, number(2)?)),
        "dup3" => one(call(libc::SYS_dup3, [number(1)?, number(2)?, number(3)?])),
        "close_range" => one(call(libc::SYS_close_range, [number(1)?, number(2)?, number(3)?])),
        "read" => one(read(number(1)?)),
        "drain" => Some(drain(number(1)?)),
        "fork" => one(fork(&bytes(1)?)),
        "thread" => one(thread(bytes(1)?)),
        "wait" => one(wait(number(1)?)),
        "exec" => one(execute(&words[1..])),
        // With 0 as the last number, programs that are executed have the descriptor too; with 1 not.
        "close_on_exec" => {
            one(call(libc::SYS_fcntl, [number(1)?, libc::F_SETFD.into(), number(2)?]))
        }
        "exit" => std::process::exit(i32::try_from(number(1)?).ok()?),
        // Exits this thread only.
        "end" => one(call(libc::SYS_exit, [0; 3])),
        "gettid" => one(call(libc::SYS_gettid, [0; 3])),
        "uid" => one(call(libc::SYS_setresuid, [number(1)?; 3])),
        "euid" => one(call(libc::SYS_setresuid, [-1, number(1)?, -1])),
        "name" => one(rename(&bytes(1)?)),
        "create_failing" => one(create_failing(number(1)?)),
        "open_files" => one(limit_open_files(number(1)?)),
        "seccomp" => one(refuse_by_filter(number(1)?, number(2)?)),
        "unshare" => one(call(libc::SYS_unshare, [number(1)?, 0, 0])),
        "remove" => one(remove(&bytes(1)?)),
        "dumpable" => one(call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0])),
        "write" => one(write_file(&bytes(1)?, &bytes(2)?)),
        "socketpair" => socketpair(),
        "send" => one(send(number(1)?, number(2)?)),
        "receive" => one(receive(number(1)?)),
        "getfd" => one(copy_of(number(1)?, number(2)?)),
        "fork_as" => one(fork_as(number(1)?, &bytes(2)?)),
        "watch_files" => one(watch_files(number(1)?, &bytes(2)?, number(3)?)),
        "open" => one(open(&bytes(1)?)),
        "mount_namespace" => one(mount_namespace()),
        "mount" => one(mount(&bytes(1)?)),
        "overlay" => one(overlay(&bytes(1)?, &bytes(2)?)),
        "chdir" => one(change_directory(&bytes(1)?)),
        "bind" => one(bind(&bytes(1)?, &bytes(2)?)),
        "bind_over" => one(bind_over(&bytes(1)?, number(2)?)),
        "detach" => one(detach(&bytes(1)?)),
        "symlink" => one(symlink(&bytes(1)?, &bytes(2)?)),
        "mkdir" => one(make_directory(&bytes(1)?)),
        "chroot" => one(change_root(&bytes(1)?)),
        "fuse" => one(inotify_trace_tests::fuse::mount(&bytes(1)?).map_or_else(errno, |()| 0)),
        "fuse_silent" => {
            inotify_trace_tests::fuse::fall_silent();
            one(0)
        }
        "arguments_in" => one(move_arguments(&bytes(1)?).map_or_else(errno, |()| 0)),
        "uring_close" => one(uring_close(number(1)?)),
        #[cfg(target_arch = "x86_64")]
        "compat_hold" => Some(compat_hold(&bytes(1)?)),
        #[cfg(target_arch = "x86_64")]
        "compat_create" => one(compat_create(number(1)?)),
        #[cfg(target_arch = "x86_64")]
        "compat" => Some(compat(&bytes(1)?)),
        "storm" => one(storm(number(1)?, &bytes(2)?)),
        "storm_until_told" => one(storm_until_told(&bytes(1)?)),
        "churn_until_told" => {
            let path = |number| bytes(number).map(|it| PathBuf::from(OsString::from_vec(it)));
            one(hostile::churn(&path(1)?, path(2).as_deref(), is_told))
        }
        "hold" => one(hostile::hold(number(1)?)),
        "execute_until_told" => one(execute(&[EXECUTED_AGAIN])),
        _ => None,
    }
}

/// Creates, watches, unwatches and closes an instance as a 32-bit program, then creates another, on
/// which it adds a watch and which it closes as a 64-bit program. Replies with each result but the
/// last.
#[cfg(target_arch = "x86_64")]
fn compat(path: &[u8]) -> Vec<i64> {
    use inotify_trace_tests::compat::{call as call32, low_address, number};
    let low = low_address(path);
    // SAFETY: the one pointer is to a path that ends with a zero and stays allocated.
    unsafe {
        let fd = call32(number::INOTIFY_INIT1, [0; 3]);
        let wd = call32(number::INOTIFY_ADD_WATCH, [fd, low, 2]);
        let unwatched = call32(number::INOTIFY_RM_WATCH, [fd, wd, 0]);
        let closed = call32(number::CLOSE, [fd, 0, 0]);
        let second = call32(number::INOTIFY_INIT1, [0; 3]);
        let watched = watch(second, path, 2);
        let _ = close(second);
        vec![fd, wd, unwatched, closed, second, watched]
    }
}

/// Creates an instance and a watch as a 32-bit program, and keeps both. Replies with each result.
#[cfg(target_arch = "x86_64")]
fn compat_hold(path: &[u8]) -> Vec<i64> {
    use inotify_trace_tests::compat::{call as call32, low_address, number};
    let low = low_address(path);
    // SAFETY: the one pointer is to a path that ends with a zero and stays allocated.
    unsafe {
        let fd = call32(number::INOTIFY_INIT1, [0; 3]);
        vec![fd, call32(number::INOTIFY_ADD_WATCH, [fd, low, 2])]
    }
}

/// Creates `count` instances as a 32-bit program. Replies with the number created, or the first errno.
#[cfg(target_arch = "x86_64")]
fn compat_create(count: i64) -> i64 {
    use inotify_trace_tests::compat::{call as call32, number};
    // SAFETY: the call takes no pointer.
    let create = |_| unsafe { call32(number::INOTIFY_INIT1, [0; 3]) };
    (0..count).map(create).find(|&result| result < 0).unwrap_or(count)
}

/// Closes a descriptor through io_uring, without close(2).
fn uring_close(fd: i64) -> i64 {
    let close = |fd| -> std::io::Result<i64> {
        let mut ring = io_uring::IoUring::new(2)?;
        let entry = io_uring::opcode::Close::new(io_uring::types::Fd(fd)).build();
        // SAFETY: a close request has no buffers that would have to outlive it.
        unsafe { ring.submission().push(&entry) }.map_err(std::io::Error::other)?;
        ring.submit_and_wait(1)?;
        Ok(ring.completion().next().map_or(-i64::from(libc::EIO), |done| done.result().into()))
    };
    let Ok(fd) = i32::try_from(fd) else { return -i64::from(libc::EBADF) };
    close(fd).unwrap_or_else(|error| -i64::from(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Makes a system call whose arguments are numbers.
fn call(number: libc::c_long, [a, b, c]: [i64; 3]) -> i64 {
    // SAFETY: none of the system calls passed to this function takes a pointer.
    outcome(unsafe { libc::syscall(number, a, b, c) })
}

fn outcome(result: libc::c_long) -> i64 {
    if result >= 0 {
        return result;
    }
    -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

fn create(flags: i64) -> i64 {
    call(libc::SYS_inotify_init1, [flags, 0, 0])
}

/// Creates `count` instances. Replies with the number created, or the first errno.
fn create_many(count: i64) -> i64 {
    (0..count).map(|_| create(0)).find(|&result| result < 0).unwrap_or(count)
}

/// Tries `count` times to create an instance. Replies with the number of failures.
fn create_failing(count: i64) -> i64 {
    (0..count).filter(|_| create(0) < 0).count() as i64
}

/// Renames this thread, with any bytes but zero.
fn rename(name: &[u8]) -> i64 {
    let Ok(name) = CString::new(name) else { return -i64::from(libc::EINVAL) };
    // SAFETY: a string that ends with a zero and lives until the call returns.
    outcome(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }.into())
}

fn close(fd: i64) -> i64 {
    call(libc::SYS_close, [fd, 0, 0])
}

#[cfg(target_arch = "x86_64")]
fn legacy_init() -> i64 {
    call(libc::SYS_inotify_init, [0; 3])
}

/// Newer architectures do not have the old system calls: this one and dup2(2) are what their C
/// libraries do instead.
#[cfg(not(target_arch = "x86_64"))]
fn legacy_init() -> i64 {
    call(libc::SYS_inotify_init1, [0; 3])
}

#[cfg(target_arch = "x86_64")]
fn dup2(old: i64, new: i64) -> i64 {
    call(libc::SYS_dup2, [old, new, 0])
}

#[cfg(not(target_arch = "x86_64"))]
fn dup2(old: i64, new: i64) -> i64 {
    if old == new {
        let open = call(libc::SYS_fcntl, [old, libc::F_GETFD.into(), 0]);
        return if open < 0 { open } else { new };
    }
    call(libc::SYS_dup3, [old, new, 0])
}

fn remove(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: the path ends with a zero and lives until the call returns.
    outcome(unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0) })
}

fn watch(fd: i64, path: &[u8], mask: i64) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: the path ends with a zero and lives until the call returns.
    outcome(unsafe { libc::syscall(libc::SYS_inotify_add_watch, fd, path.as_ptr(), mask) })
}

fn read(fd: i64) -> i64 {
    let mut buffer = [0_u8; 4096];
    // SAFETY: the kernel writes no more than the buffer holds.
    outcome(unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) })
}

/// Reads all events of a non-blocking instance. Returns their number, and whether one of them says
/// that others were dropped.
fn drain(fd: i64) -> Vec<i64> {
    /// `struct inotify_event`, which its name follows.
    const HEADER: usize = 16;
    let (mut count, mut overflowed) = (0, 0);
    let mut buffer = [0_u8; 4096];
    loop {
        // SAFETY: the kernel writes no more than the buffer holds.
        let read = unsafe { libc::syscall(libc::SYS_read, fd, buffer.as_mut_ptr(), buffer.len()) };
        let Ok(read @ 1..) = usize::try_from(read) else { return vec![count, overflowed] };
        let mut rest = &buffer[..read];
        while let Some((header, after)) = rest.split_at_checked(HEADER) {
            let number = |at: usize| {
                let bytes = header.get(at..at + 4).and_then(|it| it.try_into().ok());
                bytes.map_or(0, u32::from_ne_bytes)
            };
            count += 1;
            overflowed |= i64::from(number(4) & libc::IN_Q_OVERFLOW != 0);
            rest = after.get(number(12) as usize..).unwrap_or_default();
        }
    }
}

fn connect(name: &[u8]) -> UnixStream {
    SocketAddr::from_abstract_name(name)
        .and_then(|address| UnixStream::connect_addr(&address))
        .expect("the test must be listening")
}

/// Forks. The child reads commands from a connection of its own.
fn fork(name: &[u8]) -> i64 {
    // SAFETY: tests fork only processes without other threads, so the child may do anything.
    let result = outcome(unsafe { libc::fork() }.into());
    if result == 0 {
        obey_another(name);
    }
    result
}

/// The main loop of a child process.
fn obey_another(name: &[u8]) -> ! {
    let control = connect(name);
    // SAFETY: both are open descriptors; the old standard input is the parent's connection.
    unsafe { libc::dup2(control.as_raw_fd(), 0) };
    drop(control);
    // SAFETY: as in `main`, whose own stream this process never uses again.
    serve(UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) }));
    std::process::exit(0);
}

/// Forks a child with a chosen process id.
fn fork_as(pid: i64, name: &[u8]) -> i64 {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return -i64::from(libc::EINVAL) };
    // SAFETY: a structure of numbers, for which zero is a valid value.
    let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
    how.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    how.set_tid = &raw const pid as u64;
    how.set_tid_size = 1;
    // SAFETY: the structure and the number it points to live until the call returns. As after fork,
    // the child has its own memory, and the parent has no other threads.
    let result = outcome(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const how, size_of::<libc::clone_args>())
    });
    if result == 0 {
        obey_another(name);
    }
    result
}

/// Copies a descriptor of another process, as a debugger or a supervisor does.
fn copy_of(pid: i64, fd: i64) -> i64 {
    let process = call(libc::SYS_pidfd_open, [pid, 0, 0]);
    if process < 0 {
        return process;
    }
    let copy = call(libc::SYS_pidfd_getfd, [process, fd, 0]);
    close(process);
    copy
}

/// Creates `count` files in a directory and watches each. Replies with the number, or the first
/// errno.
fn watch_files(fd: i64, directory: &[u8], count: i64) -> i64 {
    let directory = std::path::Path::new(OsStr::from_bytes(directory));
    for number in 0..count {
        let path = directory.join(number.to_string());
        let made = write_file(path.as_os_str().as_bytes(), b"");
        let mask = i64::from(libc::IN_MODIFY);
        let results = [made, watch(fd, path.as_os_str().as_bytes(), mask)];
        if let Some(&failed) = results.iter().find(|&&result| result < 0) {
            return failed;
        }
    }
    count
}

fn open(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: the path ends with a zero and lives until the call returns.
    outcome(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }.into())
}

/// Moves to a private mount namespace.
fn mount_namespace() -> i64 {
    let result = call(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0]);
    if result < 0 {
        return result;
    }
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: paths that end with a zero; unused arguments are null.
    outcome(
        unsafe {
            libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null())
        }
        .into(),
    )
}

/// Mounts a new tmpfs.
fn mount(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    let (none, kind) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: texts that end with a zero and live until the call returns; no data.
    outcome(unsafe { libc::mount(none, path.as_ptr(), kind, 0, std::ptr::null()) }.into())
}

/// Mounts an overlay with these options.
fn overlay(path: &[u8], options: &[u8]) -> i64 {
    let (Ok(path), Ok(options)) = (CString::new(path), CString::new(options)) else {
        return -i64::from(libc::EINVAL);
    };
    let kind = c"overlay".as_ptr();
    // SAFETY: texts that end with a zero and live until the call returns.
    outcome(unsafe { libc::mount(kind, path.as_ptr(), kind, 0, options.as_ptr().cast()) }.into())
}

fn errno(error: std::io::Error) -> i64 {
    -i64::from(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Makes a file the memory of this process's arguments, which others read.
fn move_arguments(path: &[u8]) -> std::io::Result<()> {
    const LENGTH: usize = 4096;
    let file = std::fs::File::open(OsStr::from_bytes(path))?;
    let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE);
    // SAFETY: the kernel chooses a free place, which stays mapped.
    let place =
        unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, read, private, file.as_raw_fd(), 0) };
    if place == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // proc_pid_stat(5) counts from 1, and the name is the second.
    let field = |number: usize| -> u64 {
        let mut fields = after_name.split_ascii_whitespace();
        fields.nth(number - 3).and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    // SAFETY: it moves nothing.
    let end_of_heap = unsafe { libc::sbrk(0) } as u64;
    // `struct prctl_mm_map`, without an auxiliary vector and another program.
    let (start, length) = (place as u64, LENGTH as u64);
    let (code, data, environment) = ([26, 27], [45, 46], [50, 51]);
    let map = [
        field(code[0]),
        field(code[1]),
        field(data[0]),
        field(data[1]),
        field(47),
        end_of_heap,
        field(28),
        start,
        start + length,
        field(environment[0]),
        field(environment[1]),
        0,
        u64::from(u32::MAX) << 32,
    ];
    // SAFETY: a structure of this size, which lives until the call returns.
    let result = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of_val(&map), 0)
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

fn change_directory(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: a path that ends with a zero and lives until the call returns.
    outcome(unsafe { libc::chdir(path.as_ptr()) }.into())
}

/// Bind-mounts a directory at another path.
fn bind(from: &[u8], to: &[u8]) -> i64 {
    let (Ok(from), Ok(to)) = (CString::new(from), CString::new(to)) else {
        return -i64::from(libc::EINVAL);
    };
    let (from, to, null) = (from.as_ptr(), to.as_ptr(), std::ptr::null());
    // SAFETY: paths that end with a zero and live until the call returns; unused arguments are
    // null.
    outcome(unsafe { libc::mount(from, to, null, libc::MS_BIND, null.cast()) }.into())
}

/// Bind-mounts a directory over itself, `count` times. Replies with the number, or the first errno.
fn bind_over(path: &[u8], count: i64) -> i64 {
    (0..count).map(|_| bind(path, path)).find(|&result| result < 0).unwrap_or(count)
}

/// Unmounts a file system, which is kept as long as it is in use.
fn detach(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: a path that ends with a zero and lives until the call returns.
    outcome(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into())
}

/// Makes a symbolic link at `at`.
fn symlink(to: &[u8], at: &[u8]) -> i64 {
    let (Ok(to), Ok(at)) = (CString::new(to), CString::new(at)) else {
        return -i64::from(libc::EINVAL);
    };
    // SAFETY: texts that end with a zero and live until the call returns.
    outcome(unsafe { libc::symlink(to.as_ptr(), at.as_ptr()) }.into())
}

fn make_directory(path: &[u8]) -> i64 {
    match std::fs::create_dir(OsStr::from_bytes(path)) {
        Ok(()) => 0,
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn change_root(path: &[u8]) -> i64 {
    let Ok(path) = CString::new(path) else { return -i64::from(libc::EINVAL) };
    // SAFETY: the path ends with a zero and lives until the call returns.
    outcome(unsafe { libc::chroot(path.as_ptr()) }.into())
}

fn thread(name: Vec<u8>) -> i64 {
    std::thread::spawn(move || serve(connect(&name)));
    0
}

fn wait(pid: i64) -> i64 {
    let mut status = 0;
    let Ok(pid) = i32::try_from(pid) else { return -i64::from(libc::ESRCH) };
    // SAFETY: the kernel writes the status of a child to a local variable.
    outcome(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())
}

/// Copies a descriptor `count` times. Replies with the number, or the first errno.
fn dup_many(fd: i64, count: i64) -> i64 {
    (0..count).map(|_| call(libc::SYS_dup, [fd, 0, 0])).find(|&it| it < 0).unwrap_or(count)
}

/// Executes this program again, through /proc: the user may have no access to its directory. The
/// kernel then names the process `exe`.
fn execute(arguments: &[&str]) -> i64 {
    let words = ["workload"].iter().chain(arguments);
    let words: Vec<_> = words.map(|word| CString::new(*word).expect("no zero inside")).collect();
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: strings that end with a zero, in a list that ends with a null pointer.
    outcome(unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) }.into())
}

fn limit_open_files(limit: i64) -> i64 {
    let Ok(limit) = u64::try_from(limit) else { return -i64::from(libc::EINVAL) };
    let limits = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the kernel reads a structure that lives until the call returns.
    outcome(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }.into())
}

/// Makes a seccomp filter answer a system call with an errno.
fn refuse_by_filter(call_number: i64, errno: i64) -> i64 {
    let (Ok(number), Ok(errno)) = (u32::try_from(call_number), u16::try_from(errno)) else {
        return -i64::from(libc::EINVAL);
    };
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: 0,
        k,
    };
    let mut filter = [
        // The call's number is the first field of `seccomp_data`.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | u32::from(errno)),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the call has no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
        return outcome(-1);
    }
    // SAFETY: the kernel copies the program during the call.
    outcome(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    })
}

fn write_file(path: &[u8], text: &[u8]) -> i64 {
    match std::fs::write(OsStr::from_bytes(path), text) {
        Ok(()) => 0,
        Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn socketpair() -> Option<Vec<i64>> {
    let mut pair = [0; 2];
    // SAFETY: the kernel writes two descriptors to an array of two.
    let result =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) };
    (result == 0).then(|| pair.map(i64::from).to_vec())
}

/// Space for a control message with one descriptor, aligned for the kernel.
type OneDescriptor = [u64; 3];

/// Calls `f` with a message of one byte and space for one descriptor.
fn with_message(f: impl FnOnce(&mut libc::msghdr) -> i64) -> i64 {
    let (mut byte, mut room): ([u8; 1], OneDescriptor) = ([0], [0; 3]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: a structure of numbers and pointers, for which zero is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = room.as_mut_ptr().cast();
    message.msg_controllen = size_of::<OneDescriptor>() as _;
    f(&mut message)
}

fn send(socket: i64, fd: i64) -> i64 {
    let (Ok(socket), Ok(fd)) = (i32::try_from(socket), i32::try_from(fd)) else { return -9 };
    with_message(|message| {
        // SAFETY: the message has aligned space for one control message with one descriptor.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<i32>().write(fd);
            outcome(libc::sendmsg(socket, message, 0) as libc::c_long)
        }
    })
}

fn receive(socket: i64) -> i64 {
    let Ok(socket) = i32::try_from(socket) else { return -9 };
    with_message(|message| {
        // SAFETY: the kernel fills the message within its bounds; a control message is read only if
        // there is one.
        unsafe {
            let result = outcome(libc::recvmsg(socket, message, 0) as libc::c_long);
            let header = libc::CMSG_FIRSTHDR(message);
            if result < 0 || header.is_null() {
                return result.min(-1);
            }
            libc::CMSG_DATA(header).cast::<i32>().read().into()
        }
    })
}

/// Creates and closes instances as fast as possible, and changes a watch of another instance each
/// time. Replies with the number of instances, or the first errno. (Instances with watches would
/// make each close wait for a grace period of the kernel, which is no storm.)
fn storm(count: i64, path: &[u8]) -> i64 {
    let lasting = create(0);
    for _ in 0..count {
        let fd = create(i64::from(libc::IN_CLOEXEC));
        let results = [fd, watch(lasting, path, i64::from(libc::IN_MODIFY)), close(fd)];
        if let Some(&failed) = results.iter().find(|&&result| result < 0) {
            return failed;
        }
    }
    close(lasting);
    count
}

/// Whether there is another command, or the test has ended.
fn is_told() -> bool {
    let mut control = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, which lives until the call returns.
    unsafe { libc::poll(&raw mut control, 1, 0) != 0 }
}

/// Executes this program again and again, with all its descriptors, until the next command.
fn execute_until_told(control: &mut UnixStream) {
    std::thread::sleep(std::time::Duration::from_millis(100));
    let failed = if is_told() { 0 } else { execute(&[EXECUTED_AGAIN]) };
    answer(control, &[failed]);
}

/// Creates a storm that lasts until the next command, or until the test ends.
fn storm_until_told(path: &[u8]) -> i64 {
    while !is_told() {
        let result = storm(100, path);
        if result < 0 {
            return result;
        }
    }
    0
}
