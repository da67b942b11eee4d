//! Clients of the agent's socket, good and bad. The event loop is the test.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use inotify_trace_model::{
    event::{Event, EventKind, InstanceId, Loss, Quota},
    feed::Item,
    story::Story,
    testing::{at, task},
};

use super::{
    super::protocol::{AgentError, Wish, ask},
    *,
};

/// An agent with a socket and no kernel.
struct Agent {
    story: Story,
    clients: Clients,
    path: PathBuf,
    seconds: u64,
    _place: Place,
    _directory: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (shared, asked) = Shared::new();
        shared.set_unready(None);
        let shared = Arc::new(shared);
        // What wakes the event loop is not needed here, but must be there.
        std::mem::forget(asked);
        let header = Header { host: "node".to_owned(), ..Header::default() };
        let (clients, place) = Socket::open(&path, None).unwrap().serve(header, shared).unwrap();
        let story = Story::without_verdicts(at(1));
        Self { story, clients, path, seconds: 1, _place: place, _directory: directory }
    }

    /// The next batch, with instances that were just created.
    fn batch(&mut self, instances: std::ops::Range<u64>) {
        let kind = |id: u64| {
            let (instance, fd) = (InstanceId(id), 5);
            let quota = Some(Quota::own(1, 128, 0, 1));
            EventKind::InstanceCreated { instance, fd, flags: 0, quota }
        };
        self.take(instances.map(kind));
    }

    fn take(&mut self, kinds: impl Iterator<Item = EventKind>) {
        self.seconds += 1;
        let time = at(self.seconds);
        let event = |kind| Event { time, task: Some(task(4711, "workload")), kind };
        let batch = Batch { time, judged: false, events: kinds.map(event).collect() };
        self.story.take(Item::Batch(batch), &mut self.clients).unwrap();
    }

    /// Asks in a thread, while batches come; returns the client once it has the state.
    fn connect(&mut self, wish: Wish) -> std::thread::JoinHandle<Vec<Item>> {
        let path = self.path.clone();
        let before = self.clients.joined.len();
        let client = std::thread::spawn(move || {
            let mut answer = ask(&path, wish).unwrap();
            assert_eq!(answer.header().host, "node");
            std::iter::from_fn(|| answer.next_item().unwrap()).collect::<Vec<_>>()
        });
        let began = Instant::now();
        let has_it = |agent: &Self| match wish {
            Wish::Events => agent.clients.joined.len() > before,
            Wish::State | Wish::Metrics => client.is_finished(),
        };
        while !has_it(self) {
            assert!(began.elapsed() < Duration::from_secs(30), "the client gets no state");
            self.batch(0..0);
            std::thread::sleep(Duration::from_millis(1));
        }
        client
    }
}

/// The state that items lead to, and the time.
fn story_of(items: Vec<Item>) -> Story {
    let mut story = Story::without_verdicts(at(0));
    for item in items {
        let Ok(()) = story.take(item, &mut ());
    }
    story
}

#[test]
fn a_client_gets_the_state_and_the_events_after_it() {
    let mut agent = Agent::start();
    agent.batch(1..4);
    let state = agent.connect(Wish::State).join().unwrap();
    assert_eq!(story_of(state).tracker().parts(), agent.story.tracker().parts());
    let follower = agent.connect(Wish::Events);
    agent.batch(4..9);
    agent.batch(9..10);
    let end = at(agent.seconds + 1);
    agent.story.take(Item::End(end), &mut agent.clients).unwrap();
    let told = follower.join().unwrap();
    assert_eq!(told.last(), Some(&Item::End(end)));
    let story = story_of(told);
    assert_eq!(story.tracker().parts(), agent.story.tracker().parts());
    assert_eq!(story.tracker().instances().count(), 9);
}

#[test]
fn only_root_may_ask_unless_told_otherwise() {
    let agent = Agent::start();
    assert_eq!(agent.path.metadata().unwrap().mode() & 0o777, 0o600);
    let path = agent.path.with_file_name("group");
    let _socket = Socket::open(&path, Some(rustix::process::getgid().as_raw())).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o660);
}

