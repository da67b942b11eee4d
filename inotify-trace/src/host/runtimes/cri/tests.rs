use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    thread,
};

use inotify_trace_tests::wait::patience;
use prost::Message as _;

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

/// Serves one version of CRI on a listener, with one container of one pod, until nobody asks any more.
fn serve(listener: UnixListener, service: &'static str) {
    use api::{
        ContainerMetadata, ContainerStatusResponse, ListContainersResponse, ListPodSandboxResponse,
        PodSandbox, PodSandboxMetadata, VersionResponse,
    };
    let (sandbox, id) = ("5a".repeat(32), "a1".repeat(32));
    let answer = move |method: &str| match method {
        "Version" => VersionResponse {
            runtime_name: "containerd".to_owned(),
            runtime_version: "1.4.13".to_owned(),
        }
        .encode_to_vec(),
        "ListPodSandbox" => {
            let metadata =
                PodSandboxMetadata { name: "shop-5d8f".to_owned(), namespace: "prod".to_owned() };
            let items = vec![PodSandbox { id: sandbox.clone(), metadata: Some(metadata) }];
            ListPodSandboxResponse { items }.encode_to_vec()
        }
        "ListContainers" => {
            let metadata = Some(ContainerMetadata { name: "n".repeat(1 << 20) });
            let (id, pod_sandbox_id) = (id.clone(), sandbox.clone());
            let container = api::Container { id, pod_sandbox_id, metadata, ..Default::default() };
            ListContainersResponse { containers: vec![container] }.encode_to_vec()
        }
        _ => ContainerStatusResponse::default().encode_to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            let response = http::Response::builder().header("content-type", "application/grpc");
            let Some(method) = path.strip_prefix(&format!("/{service}/")) else {
                // UNIMPLEMENTED.
                let response = response.header("grpc-status", "12").body(()).unwrap();
                respond.send_response(response, true).unwrap();
                continue;
            };
            let message = answer(method);
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let mut body = respond.send_response(response.body(()).unwrap(), false).unwrap();
            body.send_data([&[0][..], &length, &message].concat().into(), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            body.send_trailers(trailers).unwrap();
        }
    });
}

#[test]
fn the_version_of_cri_that_is_served_is_used() {
    for service in ["runtime.v1.RuntimeService", "runtime.v1alpha2.RuntimeService"] {
        let root = tempfile::tempdir().unwrap();
        let listener = listener(root.path());
        let server = thread::spawn(move || serve(listener, service));
        let names = asked(root.path()).unwrap().names.unwrap_or_default();
        let pod = [names.namespace.as_deref(), names.pod_name.as_deref()];
        assert_eq!(pod, [Some("prod"), Some("shop-5d8f")], "{service}");
        assert_eq!(names.name.map(|name| name.len()), Some(253), "names have an end");
        server.join().unwrap();
    }
    let root = tempfile::tempdir().unwrap();
    let listener = listener(root.path());
    let server = thread::spawn(move || serve(listener, "runtime.v9.RuntimeService"));
    assert_eq!(asked(root.path()).map(|it| it.names), Some(None));
    server.join().unwrap();
}
