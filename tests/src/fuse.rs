//! A file system that a program serves (`linux/fuse.h`), and that stops to answer on demand.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether requests are left without an answer from now on.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// The largest request with the buffer that `INIT` asks for.
const LARGEST: usize = 256 << 10;

/// Bytes of `struct fuse_in_header`.
const HEAD: usize = 40;

/// Nodes: the root, a directory `dir` and a file `file` in it.
const ROOT: u64 = 1;
const DIRECTORY: u64 = 2;
const FILE: u64 = 3;

/// How long answers may be kept, in seconds: not at all, so that each look-up asks.
const VALID: u64 = 0;

/// From now on, requests get no answer.
pub fn fall_silent() {
    IS_SILENT.store(true, Ordering::SeqCst);
}

/// Mounts the file system, and serves it in a thread until the process ends.
///
/// # Errors
/// If the kernel has no FUSE, or may not mount it here.
pub fn mount(path: &[u8]) -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    // SAFETY: no pointers.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let fd = device.as_raw_fd();
    let options = format!("fd={fd},rootmode=40000,user_id={uid},group_id={gid},allow_other");
    let (path, options) = (CString::new(path)?, CString::new(options)?);
    let (source, kind) = (c"silent".as_ptr(), c"fuse".as_ptr());
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: texts that end with a zero and live until the call returns.
    let result =
        unsafe { libc::mount(source, path.as_ptr(), kind, flags, options.as_ptr().cast()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    std::thread::Builder::new().spawn(move || serve(device))?;
    Ok(())
}

fn serve(mut device: File) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match device.read(&mut buffer) {
            Ok(length) if length >= HEAD && !IS_SILENT.load(Ordering::SeqCst) => {
                // A request may be withdrawn meanwhile.
                let _ = answer(&mut device, &buffer[..length]);
            }
            // Unmounted.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return,
            _ => {}
        }
    }
}

fn answer(device: &mut File, request: &[u8]) -> io::Result<()> {
    let number = |at: usize, size: usize| {
        let bytes = request.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0, |number: u64, &byte| number << 8 | u64::from(byte))
    };
    let (code, unique, node) = (number(4, 4), number(8, 8), number(16, 8));
    let (mut error, mut body) = (0_i32, Vec::new());
    match code {
        // LOOKUP
        1 => {
            let name = request[HEAD..].split(|&byte| byte == 0).next().unwrap_or_default();
            match name {
                b"." => entry(node, &mut body),
                b"dir" if node == ROOT => entry(DIRECTORY, &mut body),
                b"file" if node == DIRECTORY => entry(FILE, &mut body),
                _ => error = libc::ENOENT,
            }
        }
        // FORGET and BATCH_FORGET get no answer in any case.
        2 | 42 => return Ok(()),
        // GETATTR
        3 => {
            push(&mut body, &[(VALID, 8), (0, 4), (0, 4)]);
            attributes(node, &mut body);
        }
        // OPEN and OPENDIR
        14 | 27 => push(&mut body, &[(7, 8), (0, 4), (0, 4)]),
        // READ: zeros, as many as are wanted of one page.
        15 => body.resize(usize::try_from(number(HEAD + 16, 4)).unwrap_or(0).min(4096), 0),
        // STATFS
        17 => push(&mut body, &[(0, 40), (4096, 4), (255, 4), (4096, 4), (0, 28)]),
        // RELEASE, FLUSH, RELEASEDIR, ACCESS, and the entries of a directory: none.
        18 | 25 | 28 | 29 | 34 => {}
        // INIT: version 7.31, with handles (`FUSE_EXPORT_SUPPORT`).
        26 => push(
            &mut body,
            &[(7, 4), (31, 4), (number(HEAD + 8, 4), 4), (number(HEAD + 12, 4) & 1 << 4, 4)]
                .into_iter()
                .chain([(12, 2), (9, 2), (128 << 10, 4), (1, 4), (0, 36)])
                .collect::<Vec<_>>(),
        ),
        _ => error = libc::ENOSYS,
    }
    let mut reply = Vec::new();
    let length = if error == 0 { body.len() } else { 0 };
    push(&mut reply, &[(16 + length as u64, 4), (error.wrapping_neg().cast_unsigned().into(), 4)]);
    push(&mut reply, &[(unique, 8)]);
    reply.extend(&body[..length]);
    device.write_all(&reply)
}

/// `struct fuse_entry_out`.
fn entry(node: u64, body: &mut Vec<u8>) {
    push(body, &[(node, 8), (1, 8), (VALID, 8), (VALID, 8), (0, 4), (0, 4)]);
    attributes(node, body);
}

/// `struct fuse_attr`.
fn attributes(node: u64, body: &mut Vec<u8>) {
    let (mode, size) = if node == FILE { (0o100_444, 4096) } else { (0o40_755, 0) };
    push(body, &[(node, 8), (size, 8), (8, 8), (0, 24), (0, 12), (mode, 4), (2, 4)]);
    push(body, &[(0, 4), (0, 4), (0, 4), (4096, 4), (0, 4)]);
}

/// Adds little-endian numbers of these sizes.
fn push(body: &mut Vec<u8>, numbers: &[(u64, usize)]) {
    for &(number, size) in numbers {
        let at = body.len();
        body.resize(at + size, 0);
        for (to, from) in body[at..].iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
    }
}
