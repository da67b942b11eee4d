//! The agent's socket: other commands ask the running agent for its state and its events, so that they
//! need not load kernel programs themselves. docs/agent-socket.md describes the protocol.
//!
//! A client has a thread, which writes to it, and a queue in front of that thread. If the queue is full,
//! the client is cut off: the event loop waits for nobody.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use inotify_trace_model::{
    event::BootTime,
    feed::Batch,
    story::Audience,
    tracker::{Part, Tracker},
};
use rustix::{
    fs::{Gid, Mode, chown},
    process::umask,
};

use super::{
    Shared, listen,
    protocol::{LONGEST, Request, VERSION, Wish},
};
use crate::{
    host::privileges,
    recording::{Header, Stream},
    threads,
};

/// The most clients at once.
const CLIENTS: usize = 8;

/// The most batches, and the most events, that wait for a client: a few megabytes.
const WAITING: usize = 256;
const EVENTS: usize = 32 << 10;

/// The time in which a client must have sent its request.
const TO_ASK: Duration = Duration::from_secs(5);

/// The time that a client may take to read anything at all.
const TO_READ: Duration = Duration::from_secs(10);

/// A socket that is listened on. Dropping it removes it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    place: Place,
}

/// The file of a socket.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens at a path, for root and a group.
    ///
    /// # Errors
    /// If that is not possible there.
    pub fn open(path: &Path, group: Option<u32>) -> io::Result<Self> {
        // From its first moment on, nobody else may connect.
        let before = umask(Mode::from_raw_mode(0o177));
        let listener = listen::open_unix(path);
        umask(before);
        let socket = Self { listener: listener?, place: Place(path.to_owned()) };
        if let Some(group) = group {
            chown(path, None, Some(Gid::from_raw(group)))?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        }
        Ok(socket)
    }

    /// Serves in threads of their own, which have no privileges. The place is removed when it is
    /// dropped.
    ///
    /// # Errors
    /// If there is no room for a thread.
    pub fn serve(self, header: Header, shared: Arc<Shared>) -> io::Result<(Clients, Place)> {
        let (sender, new) = sync_channel(CLIENTS);
        let header = Arc::new(header);
        let listener = self.listener;
        // Its threads share it: each waits for pages in it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let pages = Arc::new((runtime, shared));
        threads::spawn("socket", move || {
            privileges::give_up_all();
            accept(&listener, &header, &pages, &sender);
        })?;
        let clients = Clients { new, joining: Vec::new(), joined: Vec::new(), due: None };
        Ok((clients, self.place))
    }
}

/// Where pages are, and what waits for them.
type Pages = (tokio::runtime::Runtime, Arc<Shared>);

fn accept(
    listener: &UnixListener,
    header: &Arc<Header>,
    pages: &Arc<Pages>,
    sender: &SyncSender<Client>,
) {
    let count = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            // There may be no descriptor for it.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        if count.fetch_add(1, Ordering::SeqCst) >= CLIENTS {
            count.fetch_sub(1, Ordering::SeqCst);
            let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
            let _ = refuse(&mut stream, "too many clients: try again later");
            continue;
        }
        let (header, pages, sender) = (Arc::clone(header), Arc::clone(pages), sender.clone());
        let counted = Counted(Arc::clone(&count));
        let started = threads::spawn("client", move || {
            let _counted = counted;
            if let Err(error) = serve(stream, &header, &pages, &sender) {
                log::debug!("a client of the socket: {error}");
            }
        });
        if let Err(error) = started {
            log::warn!("cannot serve a client of the socket: {error}");
        }
    }
}

/// A client that counts until this is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn refuse(stream: &mut UnixStream, reason: &str) -> io::Result<()> {
    writeln!(stream, "error {reason}")
}

/// The line that a client sends, which it must have done within this time: one that sends a byte now
/// and then must not keep its place.
fn line(stream: &mut UnixStream, time: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + time;
    let (mut line, mut byte) = (Vec::new(), [0]);
    // Byte by byte: it is short, and nothing may come after it.
    while line.last() != Some(&b'\n') && line.len() < LONGEST {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut byte)? == 0 {
            break;
        }
        line.push(byte[0]);
    }
    Ok(line)
}