#[test]
fn a_socket_is_replaced_only_if_nobody_listens_there() {
    let agent = Agent::start();
    let again = Socket::open(&agent.path, None).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    let path = agent.path.with_file_name("left-behind");
    drop(UnixListener::bind(&path).unwrap());
    drop(Socket::open(&path, None).unwrap());
    assert!(!path.exists(), "removed at the end");
    std::fs::write(&path, "a file").unwrap();
    assert!(Socket::open(&path, None).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

#[test]
fn bad_requests_are_answered_with_errors() {
    let agent = Agent::start();
    for (request, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "error a request is one line"),
        (b"inotify-trace 2 state\n", "error this agent speaks version 1"),
        (b"inotify-trace 1 all\n", "error the request must be"),
        (&[b'x'; 4096], "error a request is one line"),
    ] {
        let mut stream = UnixStream::connect(&agent.path).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }
}

#[test]
fn what_is_no_agent_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other");
    let listener = UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"ok 1\nnonsense", b""] {
            let mut stream = listener.accept().unwrap().0;
            let mut request = [0; 22];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    assert!(matches!(ask(&path, Wish::State), Err(AgentError::NoAgent)));
    assert!(matches!(ask(&path, Wish::State), Err(AgentError::Answer(_))));
    assert!(ask(&path, Wish::State).is_err());
    other.join().unwrap();
    assert!(matches!(ask(&path.with_file_name("none"), Wish::State), Err(AgentError::Connect(_))));
}

#[test]
fn too_many_clients_are_refused_and_the_silent_ones_end() {
    let agent = Agent::start();
    let silent: Vec<_> = (0..CLIENTS).map(|_| UnixStream::connect(&agent.path).unwrap()).collect();
    let began = Instant::now();
    let refusal = loop {
        match ask(&agent.path, Wish::State) {
            Err(AgentError::Refused(reason)) => break reason,
            other => assert!(began.elapsed() < TO_ASK, "{other:?}"),
        }
    };
    assert!(refusal.contains("too many clients"), "{refusal}");
    // They say nothing, and are given up.
    for mut stream in silent {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
}

#[test]
fn a_request_has_its_time_however_it_comes() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let client = std::thread::spawn(move || {
        for byte in b"inotify-trace 1 state\n" {
            // It is refused before the end.
            if theirs.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(line(&mut ours, Duration::from_millis(500)).is_err());
    drop(ours);
    client.join().unwrap();
}

#[test]
fn a_slow_client_is_cut_off_and_told_and_delays_nobody() {
    let mut agent = Agent::start();
    let mut slow = UnixStream::connect(&agent.path).unwrap();
    slow.write_all(b"inotify-trace 1 events\n").unwrap();
    while agent.clients.joined.is_empty() {
        agent.batch(0..0);
        std::thread::sleep(Duration::from_millis(1));
    }
    // It reads nothing, whatever comes: these events do not change the state, so that they come faster
    // than it would be given up for its silence.
    agent.batch(1..9);
    let mut events = 0;
    while !agent.clients.joined.is_empty() {
        assert!(events < 32 * EVENTS, "it is never cut off");
        // Numbers that can't be packed: what is small would wait in the socket.
        let number = |at: usize| (events + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let closed = |at| EventKind::RangeClosed {
            first: (number(at) >> 33) as i32,
            last: (number(at) as u32 >> 1) as i32,
        };
        agent.take((0..EVENTS / 4).map(closed));
        events += EVENTS / 4;
    }
    // The others go on, and when it reads at last, it is told.
    let client = agent.connect(Wish::State);
    assert_eq!(story_of(client.join().unwrap()).tracker().instances().count(), 8);
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut line = [0; 5];
    slow.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ok 1\n");
    let mut answer = crate::recording::Reader::new(slow).unwrap();
    let mut lost = 0;
    while let Some(item) = answer.next_item().unwrap() {
        let Item::Batch(batch) = item else { continue };
        for event in batch.events {
            if let EventKind::Lost { count, what: Loss::Unrecorded } = event.kind {
                lost += count;
            }
        }
    }
    assert!(lost > 0, "it is not told");
    assert_eq!(answer.goes_on(), Some(false), "there is an end");
}
