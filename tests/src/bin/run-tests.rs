//! Runs test binaries, on the host and in virtual machines. Each test runs in its own process, so
//! that its output, its time and its agents' files belong to it alone.
//!
//!     run-tests PLAN RESULTS SECONDS
//!
//! A line of PLAN is a binary, with tab-separated fields: `alone` or `together`, a name, the path,
//! the working directory, and filters. Tests of an `alone` binary share the machine and would only
//! wait for each other. A filter is a part of a test's name, or the full name after `=`; without
//! filters, all tests run. RESULTS is a directory: its `results.tsv` has a line for each test with
//! outcome, seconds, binary, name and the reason for a skip; `failed/BINARY/TEST` has the files of
//! a failed test. A test that takes more than SECONDS fails.
//!
//! The exit status is 1 if a test failed, 2 if tests could not be run.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::Write as _,
    num::NonZero,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Tests that take at least this long are listed.
const LONG: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("run-tests: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<usize, Box<dyn Error>> {
    let [plan, results, seconds] = env::args()
        .skip(1)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| "the arguments are PLAN, RESULTS and SECONDS")?;
    let results = PathBuf::from(results);
    for old in [results.join("failed"), results.join("results.tsv")] {
        if old.exists() {
            if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) }?;
        }
    }
    fs::create_dir_all(&results)?;
    let binaries: Vec<Binary> =
        fs::read_to_string(&plan)?.lines().map(Binary::parse).collect::<Result<_, _>>()?;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for binary in &binaries {
        let tests = binary.tests()?.into_iter().map(|name| Test { binary, name });
        if binary.alone { &mut alone } else { &mut together }.extend(tests);
    }
    if alone.is_empty() && together.is_empty() {
        return Err("no test has such a name".into());
    }
    let report = Report {
        table: Mutex::new(
            File::options().create(true).append(true).open(results.join("results.tsv"))?,
        ),
        results,
        limit: Duration::from_secs(seconds.parse()?),
        failed: AtomicUsize::new(0),
    };
    let others = thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1);
    let (first, second) = (Queue::new(&alone), Queue::new(&together));
    thread::scope(|scope| {
        scope.spawn(|| first.work_off(&report));
        for _ in 0..others {
            scope.spawn(|| second.work_off(&report));
        }
    });
    Ok(report.failed.into_inner())
}

struct Binary {
    alone: bool,
    name: String,
    path: PathBuf,
    directory: PathBuf,
    filters: Vec<String>,
}

impl Binary {
    fn parse(line: &str) -> Result<Self, String> {
        let mut fields = line.split('\t');
        let mut field = || fields.next().ok_or(format!("not a line of a plan: {line}"));
        let (order, name, path, directory) = (field()?, field()?, field()?, field()?);
        Ok(Self {
            alone: order == "alone",
            name: name.to_owned(),
            path: path.into(),
            directory: directory.into(),
            filters: fields.filter(|it| !it.is_empty()).map(str::to_owned).collect(),
        })
    }

    /// The names of the tests to run.
    fn tests(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let ignored = self.list(&["--ignored"])?;
        let mut tests = self.list(&[])?;
        tests.retain(|test| !ignored.contains(test) && self.chooses(test));
        Ok(tests)
    }

    fn list(&self, options: &[&str]) -> Result<Vec<String>, Box<dyn Error>> {
        let mut command = self.command();
        let output = command.args(["--list", "--format", "terse"]).args(options).output();
        let output = output.map_err(|error| format!("{}: {error}", self.path.display()))?;
        if !output.status.success() {
            return Err(format!("{} does not list its tests", self.path.display()).into());
        }
        let lines = String::from_utf8(output.stdout)?;
        Ok(lines.lines().filter_map(|it| it.strip_suffix(": test")).map(str::to_owned).collect())
    }

    fn chooses(&self, test: &str) -> bool {
        let fits = |filter: &String| match filter.strip_prefix('=') {
            Some(name) => name == test,
            None => test.contains(filter.as_str()),
        };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.directory).stdin(Stdio::null());
        // As cargo does it.
        command.env("CARGO_MANIFEST_DIR", &self.directory);
        command
    }
}

struct Test<'a> {
    binary: &'a Binary,
    name: String,
}

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

