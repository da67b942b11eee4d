//! One boot of one kernel under QEMU.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::kernels::Image;

use super::console::{self, Progress};
use xtask::step;

/// Enough for the agent and its live tests, in MiB.
pub const MEMORY: u32 = 1024;

/// From power on to the first command: two to four seconds on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(90);

/// The same where systemd starts a whole Debian: half a minute on an idle machine.
const BOOT_LIMIT_OF_DISKS: Duration = Duration::from_secs(600);

/// A kernel in trouble may still write what led to it.
const LAST_WORDS: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(50);

/// A kernel, its initramfs, and the directory for its output.
pub struct Machine<'a> {
    pub image: &'a Image,
    pub initramfs: &'a Path,
    /// The disk with the root file system, which the initramfs mounts and which keeps what is
    /// written; without one, the initramfs is all there is.
    pub disk: Option<&'a Path>,
    /// Whether its clock goes by the instructions that it has run, and skips the time in which it has
    /// nothing to do. On a busy machine, programs then meet no timeouts that a real one would not have.
    pub own_time: bool,
    pub directory: &'a Path,
    /// In MiB.
    pub memory: u32,
    /// For the command.
    pub limit: Duration,
    /// Whether to show the output while it comes.
    pub stream: bool,
}

/// The outcome of a boot.
#[derive(Debug)]
pub enum Outcome {
    /// The command ended with this status.
    Ended(u8),
    /// The command did not end, for this reason.
    Lost {
        why: String,
        /// The emulator may be the cause, rather than the kernel or the command.
        doubtful: bool,
    },
}

/// The output of the serial ports, in the guest's order.
pub struct Ports {
    pub console: PathBuf,
    pub output: PathBuf,
    pub archive: PathBuf,
    pub progress: PathBuf,
    /// QEMU's own messages.
    pub emulator: PathBuf,
}

impl Ports {
    pub fn of(directory: &Path) -> Self {
        Self {
            console: directory.join("console.txt"),
            output: directory.join("output.txt"),
            archive: directory.join("files.tar"),
            progress: directory.join("progress.txt"),
            emulator: directory.join("qemu.txt"),
        }
    }

    /// Unpacks the guest's files in /out, if there are any.
    pub fn unpack(&self, files: &Path) -> Result<()> {
        fs::create_dir_all(files)
            .with_context(|| format!("cannot make the directory {}", files.display()))?;
        if fs::metadata(&self.archive).is_ok_and(|archive| archive.len() > 0) {
            step::output_of(
                Command::new("tar").arg("-xf").arg(&self.archive).arg("-C").arg(files),
            )?;
        }
        Ok(())
    }
}

/// What the kernel is told, besides its console.
const COMMAND_LINE: [&str; 8] = [
    "quiet",
    "8250.nr_uarts=4",
    // A panic restarts the machine at once, which -no-reboot makes QEMU's end.
    "panic=-1",
    "oops=panic",
    // An emulated processor needs none, and takes its time for them.
    "mitigations=off",
    // The timer works, though on a busy machine it may tick too late for the kernel to believe so.
    "no_timer_check",
    // QEMU translates a program again for each address that it is at: without this a listing takes a
    // quarter more.
    "norandmaps",
    // An agent that ends waits for all processors once for each tracepoint. Interrupting them is
    // sooner done than waiting until each has been idle: tests take a seventh less.
    "rcupdate.rcu_expedited=1",
];

