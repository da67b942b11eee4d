//! Look-ups that may never return, in a process of their own: a container decides what its file
//! systems answer, and whether they do. A thread would not do, since a system call that waits for
//! such an answer survives even SIGKILL, and a process does not end before all of its threads have.
//!
//! A helper that owes an answer for too long is killed and abandoned: it ends when the file system
//! answers, or is gone. It holds none of the agent's descriptors, so that nothing else waits for it.

mod request;
mod serve;

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
    slice,
    time::{Duration, Instant},
};

use inotify_trace_model::event::Silence;
use serde::{Serialize, de::DeserializeOwned};

use super::{privileges, procfs};

pub use request::{Place, Program, Request};
pub use serve::main;

/// The byte that ends each message, and is in none.
const END: u8 = 0;

/// The name of its program, by which a helper knows that it is one.
const NAME: &str = "inotify-trace-helper";

/// The most abandoned helpers of one kind that have not ended.
const MOST_ABANDONED: usize = 4;

/// The most questions that are asked at once: they are small, and all fit into a socket's buffer.
pub const AT_ONCE: usize = 128;

/// How many times as long as usual a helper may take that does not wait: the machine is busy.
const BUSY: u32 = 20;

/// How many times as long as it waited in vain the agent does without answers afterwards.
const RATIO: u32 = 20;

/// The pause after a helper could not be started.
const FAILED: Duration = Duration::from_secs(10);

/// How long an answer about something of the machine's root may take: a disk may be slow.
pub const OF_ROOT: Duration = Duration::from_secs(2);

/// The same about what containers decide.
pub const OF_CONTAINERS: Duration = Duration::from_millis(250);

/// The same while events wait for it.
pub const OF_EVENTS: Duration = Duration::from_millis(100);

/// A helper. Its process starts when it is asked first, and ends with this.
#[derive(Debug)]
pub struct Helper {
    /// How long an answer may take.
    patience: Duration,
    program: fn() -> Command,
    /// Whether the agent does without answers for a while after it has waited in vain.
    rests: bool,
    running: Option<Running>,
    /// Those that were waited for in vain, and may not have ended yet.
    abandoned: Vec<Child>,
    /// Until when it is not asked.
    rests_until: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    answers: BufReader<UnixStream>,
}

/// Why a helper has not answered.
enum Failure {
    /// It waits for something else.
    TooLate,
    /// It has ended.
    Gone,
}

