use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    thread,
};

use inotify_trace_tests::wait::patience;

use super::*;

fn container(runtime: impl Into<Option<Runtime>>) -> Container {
    Container { runtime: runtime.into(), id: "a1".repeat(32), pod: None, qos: None, outer: None }
}

/// The answers of the listener below a root.
fn asked(root: &Path) -> Option<Answer> {
    let mut cri = Cri::new(root, None);
    assert!(cri.ask(&container(Runtime::Containerd)));
    assert!(cri.is_open(), "asking does not wait");
    let answer = cri.wait(Instant::now() + patience());
    assert!(!cri.is_open());
    answer
}

fn listener(root: &Path) -> UnixListener {
    let socket = root.join(SOCKETS[0]);
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    UnixListener::bind(socket).unwrap()
}

#[test]
fn nobody_is_asked_where_nobody_can_be() {
    let root = tempfile::tempdir().unwrap();
    let mut cri = Cri::new(root.path(), None);
    assert!(!cri.ask(&container(Runtime::Containerd)));
    assert!(cri.worker.is_none());
    let _listener = listener(root.path());
    // Docker's and Podman's containers are not Kubernetes', and other ids neither.
    assert!(!cri.ask(&container(Runtime::Docker)));
    assert!(!cri.ask(&Container { id: "web".to_owned(), ..container(Runtime::Containerd) }));
    assert!(cri.worker.is_none());
}

#[test]
fn a_socket_that_hangs_is_given_up() {
    let root = tempfile::tempdir().unwrap();
    // Connections are accepted, and never read.
    let _listener = listener(root.path());
    assert_eq!(asked(root.path()).map(|it| it.names), Some(None));
}

#[test]
fn a_socket_that_talks_otherwise_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    let listener = listener(root.path());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 64]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let answer = asked(root.path());
    server.join().unwrap();
    assert_eq!(answer.map(|it| it.names), Some(None));
}

#[test]
fn a_socket_that_nobody_listens_on_is_passed_over() {
    let root = tempfile::tempdir().unwrap();
    drop(listener(root.path()));
    assert_eq!(asked(root.path()).map(|it| it.names), Some(None));
}
