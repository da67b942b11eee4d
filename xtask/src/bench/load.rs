//! What is traced: loops that do nothing but make system calls. Each runs as a process of its own,
//! so that its events can be told from all others.

use std::env;
use std::ffi::CString;
use std::hint;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use super::list::{self, Hold};
use super::sys;
use crate::step;

/// The hidden task of xtask that is a load.
pub const TASK: &str = "bench-load";

#[derive(Subcommand)]
pub enum Load {
    /// Make and close an instance, again and again.
    Storm(Storm),
    /// Time `close(-1)` and `getppid()`.
    Calls(Calls),
    /// Read what comes on standard input, and rest 1 ms after each time.
    Reader,
    /// Hold instances, watches and other descriptors.
    Hold(Hold),
}

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

#[derive(Args, Clone)]
pub struct Calls {
    /// Take the fastest of so many batches.
    #[arg(long)]
    pub batches: u32,
    /// How many calls are timed together.
    #[arg(long, default_value_t = BATCH)]
    pub batch: u32,
}

/// How many calls are timed together: reading the clock costs about as much as one.
pub const BATCH: u32 = 50_000;

/// How long to wait for others to give back instances.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a storm did.
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

/// Nanoseconds for a call.
pub struct Cost {
    pub close: f64,
    pub getppid: f64,
}

/// The body of the hidden task.
pub fn run(load: &Load) -> Result<()> {
    match load {
        Load::Storm(storm) => make_storm(storm),
        Load::Calls(calls) => {
            time_calls(calls);
            Ok(())
        }
        Load::Reader => read_slowly(),
        Load::Hold(hold) => list::hold(hold),
    }
}

/// Runs a storm in a process of its own, and waits for its end.
pub fn storm(storm: &Storm) -> Result<Done> {
    let (pid, words) = finish(&mut storm_command(storm)?)?;
    let [loops, nanoseconds] = words[..] else {
        bail!("the load said {words:?}, not how much it did and how long that took");
    };
    Ok(Done { pid, loops: loops as u64, seconds: nanoseconds / 1e9 })
}

/// The command that is a storm.
pub fn storm_command(storm: &Storm) -> Result<Command> {
    let mut command = myself("storm")?;
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

/// Times calls in a process of its own.
pub fn calls(batches: u32, batch: u32) -> Result<Cost> {
    let mut command = myself("calls")?;
    command.arg("--batches").arg(batches.to_string()).arg("--batch").arg(batch.to_string());
    let (_, words) = finish(&mut command)?;
    let [close, getppid] = words[..] else {
        bail!("the load said {words:?}, not what two calls cost");
    };
    Ok(Cost { close, getppid })
}

fn myself(load: &str) -> Result<Command> {
    let program = env::current_exe().context("cannot find the program that is running")?;
    let mut command = Command::new(program);
    command.args([TASK, load]);
    Ok(command)
}

/// Waits for a load; its process id and the numbers it printed.
fn finish(command: &mut Command) -> Result<(u32, Vec<f64>)> {
    let shown = step::shown(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let pid = child.id();
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {shown}"))?;
    if !output.status.success() {
        bail!("{shown} failed ({}); its reason is above", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    Ok((pid, words.with_context(|| format!("{shown} printed {text:?} instead of numbers"))?))
}

fn make_storm(storm: &Storm) -> Result<()> {
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

/// Makes an instance. Others may have used up what this user may have, for a moment.
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
        let mut child = myself("reader")?
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

fn read_slowly() -> Result<()> {
    let mut bytes = [0; 4096];
    while io::stdin().read(&mut bytes).context("cannot read the pipe")? > 0 {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn time_calls(calls: &Calls) {
    let (mut close, mut getppid) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..calls.batches {
        close = close.min(time(calls.batch, sys::close_nothing));
        getppid = getppid.min(time(calls.batch, sys::getppid));
    }
    println!("{close} {getppid}");
}

/// Nanoseconds for one of a batch of calls.
fn time(batch: u32, call: impl Fn()) -> f64 {
    let started = Instant::now();
    for _ in 0..batch {
        call();
    }
    started.elapsed().as_nanos() as f64 / f64::from(batch)
}