impl Helper {
    /// A helper whose answers may take this long.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        let (program, running, abandoned) = (own_program, None, Vec::new());
        Self { patience, program, rests: false, running, abandoned, rests_until: None }
    }

    /// The same for a run without an end: waiting in vain takes only a small part of the time.
    #[must_use]
    pub fn with_rests(patience: Duration) -> Self {
        let mut helper = Self::new(patience);
        helper.rests = true;
        helper
    }

    /// Asks, and waits for the answer; `more` is how much longer than usual it may take.
    ///
    /// # Errors
    /// If there is no answer in time, or nobody is asked: others were waited for in vain, or no helper
    /// can be started.
    pub fn ask<A: DeserializeOwned>(
        &mut self,
        request: &Request,
        more: Duration,
    ) -> Result<A, Silence> {
        self.ask_all(slice::from_ref(request), more).pop().unwrap_or(Err(Silence::NotAsked))
    }

    /// Asks all of these, and does not wait for one answer before the next question: at most
    /// [`AT_ONCE`]. The results are in order, and end with the first that is no answer.
    pub fn ask_all<A: DeserializeOwned>(
        &mut self,
        requests: &[Request],
        more: Duration,
    ) -> Vec<Result<A, Silence>> {
        let began = Instant::now();
        if self.rests_until.is_some_and(|end| began < end) {
            return vec![Err(Silence::NotAsked)];
        }
        let mut answers = Vec::with_capacity(requests.len());
        let silence = self.ask_until_silence(requests, self.patience + more, &mut answers);
        let answered = answers.len();
        let mut results = answers.into_iter().map(Ok).collect::<Vec<_>>();
        if let Some(silence) = silence {
            results.push(Err(silence));
        }
        if silence == Some(Silence::NoAnswer) {
            log::info!("no answer within {:?} to {:?}", began.elapsed(), requests.get(answered));
            if self.rests {
                self.rests_until = Some(Instant::now() + RATIO * began.elapsed());
            }
        }
        results
    }

    /// The same; why the next after `answers` has none, if one is missing.
    fn ask_until_silence<A: DeserializeOwned>(
        &mut self,
        requests: &[Request],
        patience: Duration,
        answers: &mut Vec<A>,
    ) -> Option<Silence> {
        // One that was ended by somebody else is replaced once.
        for _ in 0..2 {
            let running = match self.running() {
                Ok(running) => running,
                Err(silence) => return Some(silence),
            };
            match running.ask(&requests[answers.len()..], patience, answers) {
                Ok(()) => return None,
                Err(Failure::Gone) => self.abandon(),
                Err(Failure::TooLate) => {
                    self.abandon();
                    return Some(Silence::NoAnswer);
                }
            }
        }
        Some(Silence::NotAsked)
    }

    /// The helper, which is started if there is none.
    fn running(&mut self) -> Result<&mut Running, Silence> {
        self.abandoned.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if self.running.is_none() {
            if self.abandoned.len() >= MOST_ABANDONED {
                return Err(Silence::NotAsked);
            }
            match Running::start((self.program)()) {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    log::warn!("no helper for look-ups can be started: {error}");
                    self.rests_until = Some(Instant::now() + FAILED);
                }
            }
        }
        self.running.as_mut().ok_or(Silence::NotAsked)
    }

    fn abandon(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            // It may have ended already.
            let _ = child.kill();
            self.abandoned.push(child);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            // It waits for nothing but the next request, so that it ends at once.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    fn start(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A signal from the terminal is the agent's, which may still ask.
            .process_group(0);
        // SAFETY: it makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(privileges::pass_on_to_helper) };
        Ok(Self { child: command.spawn()?, answers: BufReader::new(ours) })
    }

    /// Adds the answers that come to `answers`.
    fn ask<A: DeserializeOwned>(
        &mut self,
        requests: &[Request],
        patience: Duration,
        answers: &mut Vec<A>,
    ) -> Result<(), Failure> {
        let gone = |_: io::Error| Failure::Gone;
        let mut messages = Vec::new();
        for request in requests {
            add_message(&mut messages, request).map_err(gone)?;
        }
        // It has answered all before, and these find room in the socket.
        self.answers.get_ref().set_write_timeout(Some(patience)).map_err(gone)?;
        self.answers.get_mut().write_all(&messages).map_err(gone)?;
        self.answers.get_ref().set_read_timeout(Some(patience)).map_err(gone)?;
        for _ in requests {
            answers.push(self.answer(patience)?);
        }
        Ok(())
    }

    fn answer<A: DeserializeOwned>(&mut self, patience: Duration) -> Result<A, Failure> {
        let latest = Instant::now() + BUSY * patience;
        let mut answer = Vec::new();
        loop {
            match self.answers.read_until(END, &mut answer) {
                Ok(_) if answer.ends_with(&[END]) => {
                    return postcard::from_bytes_cobs(&mut answer).map_err(|_| Failure::Gone);
                }
                // What has come so far is kept.
                Err(error) if is_time_over(&error) => {
                    if Instant::now() >= latest || !procfs::is_running(self.child.id()) {
                        return Err(Failure::TooLate);
                    }
                }
                _ => return Err(Failure::Gone),
            }
        }
    }
}

