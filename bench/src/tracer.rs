//! Starting and ending the tracers that are compared.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::step;

use crate::context::Bench;
use crate::proc::Process;
use crate::sys;
use crate::told::{self, Format, Told};

/// The events inotify-trace shows, as bpftrace would show them.
pub const SAME_EVENTS: &str = r#"
tracepoint:syscalls:sys_exit_inotify_init1 /args->ret >= 0/ {
    @f[pid, args->ret] = 1;
    printf("create %d %d %s\n", pid, args->ret, comm);
}
tracepoint:syscalls:sys_enter_inotify_add_watch {
    printf("watch %d %d %s %s\n", pid, args->fd, comm, str(args->pathname));
}
tracepoint:syscalls:sys_enter_close /@f[pid, args->fd]/ {
    printf("close %d %d %s\n", pid, args->fd, comm);
    delete(@f[pid, args->fd]);
}
END { clear(@f); }
"#;

/// The time in which a tracer must attach, and in which it must write its remaining events when it
/// ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time between two checks.
const LOOK: Duration = Duration::from_millis(5);

/// The program that is attached during a measurement.
#[derive(Clone, Copy, PartialEq)]
pub enum Tracer {
    /// Nothing.
    None,
    Agent(Format),
    /// The agent, made to use the backend of this name.
    Backend(&'static str),
    /// A program, and pages of buffer for each CPU if not bpftrace's own choice.
    Bpftrace {
        program: &'static str,
        pages: Option<u32>,
    },
}

impl Tracer {
    pub const BPFTRACE: Self = Self::Bpftrace { program: SAME_EVENTS, pages: None };

    /// The command, and the format of its output; `None` for no tracer, or one that is missing.
    pub fn command(self, bench: &Bench) -> Option<(Command, Format)> {
        match self {
            Self::None => None,
            Self::Agent(format) => {
                let mut command = Command::new(&bench.agent);
                command.args(["-o", if format == Format::Json { "json" } else { "text" }]);
                Some((command, format))
            }
            Self::Backend(name) => {
                let mut command = Command::new(&bench.agent);
                command.args(["-o", "text", "--backend", name]);
                Some((command, Format::Text))
            }
            Self::Bpftrace { program, pages } => {
                let mut command = Command::new(bench.bpftrace.as_ref()?);
                if let Some(pages) = pages {
                    command.env("BPFTRACE_PERF_RB_PAGES", pages.to_string());
                }
                // bpftrace is fastest when it writes many lines at once.
                command.args(["-B", "full", "-e", program]);
                Some((command, Format::Bpftrace))
            }
        }
    }

    /// Whether the tracer is missing on this machine.
    pub fn is_missing(self, bench: &Bench) -> bool {
        matches!(self, Self::Bpftrace { .. }) && bench.bpftrace.is_none()
    }

    /// Attaches it, its output going to a file; returns when it traces.
    pub fn start(self, bench: &Bench) -> Result<Option<Running>> {
        let Some((mut command, format)) = self.command(bench) else { return Ok(None) };
        let (output, messages) = (bench.scratch.join("output"), bench.scratch.join("messages"));
        let create =
            |path| File::create(path).with_context(|| format!("cannot write below {path:?}"));
        let shown = step::shown(&command);
        let child = command
            .stdin(Stdio::null())
            .stdout(create(&output)?)
            .stderr(create(&messages)?)
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let process = Process(child.id());
        let mut running =
            Running { child, process, format, output, messages, cpu_before: 0.0, ended: false };
        running
            .wait_until_attached(bench.settle)
            .with_context(|| format!("while attaching: {shown}"))?;
        running.cpu_before = process.cpu_seconds()?;
        Ok(Some(running))
    }
}

/// A tracer that is attached.
pub struct Running {
    child: Child,
    pub process: Process,
    format: Format,
    output: PathBuf,
    messages: PathBuf,
    cpu_before: f64,
    ended: bool,
}

/// The results of a tracer that has ended.
pub struct Ended {
    pub told: Told,
    /// CPU seconds from being attached to the end.
    pub cpu_seconds: f64,
    /// The most memory it had, in kB.
    pub peak_kb: u64,
}

impl Running {
    fn wait_until_attached(&mut self, settle: Duration) -> Result<()> {
        let started = Instant::now();
        let (mut hooks, mut unchanged) = (0, started);
        loop {
            let attached = match self.format {
                Format::Text | Format::Json => {
                    fs::read_to_string(&self.messages)?.contains("Tracing inotify")
                }
                // bpftrace does not report that it has attached: wait until it adds no more hooks.
                Format::Bpftrace => {
                    let now = self.process.perf_events();
                    if now != hooks {
                        (hooks, unchanged) = (now, Instant::now());
                    }
                    hooks > 0 && unchanged.elapsed() > settle
                }
            };
            if attached {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                bail!("it did not attach; it said: {}", fs::read_to_string(&self.messages)?.trim());
            }
            thread::sleep(LOOK);
        }
    }

    /// Lets the tracer catch up, ends it, and reads its output about the process `subject`.
    pub fn end(mut self, subject: u32) -> Result<Ended> {
        thread::sleep(Duration::from_millis(200));
        let peak_kb = self.process.status("VmHWM")?;
        sys::interrupt(self.process.0).context("cannot interrupt the tracer")?;
        let started = Instant::now();
        // The CPU time can be read until the process is waited for.
        while !self.process.has_ended()? {
            if started.elapsed() > PATIENCE {
                bail!("a tracer did not end within {} s of Ctrl-C", PATIENCE.as_secs());
            }
            thread::sleep(LOOK);
        }
        let cpu_seconds = self.process.cpu_seconds()? - self.cpu_before;
        self.child.wait().context("cannot wait for the tracer")?;
        self.ended = true;
        let told = told::read(self.format, subject, &self.output, &self.messages)?;
        Ok(Ended { told, cpu_seconds, peak_kb })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After an error no tracer may stay attached. One that has ended already is fine.
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
