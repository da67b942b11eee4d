//! The helper's side: it answers one request after the other, until there are no more.

use std::{
    ffi::{OsStr, OsString},
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, net::UnixStream},
    },
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use inotify_trace_model::text::text_of;
use rustix::process::Signal;

use super::{END, NAME, Program, Request, add_message};
use crate::host::{
    privileges,
    procfs::{self, Targets},
    runtimes::Below,
};

/// Bytes of questions that are read at once: those that an agent asks at once have fewer.
const QUESTIONS: usize = 1 << 16;

/// How long answers may be kept.
const KEPT: Duration = Duration::from_millis(10);

/// Runs as a helper, if this process was started as one.
pub fn main() -> Option<ExitCode> {
    let is_one = std::env::args_os().next() == Some(OsString::from(NAME));
    is_one.then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn serve() -> io::Result<()> {
    // The agent's name, and not that of the link it was started by.
    rustix::thread::set_name(c"inotify-trace")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    close_inherited()?;
    privileges::keep_for_look_ups();
    let mut answers = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let requests = OwnedFd::from(answers.try_clone()?);
    let mut requests = BufReader::with_capacity(QUESTIONS, UnixStream::from(requests));
    let (mut targets, mut message) = (Targets::default(), Vec::new());
    let mut kept = Kept::default();
    while requests.read_until(END, &mut message)? > 0 {
        let request = postcard::from_bytes_cobs(&mut message).map_err(io::Error::other)?;
        if !kept.may_wait_for(&request) {
            kept.write(&mut answers)?;
        }
        answer(request, &mut targets, &mut kept.answers)?;
        // Without another question in memory, the next may take any time to come.
        if !requests.buffer().contains(&END) || kept.are_old() {
            kept.write(&mut answers)?;
        }
        message.clear();
    }
    Ok(())
}

/// Answers that are written together, which wakes the agent less often. If a file system does not
/// answer, those in here do not come either: so they are all about that one.
#[derive(Default)]
struct Kept {
    answers: Vec<u8>,
    /// The file system that they are about.
    dev: Option<u32>,
    /// When the first question of them was taken up.
    since: Option<Instant>,
}

impl Kept {
    /// Whether the answers can wait until this request has its own.
    fn may_wait_for(&mut self, request: &Request) -> bool {
        let dev = match request {
            Request::Find { watch, .. } => Some(watch.dev),
            _ => None,
        };
        std::mem::replace(&mut self.dev, dev) == dev && dev.is_some()
    }

    fn write(&mut self, to: &mut UnixStream) -> io::Result<()> {
        to.write_all(&self.answers)?;
        self.answers.clear();
        self.since = None;
        Ok(())
    }

    /// Whether they were kept long enough: the agent waits for them.
    fn are_old(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() > KEPT
    }
}

/// Closes the descriptors that the agent's own parent left open in it: whoever waits for these to be
/// closed must not wait for a helper.
fn close_inherited() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: this process has opened none yet, and no pointers are passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Adds the answer to `to`.
fn answer(request: Request, targets: &mut Targets, to: &mut Vec<u8>) -> io::Result<()> {
    let path_of = |path: &Path| text_of(path.as_os_str().as_bytes()).into_owned();
    match request {
        Request::Find { watch, holder, is_foreign } => {
            add_message(to, &targets.find(&watch, holder, is_foreign))
        }
        Request::Search { dev, inodes, holder, arguments, millis, is_foreign } => {
            let deadline = Instant::now() + Duration::from_millis(millis);
            let wanted = (dev, inodes.into_iter().collect());
            let found = targets.search(wanted, (holder, &arguments), deadline, is_foreign);
            let found = found.into_iter().map(|(inode, path)| (inode, path_of(&path)));
            add_message(to, &found.collect::<Vec<_>>())
        }
        Request::Resolve { path, asked } => {
            add_message(to, &procfs::resolve_on_device(&path, asked).map(|path| path_of(&path)))
        }
        Request::Arguments(pid) => add_message(to, &procfs::arguments(pid)),
        Request::Program(pid) => add_message(to, &program(pid)),
        Request::Read { below, path, most } => {
            let below = Below::open(Path::new(OsStr::from_bytes(&below)));
            add_message(to, &below.and_then(|below| below.read(&path, most)))
        }
        Request::Names { below, path, most } => {
            let below = Below::open(Path::new(OsStr::from_bytes(&below)));
            add_message(to, &below.map(|below| below.names(&path, most)).unwrap_or_default())
        }
    }
}

fn program(pid: u32) -> Option<Program> {
    if !procfs::is_of_the_machine_s_root(pid) {
        return None;
    }
    let (arguments, build_info) = (procfs::arguments(pid)?, procfs::go_build_info(pid));
    Some(Program { arguments, build_info })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::procfs::WatchInfo;

    #[test]
    fn only_answers_about_one_file_system_wait_for_each_other() {
        let find = |dev| {
            let watch = WatchInfo { dev, ..WatchInfo::default() };
            Request::Find { watch, holder: 1, is_foreign: false }
        };
        let mut kept = Kept::default();
        let requests =
            [find(1), find(1), find(2), Request::Arguments(1), Request::Arguments(1), find(2)];
        let waits = requests.map(|request| kept.may_wait_for(&request));
        assert_eq!(waits, [false, true, false, false, false, false]);
    }

    #[test]
    fn answers_are_not_kept_for_long() {
        let mut kept = Kept::default();
        assert!(!kept.are_old());
        kept.since = Instant::now().checked_sub(2 * KEPT);
        assert!(kept.are_old());
    }
}
