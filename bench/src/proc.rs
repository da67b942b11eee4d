//! Data of the kernel on a process.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// A process in `/proc`.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

/// `USER_HZ`: the unit of times in `/proc/PID/stat`, the same on every machine Linux runs on today.
const TICKS: f64 = 100.0;

impl Process {
    fn path(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.0))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = self.path(file);
        fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: has the process ended before it was told to?", path.display())
        })
    }

    /// The fields of `stat` after the name, which may contain anything.
    fn stat(self) -> Result<Vec<String>> {
        let stat = self.read("stat")?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        Ok(fields.split_whitespace().map(str::to_owned).collect())
    }

    /// Whether the process has ended and was not waited for.
    pub fn has_ended(self) -> Result<bool> {
        Ok(self.stat()?.first().is_some_and(|state| state == "Z"))
    }

    /// CPU seconds until now, in user and kernel mode, to 10 ms; also of one that has ended.
    pub fn cpu_seconds(self) -> Result<f64> {
        let stat = self.stat()?;
        let ticks = |index: usize| stat.get(index).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("cannot read times in stat")?;
        Ok((user + system) / TICKS)
    }

    /// CPU seconds until now as the scheduler counts them: to the nanosecond. Counts living threads
    /// only; `None` on kernels that do not show it.
    pub fn scheduled_seconds(self) -> Option<f64> {
        let nanoseconds = self.tasks().map(|task| {
            let text = fs::read_to_string(task.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        });
        Some(nanoseconds.sum::<Option<f64>>()? / 1e9)
    }

    /// How often its threads were put on and off a CPU.
    pub fn context_switches(self) -> u64 {
        self.tasks()
            .filter_map(|task| fs::read_to_string(task.join("status")).ok())
            .flat_map(|status| {
                ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
                    .map(|name| field(&status, name).unwrap_or(0))
            })
            .sum()
    }

    fn tasks(self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.path("task")).into_iter().flatten().flatten().map(|entry| entry.path())
    }

    /// A field of `status`, such as `VmRSS`, in kB; 0 if the kernel does not show it.
    pub fn status(self, name: &str) -> Result<u64> {
        Ok(field(&self.read("status")?, name).unwrap_or(0))
    }

    /// Its share of all memory it uses, in kB; a page shared by two processes counts half.
    pub fn proportional(self) -> Result<u64> {
        Ok(field(&self.read("smaps_rollup")?, "Pss").unwrap_or(0))
    }

    /// Bytes of kernel memory of the BPF maps and programs it holds.
    pub fn bpf_bytes(self) -> Result<(u64, u64)> {
        let path = self.path("fdinfo");
        let entries = fs::read_dir(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .flatten();
        let (mut maps, mut programs) = (0, 0);
        for text in entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
            // Links mention the program too, but have no memory of their own here.
            let Some(bytes) = field(&text, "memlock") else { continue };
            let part = if field(&text, "map_type").is_some() { &mut maps } else { &mut programs };
            *part += bytes;
        }
        Ok((maps, programs))
    }

    /// How many performance events it has open: one for each tracepoint it hooks, among others.
    pub fn perf_events(self) -> usize {
        fs::read_dir(self.path("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter(|target| target.as_os_str() == "anon_inode:[perf_event]")
            .count()
    }
}

/// The number after `name:` in one of `/proc`'s lists.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
}

/// Processes called one of `names`.
pub fn called(names: &[&str]) -> Vec<String> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok())
        .map(|comm| comm.trim().to_owned())
        .filter(|comm| names.contains(&comm.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Process, field};

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Pss_Anon:\t7 kB\nPss:\t42 kB\n";
        assert_eq!(field(text, "Pss"), Some(42));
        assert_eq!(field(text, "Ps"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let process = Process(std::process::id());
        assert!(!process.has_ended().unwrap());
        assert!(process.cpu_seconds().unwrap() >= 0.0);
        assert!(process.status("VmRSS").unwrap() > 0);
    }
}