impl Machine<'_> {
    /// Boots once, or twice if the first time may have been the emulator's fault; says which.
    pub fn run(&self, name: &str) -> Result<(Outcome, bool)> {
        let outcome = self.run_once()?;
        let Outcome::Lost { why, doubtful: true } = &outcome else { return Ok((outcome, false)) };
        step::say(&format!("{name}: {why}; this can be the emulator's fault, so once more"));
        step::say(&console::tail(&text(&Ports::of(self.directory).console)?));
        Ok((self.run_once()?, true))
    }

    /// Boots and waits for the end.
    fn run_once(&self) -> Result<Outcome> {
        let ports = Ports::of(self.directory);
        for port in [&ports.console, &ports.output, &ports.archive, &ports.progress] {
            // Results of an earlier boot must not be taken for this one's.
            File::create(port).with_context(|| format!("cannot write {}", port.display()))?;
        }
        let log = File::create(&ports.emulator)
            .with_context(|| format!("cannot write {}", ports.emulator.display()))?;
        let mut command = self.command(&ports);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {}", step::shown(&command)))?;
        let outcome = self.watch(&mut child, &ports);
        // Whatever went wrong here, no emulator is left running.
        let _ = child.kill();
        child.wait().context("cannot wait for QEMU")?;
        outcome
    }

    fn command(&self, ports: &Ports) -> Command {
        let architecture = self.image.architecture;
        // QEMU takes commas for the ends of a value, unless they are doubled.
        let escaped = |path: &Path| path.display().to_string().replace(',', ",,");
        // QEMU is to go when this program does, even if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", architecture.machine.0]);
        command
            .args(["-accel", "tcg,thread=single"])
            // With several processors emulated in parallel, kernels crash at times while they patch
            // their own code, as attaching a program makes them do.
            .args(["-smp", "1", "-m", &self.memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&self.image.path)
            .arg("-initrd")
            .arg(self.initramfs);
        let mut parameters = format!("console={} {}", architecture.console, COMMAND_LINE.join(" "));
        if let Some(disk) = self.disk {
            parameters += " root=/dev/vda rw";
            // What is not yet on this machine's own disk is lost with this machine only.
            let drive = format!("file={},if=virtio,format=raw,cache=unsafe", escaped(disk));
            command.arg("-drive").arg(drive);
        }
        if self.own_time {
            // 2^1 ns for each instruction.
            command.args(["-icount", "shift=1,sleep=off", "-rtc", "clock=vm"]);
        }
        command.args(["-append", &parameters]);
        for (name, port) in [
            ("console", &ports.console),
            ("output", &ports.output),
            ("archive", &ports.archive),
            ("progress", &ports.progress),
        ] {
            command.arg("-chardev").arg(format!("file,id={name},path={}", escaped(port)));
        }
        command.args(architecture.board);
        command
    }

    fn watch(&self, child: &mut Child, ports: &Ports) -> Result<Outcome> {
        let powered_on = Instant::now();
        let mut started: Option<Instant> = None;
        let mut in_trouble: Option<Instant> = None;
        let mut shown = 0;
        let boot_limit = if self.disk.is_some() { BOOT_LIMIT_OF_DISKS } else { BOOT_LIMIT };
        loop {
            // Checked before the files are read: after its exit QEMU writes no more to them.
            let exit = child.try_wait().context("cannot wait for QEMU")?;
            if self.stream {
                shown += show(&ports.output, shown)?;
            }
            let progress = Progress::parse(&text(&ports.progress)?);
            if progress.started && started.is_none() {
                started = Some(Instant::now());
            }
            let console = text(&ports.console)?;
            let trouble = console::trouble(&console);
            if let Some(status) = exit {
                return Ok(verdict(progress, trouble, || {
                    let log = text(&ports.emulator).unwrap_or_default();
                    format!("QEMU ended ({status}) without a word from the guest: {}", log.trim())
                }));
            }
            if trouble.is_some() {
                let since = in_trouble.get_or_insert_with(Instant::now);
                if since.elapsed() >= LAST_WORDS {
                    return Ok(verdict(progress, trouble, String::new));
                }
            }
            let (since, limit, what) = match started {
                None => (powered_on, boot_limit, "the kernel did not get to the command"),
                Some(started) => (started, self.limit, "the command did not end"),
            };
            if since.elapsed() >= limit {
                return Ok(verdict(progress, trouble, || {
                    format!("{what} within {} s", limit.as_secs())
                }));
            }
            thread::sleep(POLL);
        }
    }
}

/// The outcome of a boot that is over; `otherwise` gives the reason if neither guest nor kernel
/// did.
fn verdict(
    progress: Progress,
    trouble: Option<&str>,
    otherwise: impl FnOnce() -> String,
) -> Outcome {
    match (progress.status, trouble) {
        // A kernel failure counts, whatever the command's exit status.
        (_, Some(line)) => {
            Outcome::Lost { why: format!("the kernel says: {line}"), doubtful: !progress.started }
        }
        (Some(status), None) => Outcome::Ended(status),
        // Commands that hang do so again: only a machine that ends or never starts is doubtful.
        (None, None) => {
            let why = otherwise();
            let doubtful = !progress.started || why.starts_with("QEMU ended");
            Outcome::Lost { why, doubtful }
        }
    }
}

/// Copies a file from `start` on to standard output, and returns the number of bytes.
fn show(path: &Path, start: u64) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.seek(SeekFrom::Start(start))?;
    let mut new = Vec::new();
    file.read_to_end(&mut new)?;
    let mut out = io::stdout().lock();
    out.write_all(&new).and_then(|()| out.flush()).context("cannot write the output")?;
    Ok(new.len() as u64)
}

/// A file that a guest writes, which may be anything.
pub fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Outcome, verdict};
    use crate::console::Progress;

    fn of(started: bool, status: Option<u8>, trouble: Option<&str>, why: &str) -> Outcome {
        verdict(Progress { started, status }, trouble, || why.to_owned())
    }

    #[test]
    fn a_status_is_believed_unless_the_kernel_is_in_trouble() {
        assert!(matches!(of(true, Some(3), None, ""), Outcome::Ended(3)));
        let lost = of(true, Some(0), Some("Oops: 0000"), "");
        assert!(matches!(&lost, Outcome::Lost { why, doubtful: false } if why.contains("Oops")));
    }

    #[test]
    fn only_what_the_emulator_may_have_done_is_doubtful() {
        let doubtful = |outcome| matches!(outcome, Outcome::Lost { doubtful: true, .. });
        assert!(doubtful(of(false, None, None, "the kernel did not get to the command")));
        assert!(doubtful(of(false, None, Some("Kernel panic"), "")));
        assert!(doubtful(of(true, None, None, "QEMU ended (signal 11)")));
        assert!(!doubtful(of(true, None, None, "the command did not end")));
        assert!(!doubtful(of(true, None, Some("Kernel panic"), "")));
    }
}
