//! A process that executes commands one by one; see `src/bin/workload.rs`.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{system, wait::patience};

/// The result of a system call, or a positive errno.
pub type Answer = Result<i32, i32>;

/// A thread of a process that executes commands. It exits when this is dropped.
#[derive(Debug)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    control: BufReader<UnixStream>,
    /// The process, if the test itself started it.
    child: Option<Child>,
}

/// The path of the workload binary.
#[must_use]
pub fn workload() -> PathBuf {
    let places = system::beside_test();
    let candidates: Vec<_> = places.iter().map(|place| place.join("workload")).collect();
    system::binary("INOTIFY_TRACE_WORKLOAD", &candidates)
}

/// Encodes a path or a text for the workload.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Process {
    /// Starts a process.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(&workload(), &[])
    }

    /// Starts a process from a copy of the program, with arguments that the workload ignores.
    #[must_use]
    pub fn start_as(program: &Path, arguments: &[&str]) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("the workload must start");
        Self { pid: child.id(), tid: child.id(), control: buffered(ours), child: Some(child) }
    }

    /// Starts a process of a user without charges, and creates `instances` instances.
    ///
    /// # Panics
    /// If the kernel refuses any of it.
    #[must_use]
    pub fn of_user_with(uid: u32, instances: u32) -> Self {
        let mut process = Self::start();
        let room = format!("open_files {}", instances + 1000);
        process.call(&room).expect("room for them");
        process.call(&format!("uid {uid}")).expect("another user");
        for _ in 0..instances {
            process.call("init1 0").expect("an instance");
        }
        process
    }

    /// Sends a command, and returns the numbers in its reply.
    pub fn ask(&mut self, command: &str) -> Vec<i64> {
        self.tell(command);
        self.numbers(command)
    }

    /// Sends a command whose reply is one number.
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn call(&mut self, command: &str) -> Answer {
        self.tell(command);
        self.answer(command)
    }

    /// Sends a command without waiting for the reply.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.control.get_mut(), "{command}")
            .unwrap_or_else(|error| panic!("{} cannot be told to {command}: {error}", self.pid));
    }

    /// Waits for the reply to the last command.
    ///
    /// # Errors
    /// The errno, if the kernel refused.
    pub fn answer(&mut self, command: &str) -> Answer {
        let number = self.numbers(command)[0];
        let number = i32::try_from(number).expect("results of system calls fit");
        if number < 0 { Err(-number) } else { Ok(number) }
    }

    fn numbers(&mut self, command: &str) -> Vec<i64> {
        let mut line = String::new();
        let read = self.control.read_line(&mut line);
        read.unwrap_or_else(|error| panic!("{} does not answer to {command}: {error}", self.pid));
        let numbers: Vec<_> = line.split_whitespace().flat_map(str::parse).collect();
        assert!(!numbers.is_empty(), "{} ended instead of {command}", self.pid);
        numbers
    }

    /// Forks; the child executes commands too.
    pub fn fork(&mut self) -> Self {
        self.fork_by("fork").expect("fork")
    }

    /// Forks a child with this process id.
    ///
    /// # Errors
    /// The errno, if the kernel refused: the id is in use, or the kernel is too old.
    pub fn fork_as(&mut self, pid: u32) -> Result<Self, i32> {
        self.fork_by(&format!("fork_as {pid}"))
    }

    fn fork_by(&mut self, command: &str) -> Result<Self, i32> {
        let (listener, name) = listen();
        let child = self.call(&format!("{command} {}", hex(&name)))?;
        let pid = child.cast_unsigned();
        Ok(Self { pid, tid: pid, control: accept(&listener), child: None })
    }

    /// Starts another thread of this process, which executes commands of its own.
    pub fn thread(&mut self) -> Self {
        let (listener, name) = listen();
        self.call(&format!("thread {}", hex(&name))).expect("a thread");
        let mut thread = Self { pid: self.pid, tid: 0, control: accept(&listener), child: None };
        thread.tid = thread.call("gettid").expect("every thread has an id").cast_unsigned();
        thread
    }

    /// Waits until the process has exited, if the test itself started it.
    pub fn join(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("the process is ours");
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the process id is valid: only this struct waits for the process.
        let result = unsafe { libc::kill(self.pid.cast_signed(), signal) };
        assert_eq!(result, 0, "kill: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process exits when its socket is closed.
        let _ = self.control.get_ref().shutdown(std::net::Shutdown::Both);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

fn buffered(stream: UnixStream) -> BufReader<UnixStream> {
    stream.set_read_timeout(Some(patience())).expect("a time limit above zero");
    BufReader::new(stream)
}

/// Listens on a socket that processes of any user can connect to.
fn listen() -> (UnixListener, Vec<u8>) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("inotify-trace-tests-{}-{number}", std::process::id()).into_bytes();
    let listener = SocketAddr::from_abstract_name(&name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .expect("the name is new");
    (listener, name)
}

fn accept(listener: &UnixListener) -> BufReader<UnixStream> {
    buffered(listener.accept().expect("the process connects").0)
}
