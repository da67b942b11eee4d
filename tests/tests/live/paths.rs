//! Paths of every kind.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use inotify_trace_tests::{live_test, system};

use crate::{nothing_lost, scene};

/// The same path, this many bytes long.
fn stretched(path: &Path, length: usize) -> PathBuf {
    let mut text = path.to_str().unwrap().to_owned();
    while text.len() < length {
        text.push_str(if text.len() + 2 <= length { "/." } else { "/" });
    }
    text.into()
}

#[live_test]
fn paths_of_every_length_come_whole() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    // Lengths around powers of two, where buffers end, and the kernel's maximum.
    let lengths = [127, 128, 129, 250, 251, 252, 253, 254, 255, 256, 257, 300, 1000, 4000, 4095];
    for length in lengths {
        let path = stretched(directory.path(), length);
        assert_eq!(path.as_os_str().len(), length);
        subject.watch(fd, &path, libc::IN_MODIFY).unwrap();
    }
    let missing = stretched(directory.path(), 3000).join("missing");
    subject.watch(fd, missing, libc::IN_MODIFY).unwrap_err();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}

#[live_test]
fn odd_paths() {
    let directory = system::directory();
    let (_machine, world, agent) = scene();
    let mut subject = world.subject();
    let fd = subject.create(0).unwrap();
    let names: [&[u8]; 5] =
        [b"\xff\xfe", b"new\nline", b"quote\"back\\slash", "\u{1f980}\u{1b}[31m".as_bytes(), b" "];
    for name in names {
        let path = directory.path().join(OsStr::from_bytes(name));
        std::fs::create_dir(&path).unwrap();
        subject.watch(fd, &path, libc::IN_MODIFY).unwrap();
    }
    subject.watch(fd, "", libc::IN_MODIFY).unwrap_err();
    subject.watch(fd, "/", libc::IN_MODIFY).unwrap();
    subject.close(fd);
    nothing_lost(&agent.finish(&world));
}
