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
use serde::Serialize;

use super::{NAME, Program, Request};
use crate::host::{
    privileges,
    procfs::{self, Targets},
    runtimes::Below,
};

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
    let mut requests = BufReader::new(UnixStream::from(OwnedFd::from(answers.try_clone()?)));
    let (mut targets, mut line) = (Targets::default(), Vec::new());
    while requests.read_until(b'\n', &mut line)? > 0 {
        let mut answer = answer(serde_json::from_slice(&line)?, &mut targets)?;
        answer.push(b'\n');
        answers.write_all(&answer)?;
        line.clear();
    }
    Ok(())
}

/// Closes the descriptors that the agent's own parent left open in it: whoever waits for these to be
/// closed must not wait for a helper.
fn close_inherited() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: this process has opened none yet, and no pointers are passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn answer(request: Request, targets: &mut Targets) -> io::Result<Vec<u8>> {
    let path_of = |path: &Path| text_of(path.as_os_str().as_bytes()).into_owned();
    match request {
        Request::Find { watch, holder, is_foreign } => {
            json(&targets.find(&watch, holder, is_foreign))
        }
        Request::Search { dev, inodes, holder, arguments, millis, is_foreign } => {
            let deadline = Instant::now() + Duration::from_millis(millis);
            let wanted = (dev, inodes.into_iter().collect());
            let found = targets.search(wanted, (holder, &arguments), deadline, is_foreign);
            json(
                &found.into_iter().map(|(inode, path)| (inode, path_of(&path))).collect::<Vec<_>>(),
            )
        }
        Request::Resolve { path, asked } => {
            json(&procfs::resolve_on_device(&path, asked).map(|path| path_of(&path)))
        }
        Request::Arguments(pid) => json(&procfs::arguments(pid)),
        Request::Program(pid) => json(&program(pid)),
        Request::Read { below, path, most } => {
            let below = Below::open(Path::new(OsStr::from_bytes(&below)));
            json(&below.and_then(|below| below.read(&path, most)))
        }
        Request::Names { below, path, most } => {
            let below = Below::open(Path::new(OsStr::from_bytes(&below)));
            json(&below.map(|below| below.names(&path, most)).unwrap_or_default())
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

fn json(answer: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(answer)?)
}