impl Test<'_> {
    /// Runs the test, with its files in `directory`.
    fn run(&self, directory: &Path, limit: Duration) -> Result<Outcome, Box<dyn Error>> {
        fs::create_dir_all(directory)?;
        let (output, skipped) = (directory.join("output.txt"), directory.join("skipped.txt"));
        let output = File::create(output)?;
        let mut command = self.binary.command();
        command
            .args(["--exact", &self.name, "--nocapture", "--test-threads=1"])
            .env("INOTIFY_TRACE_KEEP", directory)
            .env("INOTIFY_TRACE_SKIPPED", &skipped)
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let parent = std::process::id().cast_signed();
        // SAFETY: these calls are async-signal-safe, and no memory is shared.
        unsafe { command.pre_exec(move || end_with(parent)) };
        let mut child = command.spawn()?;
        let outcome = match wait(&mut child, limit)? {
            Some(status) if status.success() => match fs::read_to_string(&skipped) {
                Ok(why) => Outcome::Skipped(reason(&why)),
                Err(_) => return Ok(Outcome::Passed),
            },
            Some(status) => Outcome::Failed(status.to_string()),
            None => Outcome::Failed(format!("not done after {} s", limit.as_secs())),
        };
        // Kills the processes that the test started.
        // SAFETY: sends a signal to the process group created for the test.
        unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
        child.wait()?;
        Ok(outcome)
    }
}

/// Makes this process exit when the test runner does.
fn end_with(parent: i32) -> std::io::Result<()> {
    // SAFETY: all arguments are numbers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: there are no arguments.
    if unsafe { libc::getppid() } != parent {
        return Err(std::io::Error::other("whoever started this has gone"));
    }
    Ok(())
}

/// Waits for the exit status; None after the time limit.
fn wait(
    child: &mut Child,
    limit: Duration,
) -> Result<Option<std::process::ExitStatus>, std::io::Error> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 5 / 4).min(Duration::from_millis(20));
    }
}

/// The reason from a line of a list of skipped tests, which begins with the test's name.
fn reason(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default();
    line.split_once(": ").map_or(line, |(_, why)| why).to_owned()
}

struct Queue<'a> {
    tests: &'a [Test<'a>],
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    fn new(tests: &'a [Test<'a>]) -> Self {
        Self { tests, next: AtomicUsize::new(0) }
    }

    fn work_off(&self, report: &Report) {
        while let Some(test) = self.tests.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let (binary, name) = (&test.binary.name, test.name.replace("::", "."));
            let directory = report.results.join("failed").join(binary).join(name);
            let started = Instant::now();
            let outcome = test.run(&directory, report.limit);
            let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
            report.add(test, &outcome, started.elapsed(), &directory);
            if !matches!(outcome, Outcome::Failed(_)) {
                // An error leaves the directory behind, which fails no test.
                let _ = fs::remove_dir_all(&directory);
            }
        }
    }
}

struct Report {
    table: Mutex<File>,
    results: PathBuf,
    limit: Duration,
    failed: AtomicUsize,
}

impl Report {
    fn add(&self, test: &Test<'_>, outcome: &Outcome, took: Duration, directory: &Path) {
        let (word, why) = match outcome {
            Outcome::Passed => ("ok", ""),
            Outcome::Skipped(why) => ("skipped", why.as_str()),
            Outcome::Failed(why) => ("FAILED", why.as_str()),
        };
        let (seconds, binary, name) = (took.as_secs_f32(), &test.binary.name, &test.name);
        let mut table: MutexGuard<'_, File> =
            self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{word}\t{seconds:.2}\t{binary}\t{name}\t{why}\n");
        if let Err(error) = table.write_all(line.as_bytes()) {
            eprintln!("run-tests: results.tsv: {error}");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if took >= LONG || !matches!(outcome, Outcome::Passed) {
            let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
            println!("{seconds:6.1} s  {word:7}  {binary} {name}{why}");
        }
        if matches!(outcome, Outcome::Failed(_)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let output = fs::read(directory.join("output.txt")).unwrap_or_default();
            println!("{}", String::from_utf8_lossy(&output).trim_end());
            println!("its files are in {}", directory.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Binary, reason};

    #[test]
    fn filters_choose_by_parts_of_names_or_whole_ones() {
        let chooses = |filters: &str, test: &str| {
            Binary::parse(&format!("alone\tlive\t/live\t/\t{filters}")).unwrap().chooses(test)
        };
        assert!(chooses("", "a::b"));
        assert!(chooses("x\t::b", "a::b"));
        assert!(!chooses("=a", "a::b"));
        assert!(chooses("=a::b", "a::b"));
        assert!(Binary::parse("alone\tlive").is_err());
    }

    #[test]
    fn a_reason_comes_without_the_test_s_name() {
        assert_eq!(reason("a::b: needs root\n"), "needs root");
    }
}
