//! Where to listen.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{fs::FileTypeExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{AddressFamily, getsockname, sockopt::socket_acceptconn},
};

/// The port unless told otherwise. Prometheus's list of default port allocations has given away all of
/// 9100 to 9999 and some of 10000 to 19999; Kubernetes takes 30000 to 32767 for services, and Linux
/// what is above for connections. This is in neither.
pub const PORT: u16 = 20866;

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
    /// A socket that listens already, as systemd passes it.
    Descriptor(RawFd),
}

/// What is listening.
#[derive(Debug)]
pub enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("unix: needs a path, such as unix:/run/inotify-trace-metrics.sock".to_owned())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let number = number.parse().ok().filter(|&number: &RawFd| number > 2);
            return number
                .map(Self::Descriptor)
                .ok_or_else(|| "fd:// needs a descriptor from 3 on, such as fd://3".to_owned());
        }
        if let Some(port) = text.strip_prefix(':') {
            return Err(format!(
                "needs an address before the port: 127.0.0.1:{port} for this machine, 0.0.0.0:{port} \
                 or [::]:{port} for all"
            ));
        }
        let whole = text.parse().map(Self::Tcp);
        whole.or_else(|_| text.parse().map(|ip| Self::Tcp(SocketAddr::new(ip, PORT)))).map_err(
            |_| {
                format!(
                    "must be an address and a port such as 127.0.0.1:{PORT}, unix:PATH or fd://N"
                )
            },
        )
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Descriptor(number) => write!(f, "fd://{number}"),
        }
    }
}

impl Listen {
    /// The first socket that systemd passes, or else the usual port of this machine.
    ///
    /// # Errors
    /// If what systemd says of sockets makes no sense.
    pub fn usual() -> io::Result<Self> {
        let passed = sd_notify::listen_fds()?.next();
        let here = || Self::Tcp(SocketAddr::from(([127, 0, 0, 1], PORT)));
        Ok(passed.map_or_else(here, Self::Descriptor))
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// If that is not possible there.
    pub fn open(&self) -> io::Result<Listener> {
        let listener = match self {
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address)?),
            Self::Unix(path) => Listener::Unix(open_unix(path)?),
            Self::Descriptor(number) => adopt(*number)?,
        };
        match &listener {
            Listener::Tcp(it) => it.set_nonblocking(true)?,
            Listener::Unix(it) => it.set_nonblocking(true)?,
        }
        Ok(listener)
    }
}

/// Listens on a Unix socket. One that an agent left behind is replaced, and nothing else.
///
/// # Errors
/// If another program listens there, or the socket cannot be made.
pub(super) fn open_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|it| it.file_type().is_socket());
    if is_socket {
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
            }
            Err(error) => return Err(error),
        }
    }
    UnixListener::bind(path)
}

/// Takes over a socket that was passed to this process.
fn adopt(number: RawFd) -> io::Result<Listener> {
    // SAFETY: it is only looked at. If it is open, nobody closes it meanwhile: this process has just
    // begun, and has opened nothing but what it knows of.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    match socket_acceptconn(borrowed) {
        Ok(true) => {}
        Ok(false) => return Err(wrong("this socket does not listen")),
        Err(rustix::io::Errno::BADF) => return Err(wrong("no such descriptor was passed")),
        Err(_) => return Err(wrong("this descriptor is no socket")),
    }
    // SAFETY: it is a listening socket. This process listens nowhere itself yet, so that it was passed,
    // and nothing else here owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(owned.as_fd(), FdFlags::CLOEXEC)?;
    match getsockname(owned.as_fd())?.address_family() {
        AddressFamily::UNIX => Ok(Listener::Unix(owned.into())),
        AddressFamily::INET | AddressFamily::INET6 => Ok(Listener::Tcp(owned.into())),
        _ => Err(wrong("this socket is neither of TCP nor of Unix")),
    }
}

impl Listener {
    /// Where it listens, for people.
    #[must_use]
    pub fn place(&self, asked: &Listen) -> String {
        match (self, asked) {
            (Self::Tcp(it), Listen::Tcp(_)) => {
                it.local_addr().map_or_else(|_| asked.to_string(), |it| Listen::Tcp(it).to_string())
            }
            _ => asked.to_string(),
        }
    }
}
