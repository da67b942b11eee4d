//! Clients of HTTP, good and bad. The event loop is a thread that makes a page for each that is wanted.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::super::{Listen, Shared, listen::Listener};

/// A server with an event loop.
struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    is_over: Arc<AtomicBool>,
    pages: Arc<AtomicU64>,
    event_loop: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let (shared, mut asked) = Shared::new();
        let shared = Arc::new(shared);
        let listener = "127.0.0.1:0".parse::<Listen>().unwrap().open().unwrap();
        let Listener::Tcp(tcp) = &listener else { panic!("no TCP") };
        let address = tcp.local_addr().unwrap();
        super::serve(listener, Arc::clone(&shared)).unwrap();
        let (is_over, pages) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (its, over, made) = (Arc::clone(&shared), Arc::clone(&is_over), Arc::clone(&pages));
        let event_loop = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                its.beat();
                if asked.try_recv().is_ok() && its.is_wanted() {
                    let number = made.fetch_add(1, Ordering::SeqCst) + 1;
                    its.publish(format!("page {number}\n"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { address, shared, is_over, pages, event_loop: Some(event_loop) }
    }

    fn ready() -> Self {
        let server = Self::start();
        server.shared.set_unready(None);
        server
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// What comes back for these bytes.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may close before it has read all.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.event_loop.take().map(JoinHandle::join);
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn what_is_not_there_yet_is_said() {
    let server = Server::start();
    assert_eq!(status(&server.get("/healthz")), "200");
    for path in ["/readyz", "/metrics"] {
        let answer = server.get(path);
        assert!(status(&answer) == "503" && answer.contains("not attached"), "{answer}");
    }
    server.shared.set_unready(None);
    for path in ["/readyz", "/metrics", "/"] {
        assert_eq!(status(&server.get(path)), "200", "{path}");
    }
    assert_eq!(status(&server.get("/nothing")), "404");
}

#[test]
fn only_get_and_head_are_answered() {
    let server = Server::ready();
    let head = server.send(b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(status(&head) == "200" && head.contains("content-length: ") && !head.contains("page"));
    assert_eq!(server.shared.served(), 0, "who has the head has no values");
    let get = server.get("/metrics");
    assert!(get.contains("application/openmetrics-text; version=1.0.0") && get.contains("page 1"));
    assert_eq!(server.shared.served(), 1);
    for method in ["POST", "PUT", "DELETE", "CONNECT", "BREW"] {
        let answer =
            server.send(format!("{method} /metrics HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        assert!(["405", "400"].contains(&status(&answer)), "{method}: {answer}");
    }
}

#[test]
fn nonsense_is_refused_and_the_next_is_answered() {
    let server = Server::ready();
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20 << 10));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
    for (bytes, expected) in [
        (long.as_bytes(), "431"),
        (many.as_bytes(), "431"),
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
        (b"\r\n\r\nno http at all\r\n\r\n", "400"),
        (b"GET / HTTP/9.9\r\n\r\n", "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = [0; 12];
        // With bytes unread, the server's close may reset the connection before the answer is read.
        if stream.read_exact(&mut answer).is_ok() {
            assert_eq!(status(&String::from_utf8_lossy(&answer)), expected);
        }
        assert_eq!(status(&server.get("/metrics")), "200");
    }
}

#[test]
fn slow_clients_take_no_connection_for_long() {
    let server = Server::ready();
    let began = Instant::now();
    // More than there are connections: each sends one byte of a request, and no more.
    let slow: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"G").unwrap();
            stream
        })
        .collect();
    assert_eq!(status(&server.get("/metrics")), "200");
    // Three rounds of connections come before it, with five seconds each.
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    drop(slow);
}

#[test]
fn all_who_come_at_once_share_a_page() {
    let server = Server::ready();
    let began = Instant::now();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let address = server.address;
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                answer
            })
        })
        .collect();
    for client in clients {
        let answer = client.join().unwrap();
        assert!(status(&answer) == "200" && answer.contains("page "), "{answer}");
    }
    // One a second, and one for those who came while it was made.
    let most = 2 + began.elapsed().as_secs();
    let pages = server.pages.load(Ordering::SeqCst);
    assert!(pages <= most, "{pages} pages");
}

#[test]
fn numbers_of_the_past_are_no_answer() {
    let mut server = Server::ready();
    assert_eq!(status(&server.get("/metrics")), "200");
    // The event loop hangs.
    server.is_over.store(true, Ordering::SeqCst);
    server.event_loop.take().map(JoinHandle::join);
    std::thread::sleep(super::super::shared::FRESH);
    let answer = server.get("/metrics");
    assert!(status(&answer) == "503" && answer.contains("does not answer"), "{answer}");
    let silence = super::health(Duration::from_secs(11));
    assert_eq!(silence.status(), 503);
}
