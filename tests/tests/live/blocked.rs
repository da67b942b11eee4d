//! An agent whose output nobody reads ends all the same.

use std::{
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    process::{Child, Command, Stdio},
};

use inotify_trace_tests::{Process, agent::binary, live_test, process::hex, system, wait};

/// Sends so many events that a pipe of 64 KiB is full.
fn storm() {
    let directory = system::directory();
    let mut process = Process::start();
    let path = hex(directory.path().as_os_str().as_encoded_bytes());
    assert_eq!(process.call(&format!("storm 2000 {path}")), Ok(2000));
}

fn terminate(agent: &mut Child) -> Option<i32> {
    let pid = i32::try_from(agent.id()).unwrap();
    // SAFETY: no pointers; the child was not waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    let mut status = None;
    wait::until("it ends", || {
        status = agent.try_wait().unwrap();
        status.is_some()
    });
    status.and_then(|status| status.code())
}

/// Waits until the pipe takes no more: no page is left. How many bytes that are depends on how large the
/// writes were.
fn is_full(pipe: &io::PipeWriter) {
    wait::until("nothing more fits into the pipe", || {
        let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one entry, which lives on; it does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
    });
}

#[live_test]
fn a_signal_ends_it_though_nobody_reads_its_output() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.itrec");
    let (_reader, writer) = io::pipe().unwrap();
    let mut agent = Command::new(binary())
        .args(["trace", "-o", "json", "--record"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = agent.stderr.take().unwrap();
    let mut greeting = vec![0; 4096];
    let length = errors.read(&mut greeting).unwrap();
    assert!(String::from_utf8_lossy(&greeting[..length]).contains("Tracing inotify"));
    storm();
    is_full(&writer);
    let code = terminate(&mut agent);
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("nobody reads the output"), "{text}");
    // What was recorded is whole, and has its end.
    let replay = Command::new(binary()).arg("report").arg(&file).args(["-f", "text"]).output();
    let replay = replay.unwrap();
    let text = String::from_utf8_lossy(&replay.stderr).into_owned();
    assert_eq!(replay.status.code(), Some(0), "{text}");
}

#[live_test]
fn a_signal_ends_it_though_nobody_reads_its_messages_either() {
    let (reader, writer) = io::pipe().unwrap();
    let mut agent = Command::new(binary())
        .args(["trace", "-o", "json"])
        .stdin(Stdio::null())
        .stdout(writer.try_clone().unwrap())
        .stderr(writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut greeting = vec![0; 16];
    (&reader).read_exact(&mut greeting).unwrap();
    storm();
    is_full(&writer);
    assert_eq!(terminate(&mut agent), Some(2));
}