/// Adds a question or an answer to others.
fn add_message(to: &mut Vec<u8>, message: &impl Serialize) -> io::Result<()> {
    to.extend(postcard::to_stdvec_cobs(message).map_err(io::Error::other)?);
    Ok(())
}

fn is_time_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The agent's program, even if its file was replaced.
fn own_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one question, which has four bytes.
    const ONE: &str = "/usr/bin/head -c 4 >&0";

    /// A helper whose program is a line for the shell, which answers on its standard input.
    fn helper(program: fn() -> Command, rests: bool) -> Helper {
        let mut helper = Helper::new(Duration::from_millis(50));
        (helper.program, helper.rests) = (program, rests);
        helper
    }

    fn shell(line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        command
    }

    /// The answer is the question.
    fn ask(helper: &mut Helper, pid: u32) -> Result<Request, Silence> {
        helper.ask(&Request::Arguments(pid), Duration::ZERO)
    }

    #[test]
    fn each_question_gets_its_answer_also_from_the_next_helper() {
        let answer = |pid: u32| Ok(Request::Arguments(pid));
        let mut echo = helper(|| shell("exec /bin/cat >&0"), false);
        assert_eq!([1, 2].map(|pid| ask(&mut echo, pid)), [1, 2].map(answer));
        let first = echo.running.as_ref().map(|it| it.child.id()).unwrap();
        echo.running.as_mut().unwrap().child.kill().unwrap();
        assert_eq!(ask(&mut echo, 3), answer(3));
        assert_ne!(echo.running.as_ref().map(|it| it.child.id()), Some(first));
        // One that always ends is not started again and again.
        let mut ending = helper(|| shell("exec /usr/bin/head -c 1"), false);
        assert_eq!(ask(&mut ending, 1), Err(Silence::NotAsked));
    }

    #[test]
    fn what_is_asked_at_once_is_answered_until_one_is_silent() {
        let ask_all = |helper: &mut Helper| {
            let requests = [1, 2, 3].map(Request::Arguments);
            helper.ask_all::<Request>(&requests, Duration::ZERO)
        };
        let answer = |pid: u32| Ok(Request::Arguments(pid));
        let mut echo = helper(|| shell("exec /bin/cat >&0"), false);
        assert_eq!(ask_all(&mut echo), [1, 2, 3].map(answer));
        // The questions that others could answer are asked again by whoever knows which those are.
        let mut silent = helper(|| shell(&format!("{ONE} && exec /bin/sleep 1000")), false);
        assert_eq!(ask_all(&mut silent), [answer(1), Err(Silence::NoAnswer)]);
        // The next helper goes on where one has ended.
        let mut ending = helper(|| shell(ONE), false);
        assert_eq!(ask_all(&mut ending), [answer(1), answer(2), Err(Silence::NotAsked)]);
    }

    #[test]
    fn one_that_does_not_answer_is_abandoned_and_waited_for_only_so_often() {
        let mut silent = helper(|| shell("exec /bin/sleep 1000"), false);
        for _ in 0..3 {
            assert_eq!(ask(&mut silent, 1), Err(Silence::NoAnswer));
        }
        // As if they could not be killed.
        let sleeper = || Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        silent.abandoned = (0..MOST_ABANDONED).map(|_| sleeper()).collect();
        assert_eq!(ask(&mut silent, 1), Err(Silence::NotAsked));
        silent
            .abandoned
            .iter_mut()
            .for_each(|it| it.kill().and_then(|()| it.wait()).map(drop).unwrap());
        assert_eq!(ask(&mut silent, 1), Err(Silence::NoAnswer));
        let mut resting = helper(|| shell("exec /bin/sleep 1000"), true);
        assert_eq!(ask(&mut resting, 1), Err(Silence::NoAnswer));
        assert_eq!(ask(&mut resting, 1), Err(Silence::NotAsked));
        resting.rests_until = None;
        assert_eq!(ask(&mut resting, 1), Err(Silence::NoAnswer));
    }
}
