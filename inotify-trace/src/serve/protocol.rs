//! The request of a client of the agent's socket, and the client itself.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::recording::{Reader, RecordingError};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// Where the agent listens unless told otherwise.
pub const SOCKET: &str = "/run/inotify-trace.sock";

/// The most bytes of a request, and of the first line of an answer.
pub(super) const LONGEST: usize = 256;

/// The most bytes of a page of metrics: many times what its bounds allow.
const LONGEST_PAGE: u64 = 16 << 20;

/// The time in which the agent must answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The state, and no more.
    State,
    /// The state, and then all events as they happen.
    Events,
    /// A page of metrics, and no more.
    Metrics,
}

impl Wish {
    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Events => "events",
            Self::Metrics => "metrics",
        }
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request(pub(super) Wish);

impl Request {
    /// From a line; the error is for the client.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
        let words: Vec<_> = text.unwrap_or_default().split(' ').collect();
        let ["inotify-trace", version, wish] = words[..] else {
            return Err(format!(
                "a request is one line such as `inotify-trace {VERSION} state`, of at most {LONGEST} bytes"
            ));
        };
        if version.parse() != Ok(VERSION) {
            return Err(format!("this agent speaks version {VERSION} of the protocol"));
        }
        let all = [Wish::State, Wish::Events, Wish::Metrics];
        let wish = all.into_iter().find(|it| it.name() == wish);
        wish.map(Self)
            .ok_or_else(|| "the request must be `state`, `events` or `metrics`".to_owned())
    }
}

/// Why the agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No agent, or no permission.
    #[error("cannot ask the agent: {0}")]
    Connect(io::Error),
    /// It refused.
    #[error("the agent refuses: {0}")]
    Refused(String),
    /// It is no agent, or of another version.
    #[error("what answers there is no agent that this version understands")]
    NoAgent,
    /// Its answer cannot be read.
    #[error("the agent's answer: {0}")]
    Answer(#[from] RecordingError),
}

/// Asks the agent that listens at a path for its state, or its events.
///
/// # Errors
/// If there is none, or it refuses.
pub fn ask(path: &Path, wish: Wish) -> Result<Reader<BufReader<UnixStream>>, AgentError> {
    Ok(Reader::new(connect(path, wish)?)?)
}

/// Asks the agent that listens at a path for its metrics, in OpenMetrics.
///
/// # Errors
/// If there is none, or it refuses, or they are not whole.
pub fn ask_metrics(path: &Path) -> Result<String, AgentError> {
    let mut page = String::new();
    let stream = connect(path, Wish::Metrics)?;
    stream.take(LONGEST_PAGE).read_to_string(&mut page).map_err(AgentError::Connect)?;
    if page.ends_with("# EOF\n") { Ok(page) } else { Err(AgentError::NoAgent) }
}

/// What follows the first line of an answer.
fn connect(path: &Path, wish: Wish) -> Result<BufReader<UnixStream>, AgentError> {
    let connect = || {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        writeln!(stream, "inotify-trace {VERSION} {}", wish.name())?;
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        (&mut stream).take(LONGEST as u64).read_until(b'\n', &mut line)?;
        if wish == Wish::Events {
            // From here on it may be long until something happens.
            stream.get_ref().set_read_timeout(None)?;
        }
        Ok((line, stream))
    };
    let (line, stream) = connect().map_err(AgentError::Connect)?;
    let line = String::from_utf8_lossy(&line);
    match line.trim_end().split_once(' ') {
        Some(("ok", version)) if version.parse() == Ok(VERSION) => Ok(stream),
        Some(("error", reason)) => Err(AgentError::Refused(reason.to_owned())),
        _ => Err(AgentError::NoAgent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_requests_of_this_version_are_understood() {
        assert_eq!(Request::parse(b"inotify-trace 1 state\n"), Ok(Request(Wish::State)));
        assert_eq!(Request::parse(b"inotify-trace 1 events\n"), Ok(Request(Wish::Events)));
        assert_eq!(Request::parse(b"inotify-trace 1 metrics\n"), Ok(Request(Wish::Metrics)));
        let long = [b'x'; LONGEST];
        for bad in [
            &b""[..],
            b"\n",
            b"inotify-trace 1 state",
            b"inotify-trace 2 state\n",
            b"inotify-trace 1 everything\n",
            b"inotify-trace 1 state \n",
            b"GET / HTTP/1.1\n",
            b"\xff\xfe\n",
            &long,
        ] {
            assert!(Request::parse(bad).is_err(), "{bad:?}");
        }
    }
}
