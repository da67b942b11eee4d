//! Loops that make and close instances.

use std::ffi::CString;
use std::hint;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::step;

use super::command;
use crate::sys;

#[derive(Args, Clone, Default)]
pub struct Storm {
    /// Watch this path each time.
    #[arg(long)]
    pub watch: Option<String>,
    /// Instances a second; as many as possible without it.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Wake a process each time, by a byte through a pipe.
    #[arg(long)]
    pub pipe: bool,
    /// How long.
    #[arg(long)]
    pub millis: u64,
}

/// The time to wait for other programs to give back instances.
const PATIENCE: Duration = Duration::from_secs(5);

/// The results of a storm.
pub struct Done {
    pub pid: u32,
    pub loops: u64,
    pub seconds: f64,
}

impl Done {
    pub fn rate(&self) -> f64 {
        self.loops as f64 / self.seconds
    }
}

/// Runs a storm in a process of its own, and waits for its end.
pub fn storm(storm: &Storm) -> Result<Done> {
    let (pid, words) = command::finish(&mut storm_command(storm)?)?;
    let [loops, nanoseconds] = words[..] else {
        bail!("the load said {words:?}, not how much it did and how long that took");
    };
    Ok(Done { pid, loops: loops as u64, seconds: nanoseconds / 1e9 })
}

/// The command that is a storm.
pub fn storm_command(storm: &Storm) -> Result<Command> {
    let mut command = command::of("storm")?;
    command.arg("--millis").arg(storm.millis.to_string());
    if let Some(path) = &storm.watch {
        command.args(["--watch", path]);
    }
    if let Some(rate) = storm.rate {
        command.arg("--rate").arg(rate.to_string());
    }
    if storm.pipe {
        command.arg("--pipe");
    }
    Ok(command)
}

/// The load itself: prints how often it made an instance, and nanoseconds.
pub fn run(storm: &Storm) -> Result<()> {
    let path = storm.watch.as_deref().map(CString::new).transpose()?;
    let mut reader = storm.pipe.then(Reader::start).transpose()?;
    let gap = storm.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let limit = Duration::from_millis(storm.millis);
    let (started, mut loops) = (Instant::now(), 0_u64);
    while started.elapsed() < limit {
        if let Some(gap) = gap {
            wait_until(started + gap.mul_f64(loops as f64));
        }
        let instance = make()?;
        if let Some(path) = &path {
            sys::watch(&instance, path).with_context(|| format!("cannot watch {path:?}"))?;
        }
        if let Some(reader) = &mut reader {
            reader.wake()?;
        }
        drop(instance);
        loops += 1;
    }
    let nanoseconds = started.elapsed().as_nanos();
    if let Some(reader) = reader {
        reader.finish()?;
    }
    writeln!(io::stdout(), "{loops} {nanoseconds}").context("cannot say what was done")
}

/// Makes an instance. Other programs may have used up the user's quota for a moment.
fn make() -> Result<OwnedFd> {
    let started = Instant::now();
    loop {
        match sys::inotify() {
            Err(error)
                if error.raw_os_error() == Some(libc::EMFILE) && started.elapsed() < PATIENCE =>
            {
                step::say("WARNING: other programs use all inotify instances; trying again");
                thread::sleep(Duration::from_millis(100));
            }
            result => {
                return result.context(
                    "cannot make an inotify instance; if too many exist for this user, end what \
                     holds them or raise fs.inotify.max_user_instances",
                );
            }
        }
    }
}

/// Waits without sleeping where that would take too long to wake up from.
fn wait_until(moment: Instant) {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > Duration::from_micros(500) {
            thread::sleep(left - Duration::from_micros(200));
        } else {
            hint::spin_loop();
        }
    }
}

/// The process that a storm wakes.
struct Reader {
    child: Child,
    pipe: ChildStdin,
}

impl Reader {
    fn start() -> Result<Self> {
        let mut child = command::of("reader")?
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the reader of the pipe")?;
        let pipe = child.stdin.take().context("the reader has no pipe")?;
        Ok(Self { child, pipe })
    }

    fn wake(&mut self) -> Result<()> {
        self.pipe.write_all(&[0]).context("cannot write to the pipe")
    }

    fn finish(mut self) -> Result<()> {
        drop(self.pipe);
        self.child.wait().context("cannot wait for the reader of the pipe")?;
        Ok(())
    }
}

/// The process that the storm wakes: reads its input, and rests 1 ms after each read.
pub fn read_slowly() -> Result<()> {
    let mut bytes = [0; 4096];
    while io::stdin().read(&mut bytes).context("cannot read the pipe")? > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
