//! A runtime that knows one container, and counts how often it is asked.

use std::{
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use prost::Message;

/// `VersionResponse`, or the metadata of a pod or of a container: of each, the texts that matter.
#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    runtime: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

/// A pod or a container.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "2")]
    metadata: Option<Texts>,
}

/// A list of either.
#[derive(Clone, PartialEq, Message)]
struct Entries {
    #[prost(message, repeated, tag = "1")]
    all: Vec<Entry>,
}

/// The runtime. Its thread ends with the test.
pub struct Runtime {
    asked: Arc<AtomicU64>,
    hangs_up: Arc<AtomicBool>,
}

impl Runtime {
    /// One that has this sandbox.
    pub fn start(socket: &Path, sandbox: &str) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (asked, hangs_up) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let it = Self { asked: Arc::clone(&asked), hangs_up: Arc::clone(&hangs_up) };
        let metadata =
            Some(Texts { name: "job-1".into(), namespace: "batch".into(), ..Default::default() });
        let pods = Entries { all: vec![Entry { id: sandbox.to_owned(), metadata }] };
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            for stream in listener.incoming() {
                asked.fetch_add(1, Ordering::SeqCst);
                if !hangs_up.load(Ordering::SeqCst) {
                    runtime.block_on(serve(stream.unwrap(), &pods));
                }
            }
        });
        it
    }

    /// How often it was asked: each time is a connection.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// From now on it closes each connection at once.
    pub fn hang_up(&self) {
        self.hangs_up.store(true, Ordering::SeqCst);
    }
}

/// Serves a connection to its end.
async fn serve(stream: std::os::unix::net::UnixStream, pods: &Entries) {
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::UnixStream::from_std(stream).unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let message = match request.uri().path().rsplit('/').next() {
            Some("Version") => {
                Texts { runtime: "containerd".into(), ..Default::default() }.encode_to_vec()
            }
            Some("ListPodSandbox") => pods.encode_to_vec(),
            // No containers.
            _ => Vec::new(),
        };
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let head = http::Response::builder().header("content-type", "application/grpc");
        let Ok(mut body) = respond.send_response(head.body(()).unwrap(), false) else { return };
        let _ = body.send_data([&[0][..], &length, &message].concat().into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = body.send_trailers(trailers);
    }
}
