//! Standard output and standard error of a program that must end when it is told to, even if
//! nobody reads what it writes.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
    io::Errno,
};

/// How long a reader may take to read on, after a signal.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often to look whether a signal has come, while the output is blocked.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes that a pipe which is ready takes without blocking (`PIPE_BUF`, pipe(7)).
const PIPE_BUF: usize = 4096;

/// Whether a signal came that ends the program.
static TOLD_TO_END: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether the reader of standard output has left.
static READER_HAS_LEFT: AtomicBool = AtomicBool::new(false);

/// Has writes to [`Patient`] streams end after these signals. The caller handles the signals in its
/// own way too: without that they have no other effect any more.
///
/// # Errors
/// If the signals cannot be caught.
pub fn end_writes_on(signals: &[i32]) -> io::Result<()> {
    for &signal in signals {
        signal_hook::flag::register(signal, Arc::clone(&TOLD_TO_END))?;
    }
    Ok(())
}

/// Whether the reader of standard output has left, as in `inotify-trace | head`: an error of a
/// [`Patient`] standard output has no other cause then, whatever wraps it.
#[must_use]
pub fn reader_has_left() -> bool {
    READER_HAS_LEFT.load(Ordering::Relaxed)
}

/// A stream that is written without buffer. A write waits for the reader; once a signal has come,
/// for a second at most, and fails then with [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub struct Patient<F> {
    stream: F,
    /// Whether a write to it may block: to a pipe, a socket or a terminal.
    may_block: bool,
    is_stdout: bool,
    /// Whether the rest is dropped when the reader leaves, instead of an error.
    drops_the_rest: bool,
    /// When the signal was noticed.
    told: Option<Instant>,
}

impl Patient<io::Stdout> {
    /// Standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Self { is_stdout: true, ..Self::new(io::stdout()) }
    }

    /// Standard output of a command that goes on when the reader leaves, since its exit code is an
    /// answer, too.
    #[must_use]
    pub fn stdout_to_the_end() -> Self {
        Self { drops_the_rest: true, ..Self::stdout() }
    }
}

impl Patient<io::Stderr> {
    /// Standard error.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(io::stderr())
    }
}

impl<F: AsFd> Patient<F> {
    fn new(stream: F) -> Self {
        let kind = rustix::fs::fstat(&stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let may_block = kind != Ok(FileType::RegularFile);
        Self { stream, may_block, is_stdout: false, drops_the_rest: false, told: None }
    }

    /// Waits until the stream takes bytes.
    fn wait(&mut self) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
            if TOLD_TO_END.load(Ordering::Relaxed) {
                let told = *self.told.get_or_insert_with(Instant::now);
                if told.elapsed() >= PATIENCE {
                    let why = "nobody reads the output, and the program was told to end";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        }
    }
}

impl<F: AsFd> Patient<F> {
    fn try_to_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.may_block {
            return Ok(rustix::io::write(&self.stream, bytes)?);
        }
        loop {
            self.wait()?;
            match rustix::io::write(&self.stream, &bytes[..bytes.len().min(PIPE_BUF)]) {
                // Somebody else has made it non-blocking, and filled it.
                Err(Errno::AGAIN) => {}
                written => return Ok(written?),
            }
        }
    }
}

impl<F: AsFd> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.try_to_write(bytes) {
            Err(error) if self.is_stdout && error.kind() == io::ErrorKind::BrokenPipe => {
                READER_HAS_LEFT.store(true, Ordering::Relaxed);
                if self.drops_the_rest { Ok(bytes.len()) } else { Err(error) }
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: AsFd> AsFd for Patient<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