/// Serves a client.
fn serve(
    mut stream: UnixStream,
    header: &Header,
    pages: &Pages,
    sender: &SyncSender<Client>,
) -> io::Result<()> {
    let (_, shared) = pages;
    stream.set_write_timeout(Some(TO_READ))?;
    let line = line(&mut stream, TO_ASK)?;
    let request = match Request::parse(&line) {
        Ok(request) => request,
        Err(reason) => return refuse(&mut stream, &reason),
    };
    if let Some(reason) = shared.unready() {
        return refuse(&mut stream, &format!("the agent is not ready: {reason}"));
    }
    if request.0 == Wish::Metrics {
        return page(&mut stream, pages);
    }
    let (jobs, work) = sync_channel(WAITING);
    let queue = Arc::new(Queue::default());
    let client = Client { jobs, wish: request.0, queue: Arc::clone(&queue) };
    sender.send(client).map_err(io::Error::other)?;
    shared.wake();
    writeln!(stream, "ok {VERSION}")?;
    let mut out = Stream::begin(stream, header)?;
    let mut now = header.started;
    while let Ok(job) = work.recv() {
        match job {
            Job::State(time, parts) => {
                now = time;
                out.state(time, parts)?;
            }
            Job::Batch(batch) => {
                now = batch.time;
                queue.events.fetch_sub(batch.events.len(), Ordering::SeqCst);
                out.batch(batch)?;
            }
            Job::End(time) => now = time,
        }
    }
    let missed = queue.missed.load(Ordering::SeqCst);
    if missed > 0 {
        out.lost(now, missed)?;
    }
    out.end(now)
}

/// Sends a page of metrics.
fn page(stream: &mut UnixStream, (runtime, shared): &Pages) -> io::Result<()> {
    let Some(page) = runtime.block_on(shared.page()) else {
        return refuse(stream, "the event loop does not answer");
    };
    writeln!(stream, "ok {VERSION}")?;
    stream.write_all(&page.text)
}

/// Something to send.
#[derive(Debug)]
enum Job {
    State(BootTime, Vec<Part>),
    Batch(Batch),
    End(BootTime),
}

/// A client, as the event loop sees it. Without it, its thread sends what waits, and the end.
#[derive(Debug)]
struct Client {
    jobs: SyncSender<Job>,
    wish: Wish,
    queue: Arc<Queue>,
}

/// What the event loop and a client's thread both know of its queue.
#[derive(Debug, Default)]
struct Queue {
    /// How many events wait.
    events: AtomicUsize,
    /// How many are missing, if the client was cut off.
    missed: AtomicU64,
}

impl Client {
    /// Queues a batch; false if the client is cut off, since it has not read what came before.
    fn send(&self, batch: &Batch) -> bool {
        let count = batch.events.len();
        let before = self.queue.events.fetch_add(count, Ordering::SeqCst);
        // One that reads all gets even a large batch.
        let has_room = before == 0 || before + count <= EVENTS;
        let is_sent = has_room && self.jobs.try_send(Job::Batch(batch.clone())).is_ok();
        if !is_sent {
            self.queue.missed.store(count.max(1) as u64, Ordering::SeqCst);
        }
        is_sent
    }
}

/// An audience that hands state and events to clients.
#[derive(Debug)]
pub struct Clients {
    new: Receiver<Client>,
    /// Those who have the state before the end of the batch.
    joining: Vec<Client>,
    joined: Vec<Client>,
    /// When those who wait get the state.
    due: Option<BootTime>,
}

impl Audience for Clients {
    type Error = io::Error;

    fn due(&self) -> Option<BootTime> {
        self.due
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.due = None;
        for client in std::mem::take(&mut self.joining) {
            let parts = tracker.parts();
            // It is the first in the queue.
            let is_there = client.jobs.try_send(Job::State(now, parts)).is_ok();
            if is_there && client.wish == Wish::Events {
                self.joined.push(client);
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: &mut Batch, _: &Tracker) -> io::Result<()> {
        let news = batch.judged || !batch.events.is_empty();
        if news {
            self.joined.retain(|client| client.send(batch));
        }
        self.joining.extend(self.new.try_iter());
        if !self.joining.is_empty() {
            self.due = Some(batch.time);
        }
        Ok(())
    }

    fn closed(&mut self, _: &Tracker, time: BootTime) -> io::Result<()> {
        for client in std::mem::take(&mut self.joined) {
            let _ = client.jobs.try_send(Job::End(time));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
